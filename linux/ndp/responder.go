package ndp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/diff"
)

// DuplicateError says that somebody on the link has an address that was about to be used.
type DuplicateError struct {
	Link string
	Addr netip.Addr
	MAC  MAC // of the other
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("address %s is in use on link %s by the host with MAC %s; it will not be used here", e.Addr, e.Link, e.MAC)
}

// Responder answers for addresses of this host on links where nobody routes them here.
type Responder struct {
	ports   *ports
	changes chan struct{}
}

// OpenResponder opens the responder of ns; nil is the namespace of the process. ns stays the caller's and open as long as the
// Responder.
func OpenResponder(ns *netns.NS) (*Responder, error) {
	p, err := openPorts(ns, typeSolicitation, typeAdvertisement)
	if err != nil {
		return nil, err
	}
	return &Responder{ports: p, changes: make(chan struct{}, 1)}, nil
}

// Close ends answering and leaves all groups. Neighbours go on sending here until they ask again.
func (r *Responder) Close() error { return r.ports.Close() }

// Run answers until ctx ends, then leaves all groups. Nothing is answered while it does not run.
func (r *Responder) Run(ctx context.Context) error { return r.ports.Run(ctx) }

// Changed tells that Conflicts may have something new to say.
func (r *Responder) Changed() <-chan struct{} { return r.changes }

func (r *Responder) notify() {
	select {
	case r.changes <- struct{}{}:
	default:
	}
}

// Ensure answers for one address on a link. A shared one is looked for first (RFC 4862 5.4), which takes a second and needs Run;
// a *DuplicateError says that somebody has it. An address that is answered for already is done.
func (r *Responder) Ensure(ctx context.Context, link string, a Answer) error {
	done := make(chan error, 1)
	if err := r.begin(link, a, done); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		r.Remove(link, a.Addr)
		return ctx.Err()
	}
}

// begin takes the address in; done is told when it may be used.
func (r *Responder) begin(name string, a Answer, done chan<- error) error {
	if err := valid(a.Addr); err != nil {
		return err
	}
	l, exists, err := r.ports.conn.Link(name)
	if err == nil {
		err = usable(name, l, exists)
	}
	if err == nil && a.Shared && !l.Running {
		// The question would be lost, and silence be taken for an answer.
		err = fmt.Errorf("link %s has no carrier; nobody can be asked whether the address is in use", name)
	}
	if err != nil {
		return fmt.Errorf("answer for %s: %w", a.Addr, err)
	}
	r.ports.mu.Lock()
	defer r.ports.mu.Unlock()
	p, _, err := r.ports.open(l, r.machineFor(l))
	if err != nil {
		return err
	}
	p.with(func(m machine) { err = r.beginOn(p, m.(*answering), a, done) })
	return err
}

func (r *Responder) beginOn(p *port, m *answering, a Answer, done chan<- error) error {
	switch e := m.entries[a.Addr]; {
	case e != nil && e.probe != nil: // somebody else waits for the same
		e.probe.done = append(e.probe.done, done)
		return nil
	case e != nil:
		done <- nil
		return nil
	}
	if err := p.groups.join(Group(a.Addr)); err != nil {
		return fmt.Errorf("answer for %s on link %s: %w", a.Addr, p.link.Name, err)
	}
	if !a.Shared {
		m.use(a)
		done <- nil
		return nil
	}
	nonce := make([]byte, 6) // RFC 7527 4.2
	_, _ = rand.Read(nonce)  // never fails
	m.try(a, nonce, done)
	return nil
}

// Remove ends answering for an address. A missing one is no error.
func (r *Responder) Remove(link string, addr netip.Addr) {
	r.ports.mu.Lock()
	defer r.ports.mu.Unlock()
	if p := r.ports.byName[link]; p != nil {
		p.with(func(m machine) { m.(*answering).forget(addr) })
	}
}

func (r *Responder) machineFor(l rtnl.Link) func(*groups) machine {
	return func(g *groups) machine {
		return newAnswering(l.Name, l.MAC, r.notify, func(addr netip.Addr) { g.leave(Group(addr)) })
	}
}

