package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"hexapod.dev/linux/child"
	"hexapod.dev/linux/nat64"
	"hexapod.dev/linux/nft"
	"hexapod.dev/linux/tun"
	"hexapod.dev/model/desired"
	xnat64 "hexapod.dev/model/xlat/nat64"
)

// partNAT64 keeps the translator of this host, and the rule that keeps its packets out of connection tracking.
const partNAT64 = "nat64"

// nat64Table is the table of nftables with that rule.
const nat64Table = "inet hexapod-nat64"

// translating is the agent's side of the translator, which is a child and outlives the agent.
type translating struct {
	keeper *child.Keeper
	begin  chan struct{} // the keeper is to run

	mu    sync.Mutex // guards all following fields
	fast  *nat64.Fast
	slow  string // why there is no fast path
	want  *nat64.Config
	host  *nat64.Host   // nil: not opened, or it cannot be
	own   ownAddress    // zero: endpoints are seen by a pool
	stop  func()        // ends the keeper; nil: it does not run
	ended chan struct{} // closed when it has
}

// openTranslator makes the keeper. Nothing runs before the configuration asks for it.
func (a *Agent) openTranslator() {
	t := &a.nat64
	t.begin = make(chan struct{}, 1)
	t.keeper = &child.Keeper{
		Spec: child.Spec{Name: nat64.Child, RunDir: a.options.RunDir, User: nat64.User},
		Log:  a.log, Open: a.openTranslatorFiles, Begun: a.tellTranslator,
	}
}

func (a *Agent) nat64Folder() string { return filepath.Join(a.options.StateDir, "nat64") }

// openTranslatorFiles opens what a new translator works with, or takes what the one before had.
func (a *Agent) openTranslatorFiles(had []child.Named) (files []child.Named, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				f.File.Close()
			}
		}
	}()
	if err := os.MkdirAll(a.nat64Folder(), 0o755); err != nil {
		return nil, err
	}
	open := func(name string, open func() (*os.File, error)) {
		if err != nil {
			return
		}
		if i := slices.IndexFunc(had, func(f child.Named) bool { return f.Name == name }); i >= 0 && name != nat64.FileGrants { // the log is read from the begin of its segment; memory of the fast path is opened anew
			files = append(files, had[i])
			return
		}
		var f *os.File
		if f, err = open(); err == nil {
			files = append(files, child.Named{Name: name, File: f})
		}
	}
	open(nat64.FileTUN, func() (*os.File, error) { return tun.Open(a.options.NS, desired.TranslationLink) })
	open(nat64.FileTable, func() (*os.File, error) {
		return os.OpenFile(filepath.Join(a.options.RunDir, "nat64.table"), os.O_RDWR|os.O_CREATE, 0o600)
	})
	open(nat64.FileGrants, a.openGrants)
	if err == nil {
		files = append(files, a.hangFastPath()...)
	}
	if h, missing := a.hostSide(); err == nil && missing == nil { // without it a pool does
		var bound *os.File
		if bound, err = h.Bound(); err == nil {
			files = append(files, child.Named{Name: nat64.FileBound, File: bound})
		}
	}
	return files, err
}

// tellTranslator tells a translator that runs what is wanted; then packets are led to it.
func (a *Agent) tellTranslator(ctx context.Context) error {
	a.nat64.mu.Lock()
	want := a.nat64.want
	a.nat64.mu.Unlock()
	if want == nil {
		return nil
	}
	if err := a.nat64.keeper.Call(ctx, nat64.CallConfigure, want, nil); err != nil {
		return err
	}
	if err := a.leadHostSide(); err != nil {
		return err
	}
	if a.sections.SetTranslating(true) {
		a.kick(partHost, partRoutes, partBGP)
	}
	return nil
}

// findTranslator notes at the start that a translator of the agent before may be at work: its routes stay until it is known better.
func (a *Agent) findTranslator() {
	_, err := a.kernel.linkIndex(desired.TranslationLink)
	a.sections.SetTranslating(err == nil)
}

// runTranslator keeps the translator alive while it is wanted, until ctx ends. The translator goes on then.
func (a *Agent) runTranslator(ctx context.Context) error {
	t := &a.nat64
	defer a.closeFastPath()
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
			if err := t.keeper.Run(keeping); err != nil {
				a.log.Error("the translator is not kept", "error", err)
			}
		}
		stop()
		close(ended)
	}
}

// translate brings the translator to what the configuration says.
func (a *Agent) translate(ctx context.Context) error {
	snapshot := a.sections.Snapshot()
	o := snapshot.Config.Translation
	if o == nil || len(o.Pool) == 0 && !o.OwnAddress() || snapshot.Config.Self.Retired {
		return a.translateNothing(ctx)
	}
	if a.options.NS != nil {
		return errors.New("an agent that looks after another network namespace than its own cannot translate there: start it inside")
	}
	var own ownAddress
	if o.OwnAddress() {
		_, err := a.hostSide()
		if err == nil {
			own, err = a.shareAddress(o)
		}
		if err != nil { // what runs goes on: an address may be gone for a moment
			return err
		}
	}
	want, err := a.translatorConfig(snapshot, o, own)
	if err != nil {
		return err
	}
	err = a.tellFastPath(want)
	t := &a.nat64
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
		err = errors.Join(err, a.tellTranslator(ctx))
	}
	return errors.Join(err, nft.Replace(ctx, a.options.NS, nat64Table, untracked(o)))
}

