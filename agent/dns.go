package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/dns"
	"hexapod.dev/linux/child"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/dns64"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// partDNS makes the DNS server of this host do what is wanted.
const partDNS = "dns"

// childDNS is the DNS server of this host, a child without privileges.
const childDNS = "dns"

// dnsUser is the user the child runs as: of the range that systemd gives to dynamic users, so nobody's.
const dnsUser = 64053

// dnsPort is where it answers.
const dnsPort = 53

// Methods of the child.
const (
	dnsConfigure = "configure"
	dnsStatus    = "status"
	dnsLookup    = "lookup"
)

// Times of the watch over the child: two probes in a row without an answer, and the cluster's own DNS is asked again.
const (
	probeEvery   = 200 * time.Millisecond
	probeWait    = 300 * time.Millisecond
	probeMisses  = 2
	hungAfter    = 20 // probes without an answer, and a child that lives is ended
	socketBuffer = 4 << 20
)

// resolving is the agent's part in DNS.
type resolving struct {
	wake chan struct{} // something changed

	mu      sync.Mutex // guards all following fields
	known   bool       // what is wanted; before that, a child of an earlier agent goes on as it is
	want    *dnsWant   // nil: no server is wanted
	keeper  *child.Keeper
	sockets []child.Named // kept here too, so that questions wait in them while a child is replaced
	at      netip.AddrPort
	leads   bool // clients of the cluster's DNS are led to this host's
	problem error
}

// dnsWant is what the server of this host should do.
type dnsWant struct {
	at     netip.Addr
	config dns.Config
}

// dnsPass tells the server what is wanted now.
func (a *Agent) dnsPass(ctx context.Context) error {
	want, known, err := a.dnsWanted()
	r := &a.resolving
	r.mu.Lock()
	r.problem = err
	if !known || err != nil { // what runs goes on
		r.mu.Unlock()
		return err
	}
	r.known, r.want = true, want
	keeper, at := r.keeper, r.at
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	if want == nil || keeper == nil || want.at != at.Addr() || keeper.State().PID == 0 {
		return nil
	}
	return keeper.Call(ctx, dnsConfigure, want.config, nil)
}

// dnsWanted derives from configuration and services what the server should do. known is false while the cluster has not told of its
// own DNS, or has none that answers: then clients are led there by others, or not at all, and what runs is left alone.
func (a *Agent) dnsWanted() (w *dnsWant, known bool, err error) {
	c := a.config.Load()
	plan := c.set.Objects.Plan
	if plan == nil || plan.Spec.DNS == nil {
		return nil, true, nil
	}
	snapshot := a.sections.Snapshot()
	own := snapshot.Own()
	if len(own) == 0 {
		return nil, false, errors.New("DNS: this host has no prefix of its own, so no address to answer at")
	}
	w = &dnsWant{at: desired.RouterAddr(own[0])}
	w.config.Allow = []netip.Prefix{netip.MustParsePrefix("::1/128")}
	w.config.Allow = append(w.config.Allow, own...)
	for _, addr := range hostAddrs(snapshot) {
		w.config.Allow = append(w.config.Allow, netip.PrefixFrom(addr, addr.BitLen()))
	}
	if plan.Spec.IPv4 != nil { // every endpoint of a dual-stack fabric has IPv4
		w.config.Capable = own
	}
	var fallback []dns.Upstream
	for _, at := range a.clusterDNS(snapshot) {
		fallback = append(fallback, dns.Upstream{Addr: at, Via: dns.UDP})
	}
	if len(plan.Spec.DNS.Upstreams) == 0 && len(fallback) == 0 {
		if a.options.Cluster != nil {
			return nil, false, nil
		}
		return nil, false, errors.New("DNS: spec.dns.upstreams of the AddressPlan names no server to ask")
	}
	err = dnsConfigOf(plan.Spec.DNS, fallback, &w.config)
	return w, err == nil, err
}

// findDNS looks for the server that an earlier agent left at work, so that clients stay led to it.
func (a *Agent) findDNS() {
	c, own := a.config.Load(), a.sections.Snapshot().Own()
	if c.set.Objects.Plan == nil || c.set.Objects.Plan.Spec.DNS == nil || len(own) == 0 {
		return
	}
	at := netip.AddrPortFrom(desired.RouterAddr(own[0]), dnsPort)
	if found := a.probeDNS(at); found {
		a.resolving.mu.Lock()
		a.resolving.at, a.resolving.leads = at, true
		a.resolving.mu.Unlock()
	}
}

// clusterDNS are the endpoints of the cluster's own DNS.
func (a *Agent) clusterDNS(s desired.Snapshot) []netip.AddrPort {
	name, ok := a.dnsService()
	if !ok {
		return nil
	}
	src, ok := s.Services.Get(name)
	if !ok {
		return nil
	}
	return service.Answering(src, dnsPort, transport.UDP)
}

// runDNS keeps the child and watches over it until ctx ends. The child goes on then.
func (a *Agent) runDNS(ctx context.Context) error {
	r := &a.resolving
	for ctx.Err() == nil {
		r.mu.Lock()
		want, known := r.want, r.known
		r.mu.Unlock()
		switch {
		case !known:
		case want == nil:
			a.lead(false)
			if err := a.dnsSpec().End(); err != nil {
				a.log.Warn("the DNS server of this host does not end", "error", err)
			}
			r.closeSockets()
		default:
			a.keepDNS(ctx, want.at)
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
		}
	}
	return nil
}

func (a *Agent) dnsSpec() child.Spec {
	return child.Spec{Name: childDNS, RunDir: a.options.RunDir, User: dnsUser}
}

