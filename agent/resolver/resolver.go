// Package resolver keeps the DNS server of a host, an unprivileged child that outlives the agent, and says whether clients of the
// cluster's DNS are led to it.
package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/dns"
	"hexapod.dev/linux/child"
	"hexapod.dev/linux/netns"
)

// user is whom the child runs as: of the range that systemd gives to dynamic users, so nobody's.
const user = 64053

// Port is where the server answers.
const Port = 53

// Methods of the child.
const (
	CallConfigure = "configure" // dns.Config
	CallStatus    = "status"    // answers dns.Status
	CallLookup    = "lookup"    // dns.LookupRequest, answers dns.Lookup
	CallDiscover  = "discover"  // dns.DiscoverRequest, answers []dns.Discovered
)

// Spec is how the child of a run folder is found.
func Spec(runDir string) child.Spec { return child.Spec{Name: "dns", RunDir: runDir, User: user} }

// Options are what a resolver works with.
type Options struct {
	RunDir string
	NS     *netns.NS // namespace of the host; nil: that of the process
	Log    *slog.Logger
	Led    func() // told when clients are led to the server, and when they are no more; it must not wait
}

// Want is what the server of a host should do.
type Want struct {
	At     netip.Addr // where it answers, at Port
	Config dns.Config
}

// Resolver is the agent's part in DNS.
type Resolver struct {
	options Options
	wake    chan struct{} // something changed

	mu      sync.Mutex // guards all following fields
	known   bool       // what is wanted; before that, a child of an earlier agent goes on as it is
	want    *Want      // nil: no server is wanted
	keeper  *child.Keeper
	sockets []child.Named // kept here too, so that questions wait in them while a child is replaced
	at      netip.AddrPort
	leads   bool // clients of the cluster's DNS are led to this host's
	problem error
}

// New returns a resolver that wants nothing yet.
func New(o Options) *Resolver {
	return &Resolver{options: o, wake: make(chan struct{}, 1)}
}

// Set says what the server should do; nil: there should be none.
func (r *Resolver) Set(ctx context.Context, want *Want) error {
	r.mu.Lock()
	r.problem = nil
	r.known, r.want = true, want
	keeper, at := r.keeper, r.at
	r.mu.Unlock()
	r.poke()
	if want == nil || keeper == nil || want.At != at.Addr() || keeper.State().PID == 0 {
		return nil
	}
	return keeper.Call(ctx, CallConfigure, want.Config, nil)
}

// Fail says why it is not known what the server should do; nil: it will be known. What runs goes on.
func (r *Resolver) Fail(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problem = why
}

// Find looks for the server that an earlier agent left at work, so that clients stay led to it.
func (r *Resolver) Find(addr netip.Addr) {
	at := netip.AddrPortFrom(addr, Port)
	if r.probe(at) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.at, r.leads = at, true
	}
}

// Leads returns where clients of the cluster's DNS are led to, if they are.
func (r *Resolver) Leads() (netip.AddrPort, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at, r.leads
}

func (r *Resolver) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run keeps the child and watches over it until ctx ends. The child goes on then.
func (r *Resolver) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		r.mu.Lock()
		want, known := r.want, r.known
		r.mu.Unlock()
		switch {
		case !known:
		case want == nil:
			r.lead(false)
			if err := Spec(r.options.RunDir).End(); err != nil {
				r.options.Log.Warn("the DNS server of this host does not end", "error", err)
			}
			r.closeSockets()
		default:
			r.keep(ctx, want.At)
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
		}
	}
	return nil
}

// keep keeps a child at an address for as long as that is the one that is wanted.
func (r *Resolver) keep(ctx context.Context, at netip.Addr) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keeper := &child.Keeper{Spec: Spec(r.options.RunDir), Log: r.options.Log,
		Open: func(had []child.Named) ([]child.Named, error) { return r.open(at, had) }}
	keeper.Begun = func(ctx context.Context) error {
		r.mu.Lock()
		want := r.want
		r.mu.Unlock()
		if want == nil {
			return errors.New("nothing is wanted of it any more")
		}
		if err := r.borrow(ctx, keeper.Spec); err != nil {
			r.options.Log.Warn("questions will not wait if the DNS server of this host is killed", "error", err)
		}
		return keeper.Call(ctx, CallConfigure, want.Config, nil)
	}
	r.mu.Lock()
	r.keeper, r.at = keeper, netip.AddrPortFrom(at, Port)
	r.mu.Unlock()
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	wait.Go(func() { _ = keeper.Run(ctx) })
	wait.Go(func() { r.watch(ctx, keeper) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			r.mu.Lock()
			same := r.want != nil && r.want.At == at
			r.mu.Unlock()
			if !same {
				r.lead(false)
				r.poke() // for the loop that called
				return
			}
		}
	}
}

// Status asks the server how it does.
func (r *Resolver) Status(ctx context.Context) (local.DNS, error) {
	r.mu.Lock()
	keeper, at, leads, problem := r.keeper, r.at, r.leads, r.problem
	r.mu.Unlock()
	if keeper == nil {
		return local.DNS{}, errors.Join(errors.New("this host answers no DNS: spec.dns of the AddressPlan asks for it"), problem)
	}
	state := keeper.State()
	out := local.DNS{At: at, PID: state.PID, Starts: state.Starts, Leads: leads}
	if state.Err != nil {
		out.Why = state.Err.Error()
	}
	if state.PID == 0 {
		return out, nil
	}
	return out, keeper.Call(ctx, CallStatus, struct{}{}, &out.Server)
}

// Lookup looks a name up as a client of the host does.
func (r *Resolver) Lookup(ctx context.Context, q dns.LookupRequest) (l dns.Lookup, err error) {
	return l, Spec(r.options.RunDir).Call(ctx, CallLookup, q, &l)
}

// Discover has the server ask others which addresses they make for a name.
func (r *Resolver) Discover(ctx context.Context, q dns.DiscoverRequest) (list []dns.Discovered, err error) {
	return list, Spec(r.options.RunDir).Call(ctx, CallDiscover, q, &list)
}

// Report is the line of the status about DNS.
func (r *Resolver) Report() []local.Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.want == nil && r.problem == nil {
		return nil
	}
	o := local.Object{Kind: "dns", Name: r.at.String(), State: local.Pending, Detail: "being started"}
	if r.keeper != nil {
		switch s := r.keeper.State(); {
		case s.Err != nil:
			o.State, o.Why = local.Failed, s.Err.Error()
		case s.PID != 0:
			o.State, o.Detail = local.Done, fmt.Sprintf("child %d, started %d times", s.PID, s.Starts)
			if r.leads {
				o.Detail += ", answers for the cluster's DNS"
			}
		}
	}
	if r.problem != nil {
		o.State, o.Why = local.Failed, r.problem.Error()
	}
	return []local.Object{o}
}