// Reconcile answers for exactly these addresses, by link, and returns what changed by "link address". Addresses that are new are
// announced and not looked for: they live already. All are announced again on a link that has got another MAC, or that was down.
func (r *Responder) Reconcile(ctx context.Context, want map[string][]Answer) (diff.Delta[string], error) {
	var delta diff.Delta[string]
	err := r.ports.reconcile(ctx, wish{
		names: slices.Sorted(maps.Keys(want)),
		keep: func(name string, p *port) bool {
			list, wanted := want[name]
			return len(list) > 0 || wanted && p.probing()
		},
		dropped: func(name string, p *port) {
			p.with(func(m machine) {
				for addr := range m.(*answering).entries {
					delta.Remove = append(delta.Remove, name+" "+addr.String())
				}
			})
		},
		doing: func(name string) string { return fmt.Sprintf("answer for %d addresses", len(want[name])) },
		each:  func(l rtnl.Link) error { return r.reconcileLink(l, want[l.Name], &delta) },
	})
	slices.Sort(delta.Add)
	slices.Sort(delta.Remove)
	return delta, err
}

func (r *Responder) reconcileLink(l rtnl.Link, want []Answer, delta *diff.Delta[string]) error {
	if len(want) == 0 && r.ports.byName[l.Name] == nil {
		return nil
	}
	p, _, err := r.ports.open(l, r.machineFor(l))
	if err != nil {
		return err
	}
	var errs []error
	p.with(func(m machine) {
		a := m.(*answering)
		if moved := l.MAC != a.mac || l.Running && !p.link.Running; moved {
			a.mac = l.MAC
			a.tellAll()
		}
		p.link = l
		wanted := make(map[netip.Addr]bool, len(want))
		for _, w := range want {
			wanted[w.Addr] = true
			if e := a.entries[w.Addr]; e != nil {
				continue
			}
			err := valid(w.Addr)
			if err == nil {
				err = p.groups.join(Group(w.Addr))
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("answer for %s on link %s: %w", w.Addr, l.Name, err))
				continue
			}
			a.use(w)
			delta.Add = append(delta.Add, l.Name+" "+w.Addr.String())
		}
		for addr, e := range a.entries {
			if !wanted[addr] && e.probe == nil {
				a.forget(addr)
				delta.Remove = append(delta.Remove, l.Name+" "+addr.String())
			}
		}
	})
	return errors.Join(errs...)
}

// probing reports whether an address is being looked for. Nobody wants it yet, and somebody waits for it.
func (p *port) probing() (yes bool) {
	p.with(func(m machine) {
		for _, e := range m.(*answering).entries {
			yes = yes || e.probe != nil
		}
	})
	return yes
}

func valid(a netip.Addr) error {
	if !a.Is6() || a.Is4In6() || a.Zone() != "" || !unicast(a) || isLinkLocal(a) {
		return fmt.Errorf("address %s: not a unicast address that others can look for", a)
	}
	return nil
}

// Answering is what a Responder does on one link.
type Answering struct {
	Counts
	Addrs     int    // addresses in use
	Probing   int    // addresses that are being looked for
	Groups    int    // multicast groups joined
	Answered  uint64 // solicitations
	Defended  uint64 // attempts of others to take an address
	Conflicts []Conflict
}

// State returns what is done on each link.
func (r *Responder) State() map[string]Answering {
	r.ports.mu.Lock()
	defer r.ports.mu.Unlock()
	all := make(map[string]Answering, len(r.ports.byName))
	for name, p := range r.ports.byName {
		p.mu.Lock()
		m := p.machine.(*answering)
		s := Answering{Counts: p.counts, Groups: len(p.groups.held), Answered: m.answered, Defended: m.defended, Conflicts: m.list()}
		for _, e := range m.entries {
			if e.probe != nil {
				s.Probing++
			} else {
				s.Addrs++
			}
		}
		p.mu.Unlock()
		all[name] = s
	}
	return all
}