// translateNothing ends a translator that is not wanted any more.
func (a *Agent) translateNothing(ctx context.Context) error {
	t := &a.nat64
	t.mu.Lock()
	stop, ended := t.stop, t.ended
	t.want, t.stop = nil, nil
	t.mu.Unlock()
	if stop != nil {
		stop()
		<-ended
	}
	if a.sections.SetTranslating(false) {
		a.kick(partRoutes, partBGP)
	}
	return a.removeTranslator(ctx)
}

// removeTranslator ends the child, whoever started it, and removes its device and its rule.
func (a *Agent) removeTranslator(ctx context.Context) error {
	ended := a.nat64.keeper.End()
	removed, err := tun.Remove(a.options.NS, desired.TranslationLink)
	a.closeFastPath()
	err = errors.Join(err, nat64.RemoveFast(a.fastOptions()), a.leaveHostSide())
	if !removed {
		return errors.Join(ended, err)
	}
	return errors.Join(ended, err, nft.Delete(ctx, a.options.NS, nat64Table))
}

// untracked keeps translated packets out of connection tracking, on both sides: the translator has a table of its own, and a second one
// could only be full before it. What arrives for endpoints at the host's own address never comes where it could be tracked.
func untracked(o *desired.Translation) string {
	words := func(list []string) string { return "{ " + strings.Join(list, ", ") + " }" }
	var prefixes, pool []string
	for _, p := range o.Prefixes {
		prefixes = append(prefixes, p.String())
	}
	if o.Group != nil { // what other gateways hand over
		prefixes = append(prefixes, o.Group.Self.String())
	}
	for _, a := range o.Pool {
		pool = append(pool, a.String())
	}
	answers := ""
	if len(pool) > 0 {
		answers = "\n\t\tip daddr " + words(pool) + " notrack"
	}
	return fmt.Sprintf(`	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname %[1]q notrack
		ip6 daddr %[2]s notrack%[3]s
	}
	chain output {
		type filter hook output priority raw; policy accept;
		ip6 daddr %[2]s notrack
	}
`, desired.TranslationLink, words(prefixes), answers)
}

// translatorConfig is what the translator is told.
func (a *Agent) translatorConfig(s desired.Snapshot, o *desired.Translation, own ownAddress) (*nat64.Config, error) {
	secret, err := a.nat64Secret()
	if err != nil {
		return nil, err
	}
	pool := o.Pool
	if own.addr.IsValid() {
		pool = []netip.Addr{own.addr}
	}
	c := &nat64.Config{Prefixes: o.Prefixes, Pool: pool, Ports: nat64.Ports(o.Ports), Held: own.held, Gateway: a.options.Host,
		Private: o.Private, Clients: slices.Clone(o.Clients), Blocks: o.Blocks, Bindings: o.Bindings, Self4: speaksFrom(o, pool), MTU6: s.Sizes().MTU, Secret: secret}
	if o.Group != nil {
		c.Members = o.Group.Members
	}
	if f := a.fastPath(); f != nil {
		c.Fast, c.Rooms = f.Buckets(), f.Rooms()
	}
	for _, own := range s.Own() {
		if r := desired.RouterAddr(own); r.IsValid() {
			c.Self6 = r
			c.Clients = append(c.Clients, netip.PrefixFrom(r, r.BitLen()))
		}
	}
	for _, self := range s.Config.Self.Addrs { // the host is a client too
		if self.Is6() {
			c.Clients = append(c.Clients, netip.PrefixFrom(self, self.BitLen()))
		}
	}
	return c, nil
}

// speaksFrom is the address of the pool by which the translator speaks for itself: of a group one that belongs to it while all live.
func speaksFrom(o *desired.Translation, pool []netip.Addr) netip.Addr {
	if o.Group != nil {
		if i := slices.Index(o.Group.Ranks, 0); i >= 0 {
			return o.Pool[i]
		}
	}
	return pool[0]
}

// nat64Secret keys the choice of ports. It stays the same, so that ports are chosen alike after a restart.
func (a *Agent) nat64Secret() (secret xnat64.Secret, err error) {
	path := filepath.Join(a.nat64Folder(), "secret")
	b, err := os.ReadFile(path)
	switch {
	case err == nil && len(b) == len(secret):
		return xnat64.Secret(b), nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return secret, fmt.Errorf("secret of the translator: %w", err)
	}
	_, _ = rand.Read(secret[:]) // it never fails (crypto/rand)
	if err := os.MkdirAll(a.nat64Folder(), 0o755); err != nil {
		return secret, err
	}
	return secret, os.WriteFile(path, secret[:], 0o600)
}
