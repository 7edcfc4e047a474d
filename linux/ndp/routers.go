package ndp

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// Routers finds the routers on named links, and lets the router at the other end of a cable find this host.
type Routers struct {
	ports   *ports
	changes chan struct{}
	knocks  chan knock
}

// OpenRouters opens the routers of ns; nil is the namespace of the process. ns stays the caller's and open as long as the Routers.
func OpenRouters(ns *netns.NS) (*Routers, error) {
	p, err := openPorts(ns, typeRouterSolicitation, typeRouterAdvertisement, typeSolicitation, typeAdvertisement)
	if err != nil {
		return nil, err
	}
	return &Routers{ports: p, changes: make(chan struct{}, 1), knocks: make(chan knock, knocksAtAll)}, nil
}

// Close ends listening. No last advertisement is sent: with lifetime 0 nobody counts on this host (RFC 4861 6.2.5).
func (r *Routers) Close() error { return r.ports.Close() }

// Run listens and advertises until ctx ends.
func (r *Routers) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	asking.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case k := <-r.knocks:
				asking.Go(func() { r.answered(k, k.speaks(ctx, r.ports.ns)) })
			}
		}
	})
	return r.ports.Run(ctx)
}

// knock leaves a question for Run; false when too many wait.
func (r *Routers) knock(k knock) bool {
	select {
	case r.knocks <- k:
		return true
	default:
		return false
	}
}

// answered tells the machine of a link what came of its question.
func (r *Routers) answered(k knock, speaks bool) {
	r.ports.mu.Lock()
	defer r.ports.mu.Unlock()
	if p := r.ports.byName[k.link.Name]; p != nil && p.link.Index == k.link.Index {
		p.with(func(m machine) { m.(*discovery).answered(k.mac, k.peer, speaks, time.Now()) })
	}
}

// Changed tells that State and PeerOnLink may have something new to say: a router came, went, or says something else, or
// advertising began or ended. Changes that come together are told once.
func (r *Routers) Changed() <-chan struct{} { return r.changes }

func (r *Routers) notify() {
	select {
	case r.changes <- struct{}{}:
	default:
	}
}

// Reconcile listens on exactly these links and advertises on those that say so. A link that was down, or is another one, begins
// anew. It returns the names of links that changed.
func (r *Routers) Reconcile(ctx context.Context, want map[string]RouterLink) (diff.Delta[string], error) {
	var delta diff.Delta[string]
	addrs, err := r.ports.conn.Addrs(0)
	if err != nil {
		return delta, err
	}
	err = r.ports.reconcile(ctx, wish{
		names: slices.Sorted(maps.Keys(want)),
		keep:  func(name string, _ *port) bool { _, wanted := want[name]; return wanted },
		dropped: func(name string, _ *port) {
			delta.Remove = append(delta.Remove, name)
			r.notify()
		},
		doing: func(string) string { return "listen for routers" },
		each:  func(l rtnl.Link) error { return r.reconcileLink(l, want[l.Name], linkLocal(addrs, l.Index), &delta) },
	})
	slices.Sort(delta.Remove)
	return delta, err
}

func (r *Routers) reconcileLink(l rtnl.Link, want RouterLink, local netip.Addr, delta *diff.Delta[string]) error {
	p, isNew, err := r.ports.open(l, func(*groups) machine { return newDiscovery(l, rand.Float64, r.notify, r.knock) })
	if err != nil {
		return err
	}
	p.with(func(m machine) {
		d := m.(*discovery)
		switch {
		case isNew:
			delta.Add = append(delta.Add, l.Name)
		case !d.want.equal(want) || d.mac != l.MAC || d.local != local:
			delta.Change = append(delta.Change, l.Name)
		}
		switch {
		case d.mac != l.MAC || l.Running && !p.link.Running:
			d.begin()
		case d.local != local || !d.want.equal(want):
			d.listen()
		}
		if want.Advertise != d.want.Advertise { // RFC 4861 6.2.2: who advertises joins the group that solicitations go to
			if want.Advertise {
				err = p.groups.join(allRouters)
			} else {
				p.groups.leave(allRouters)
			}
		}
		d.want, d.mac, d.local, d.link = want, l.MAC, local, l
		p.link = l
	})
	if err != nil {
		return fmt.Errorf("advertise on link %s: %w", l.Name, err)
	}
	return nil
}

// linkLocal returns the link's own address for speaking to its neighbours (RFC 4861 6.1.2 wants no other as the source of an
// advertisement); invalid while it has none that is known to be unique.
func linkLocal(addrs []rtnl.Addr, index int) netip.Addr {
	for _, a := range addrs {
		unusable := a.Flags & (unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED) &^ tentativeOptimistic(a.Flags)
		if a.Index == index && isLinkLocal(a.Prefix.Addr()) && unusable == 0 {
			return a.Prefix.Addr()
		}
	}
	return netip.Addr{}
}

// tentativeOptimistic is the flag that an optimistic address may ignore (RFC 4429).
func tentativeOptimistic(flags uint32) uint32 {
	if flags&unix.IFA_F_OPTIMISTIC != 0 {
		return unix.IFA_F_TENTATIVE
	}
	return 0
}

// PeerOnLink returns the link-local address of the one router on a link; false when there is none, more than one, or other
// neighbours beside it. A router that is gone is known within 8 seconds on links that advertise, with its carrier at once.
func (r *Routers) PeerOnLink(link string) (netip.Addr, bool) {
	s, ok := r.State()[link]
	if !ok || len(s.Routers) != 1 || s.Neighbours != 1 {
		return netip.Addr{}, false
	}
	return s.Routers[0].Addr, true
}

// Discovery is what Routers knows of one link.
type Discovery struct {
	Counts
	Why        desired.Why // nothing is advertised because ...; empty when it is, or nobody asked
	Advertises bool
	Local      netip.Addr // own link-local address; invalid when there is none
	Neighbours int        // other nodes that were heard and are there
	Routers    []Router   // those among them that advertise, by address
	Told       []Told     // prefixes for NAT64 that they tell, by prefix and router
}

// State returns what is known of each link.
func (r *Routers) State() map[string]Discovery {
	r.ports.mu.Lock()
	defer r.ports.mu.Unlock()
	all := make(map[string]Discovery, len(r.ports.byName))
	for name, p := range r.ports.byName {
		p.mu.Lock()
		m := p.machine.(*discovery)
		s := Discovery{Counts: p.counts, Local: m.local, Routers: m.routers(), Told: m.pref64.all()}
		if m.want.Advertise {
			s.Why = m.verdict(time.Now())
			s.Advertises = s.Why == ""
		}
		for _, n := range m.neighbours {
			if !n.gone {
				s.Neighbours++
			}
		}
		p.mu.Unlock()
		all[name] = s
	}
	return all
}