// keepDNS keeps a child at an address for as long as that is the one that is wanted.
func (a *Agent) keepDNS(ctx context.Context, at netip.Addr) {
	r := &a.resolving
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keeper := &child.Keeper{Spec: a.dnsSpec(), Log: a.log, Open: func(had []child.Named) ([]child.Named, error) { return a.openDNS(at, had) }}
	keeper.Begun = func(ctx context.Context) error {
		r.mu.Lock()
		want := r.want
		r.mu.Unlock()
		if want == nil {
			return errors.New("nothing is wanted of it any more")
		}
		return keeper.Call(ctx, dnsConfigure, want.config, nil)
	}
	r.mu.Lock()
	r.keeper, r.at = keeper, netip.AddrPortFrom(at, dnsPort)
	r.mu.Unlock()
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	wait.Go(func() { _ = keeper.Run(ctx) })
	wait.Go(func() { a.watchDNS(ctx, keeper) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			r.mu.Lock()
			same := r.want != nil && r.want.at == at
			r.mu.Unlock()
			if !same {
				a.lead(false)
				select { // for the loop that called
				case r.wake <- struct{}{}:
				default:
				}
				return
			}
		}
	}
}

// openDNS opens the sockets of a new child. The agent keeps them open too: while a child is replaced, questions wait in them.
func (a *Agent) openDNS(at netip.Addr, had []child.Named) ([]child.Named, error) {
	r := &a.resolving
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sockets) == 0 || r.socketsAt() != at {
		closeNamed(r.sockets)
		r.sockets = nil
		for _, f := range had { // of a child that left: they hold questions that came meanwhile
			if file, err := dup(f.File); err == nil {
				r.sockets = append(r.sockets, child.Named{Name: f.Name, File: file})
			}
		}
		if len(r.sockets) > 0 && r.socketsAt() != at {
			closeNamed(r.sockets)
			r.sockets = nil
		}
	}
	if len(r.sockets) == 0 {
		var err error
		if r.sockets, err = a.listenDNS(netip.AddrPortFrom(at, dnsPort)); err != nil {
			return nil, err
		}
	}
	copies := make([]child.Named, 0, len(r.sockets))
	for _, s := range r.sockets {
		file, err := dup(s.File)
		if err != nil {
			closeNamed(copies)
			return nil, err
		}
		copies = append(copies, child.Named{Name: s.Name, File: file})
	}
	return copies, nil
}

// socketsAt is the address of the sockets. The caller holds mu.
func (r *resolving) socketsAt() netip.Addr {
	sa, err := unix.Getsockname(int(r.sockets[0].File.Fd()))
	if six, ok := sa.(*unix.SockaddrInet6); ok && err == nil {
		return netip.AddrFrom16(six.Addr)
	}
	return netip.Addr{}
}

// listenDNS opens the sockets at an address: a UDP socket for each processor, between which the kernel divides the clients, and one
// for TCP.
func (a *Agent) listenDNS(at netip.AddrPort) (files []child.Named, err error) {
	control := func(_, _ string, c syscall.RawConn) error {
		var errs []error
		err := c.Control(func(fd uintptr) {
			errs = append(errs, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer))
		})
		return errors.Join(append(errs, err)...)
	}
	l := net.ListenConfig{Control: control}
	open := func() error {
		for i := range min(4, numCPU()) {
			c, err := l.ListenPacket(context.Background(), "udp6", at.String())
			if err != nil {
				return fmt.Errorf("DNS at %s: %w; another server may have the port", at, err)
			}
			f, err := c.(*net.UDPConn).File()
			if err = errors.Join(err, c.Close()); err != nil {
				return err
			}
			files = append(files, child.Named{Name: fmt.Sprintf("udp-%d", i), File: f})
		}
		t, err := l.Listen(context.Background(), "tcp6", at.String())
		if err != nil {
			return fmt.Errorf("DNS at %s: %w; another server may have the port", at, err)
		}
		f, err := t.(*net.TCPListener).File()
		if err = errors.Join(err, t.Close()); err != nil {
			return err
		}
		files = append(files, child.Named{Name: "tcp-0", File: f})
		return nil
	}
	if a.options.NS != nil {
		err = a.options.NS.Do(open)
	} else {
		err = open()
	}
	if err != nil {
		closeNamed(files)
		return nil, err
	}
	return files, nil
}

func (r *resolving) closeSockets() {
	r.mu.Lock()
	defer r.mu.Unlock()
	closeNamed(r.sockets)
	r.sockets, r.keeper = nil, nil
}

func closeNamed(list []child.Named) {
	for _, n := range list {
		n.File.Close()
	}
}

func dup(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// DNS implements local.Resolving.
func (a *Agent) DNS(ctx context.Context) (local.DNS, error) {
	a.resolving.mu.Lock()
	keeper, at, leads, problem := a.resolving.keeper, a.resolving.at, a.resolving.leads, a.resolving.problem
	a.resolving.mu.Unlock()
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
	return out, keeper.Call(ctx, dnsStatus, struct{}{}, &out.Server)
}

// DNSLookup implements local.Resolving.
func (a *Agent) DNSLookup(ctx context.Context, name, typ string, client dns64.Client) (l dns.Lookup, err error) {
	return l, a.dnsSpec().Call(ctx, dnsLookup, dns.LookupRequest{Name: name, Type: typ, Client: client}, &l)
}

// isDNS reports whether a service is the cluster's DNS.
func (a *Agent) isDNS(n service.Name) bool {
	name, ok := a.dnsService()
	return ok && name == n
}

// reportDNS is the line of the status about DNS.
func (a *Agent) reportDNS() []local.Object {
	r := &a.resolving
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
