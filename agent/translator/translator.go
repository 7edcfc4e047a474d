// Package translator keeps the translator of a host to IPv4 (NAT64), an unprivileged child that outlives the agent, and what that needs.
//
// Beside the child that is: its programs in the kernel, the ports that it takes of the host's own address, and the log of who had which.
package translator

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/linux/child"
	"hexapod.dev/linux/nat64"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/nft"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/linux/tun"
	"hexapod.dev/model/desired"
)

// Options are what a translator works with.
type Options struct {
	Host     string    // its name in the configuration
	StateDir string    // folder of the agent: the log of grants and the secret lie in its folder nat64
	RunDir   string    // folder of the agent: the child's socket and its table
	BPF      string    // as the agent's
	NS       *netns.NS // namespace of the host; nil: that of the process
	Conn     *rtnl.Conn
	Log      *slog.Logger

	Snapshot func() desired.Snapshot
	Programs func() Programs
	Keep     func() allocation.Keep // what becomes of closed segments of the log of grants
	Leaving  func() bool            // whether the host is being drained
	Believed func() bool            // whether the clock is; by one that is not, no segment begins and none is removed

	Tell  func(on bool) // told when packets can be led to the translator, and when they cannot any more
	Again func()        // asks for a pass of Translate; it must not wait
	Look  func()        // asks for a pass of LookAtPorts; it must not wait
}

// Programs is what eBPF programs may do on this host.
type Programs struct {
	None    string // why there are none; empty: there are
	Direct  bool   // packets may go on directly, past the host's rules for forwarding
	Direct4 bool   // those of IPv4, too, before they are translated
}

// Translator is the agent's side of the translator. New makes it; Run keeps the child while Translate wants it.
type Translator struct {
	options Options
	keeper  *child.Keeper
	begin   chan struct{} // the keeper is to run

	mu    sync.Mutex // guards all following fields
	fast  *nat64.Fast
	slow  string // why there is no fast path
	want  *nat64.Config
	host  *nat64.Host   // nil: not opened, or it cannot be
	own   ownAddress    // zero: endpoints are seen by a pool
	stop  func()        // ends the keeper; nil: it does not run
	ended chan struct{} // closed when it has
	log   error         // of the last look at the log of grants
	life  life
}

// New makes a translator. Nothing runs before the configuration asks for it.
func New(o Options) *Translator {
	t := &Translator{options: o, begin: make(chan struct{}, 1)}
	t.keeper = &child.Keeper{
		Spec: child.Spec{Name: nat64.Child, RunDir: o.RunDir, User: nat64.User},
		Log:  o.Log, Open: t.openFiles, Begun: t.tell,
	}
	return t
}

// Remove ends the translator of a host, whoever started it, and removes what belongs to it from the kernel. It needs no connection, and no agent.
func Remove(ctx context.Context, o Options) error { return New(o).remove(ctx) }

func (t *Translator) folder() string { return filepath.Join(t.options.StateDir, "nat64") }

// tell tells a translator that runs what is wanted; then packets are led to it.
func (t *Translator) tell(ctx context.Context) error {
	t.mu.Lock()
	want := t.want
	t.mu.Unlock()
	if want == nil {
		return nil
	}
	if err := t.keeper.Call(ctx, nat64.CallConfigure, want, nil); err != nil {
		return err
	}
	if err := t.leadHostSide(); err != nil {
		return err
	}
	t.options.Tell(true)
	return nil
}

// Find reports whether a translator of the agent before may be at work: its routes stay until it is known better.
func (t *Translator) Find() bool {
	_, found, err := t.options.Conn.Link(desired.TranslationLink)
	return found && err == nil
}

// Run keeps the translator alive and at work while it is wanted, looks after its log of grants, and asks for a look at the ports when an address of the
// host comes or goes, until ctx ends. The translator goes on then.
func (t *Translator) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.keep(ctx) })
	g.Go(func() error { return t.runGrants(ctx) })
	g.Go(func() error { return t.watchAddresses(ctx) })
	return g.Wait()
}

func (t *Translator) keep(ctx context.Context) error {
	defer t.closeFastPath()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.begin:
		}
		keeping, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		t.mu.Lock()
		wanted := t.want != nil
		if wanted {
			t.stop, t.ended = stop, ended
		}
		t.mu.Unlock()
		if wanted {
			g, keeping := errgroup.WithContext(keeping)
			g.Go(func() error { return t.keeper.Run(keeping) })
			g.Go(func() error { return t.ask(keeping) })
			g.Go(func() error { return t.watch(keeping) })
			if err := g.Wait(); err != nil {
				t.options.Log.Error("the translator is not kept", "error", err)
			}
		}
		stop()
		close(ended)
	}
}

// Translate brings the translator to what the configuration says.
func (t *Translator) Translate(ctx context.Context) error {
	snapshot := t.options.Snapshot()
	o := snapshot.Config.Translation
	if o == nil || len(o.Pool) == 0 && !o.OwnAddress() || snapshot.Config.Self.Retired {
		return t.nothing(ctx)
	}
	if t.options.NS != nil {
		return errors.New("an agent that looks after another network namespace than its own cannot translate there: start it inside")
	}
	var own ownAddress
	if o.OwnAddress() {
		_, err := t.hostSide()
		if err == nil {
			own, err = t.shareAddress(o)
		}
		if err != nil { // what runs goes on: an address may be gone for a moment
			return err
		}
	}
	want, err := t.config(snapshot, o, own)
	if err != nil {
		return err
	}
	err = t.tellFastPath(want)
	t.mu.Lock()
	running := t.stop != nil
	t.want, t.own = want, own
	t.mu.Unlock()
	if !running {
		select {
		case t.begin <- struct{}{}:
		default:
		}
	} else if s := t.keeper.State(); s.PID != 0 {
		err = errors.Join(err, t.tell(ctx))
	}
	return errors.Join(err, nft.Replace(ctx, t.options.NS, table, untracked(o)))
}

// nothing ends a translator that is not wanted any more.
func (t *Translator) nothing(ctx context.Context) error {
	t.mu.Lock()
	stop, ended := t.stop, t.ended
	t.want, t.stop, t.life.silent, t.life.away = nil, nil, false, false
	t.mu.Unlock()
	if stop != nil {
		stop()
		<-ended
	}
	t.options.Tell(false)
	return t.remove(ctx)
}

// remove ends the child, whoever started it, and removes its device and its rule.
func (t *Translator) remove(ctx context.Context) error {
	ended := t.keeper.End()
	removed, err := tun.Remove(t.options.NS, desired.TranslationLink)
	t.closeFastPath()
	err = errors.Join(err, nat64.RemoveFast(t.fastOptions()), t.leaveHostSide())
	if !removed {
		return errors.Join(ended, err)
	}
	return errors.Join(ended, err, nft.Delete(ctx, t.options.NS, table))
}
