package route

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// LearnedMetric is the metric of learned routes. It tells them from the other routes with our protocol, and it comes after
// rtnl.DefaultMetric: where a neighbour offers a prefix that this host owns, the discard route goes on to hold, and so
// does a route that the configuration asks for.
const LearnedMetric = 2048

// MaxNextHops is how many next hops one route may have. Each takes 28 bytes in every message about such a route, and
// those of one route have to fit into an attribute whose length has 16 bits (linux/rtnetlink.h, struct rtnexthop).
const MaxNextHops = 128

// Learned reports whether r is a route that a FIB with this protocol made.
func Learned(r rtnl.Route, protocol uint8) bool {
	return r.Protocol == protocol && r.Metric == LearnedMetric
}

// FIB is the learned routes with one protocol in the main table of one namespace.
//
// No route names a router: each leads to a group of nexthop objects, also when there is only one next hop, and routes with
// the same next hops share it. So a change that all routes of a group have in common is one message, whatever their number,
// and when a link goes the kernel takes it out of the groups by itself.
//
// What the kernel holds is read at the first call and at each Reconcile; between, the FIB remembers what it did. A refusal
// makes it look again. It may be used from several goroutines; one FIB for a namespace and protocol at a time.
type FIB struct {
	conn     *rtnl.Conn
	protocol uint8

	mu   sync.Mutex
	seen *seen // nil: look first
}

// OpenFIB opens the learned routes of ns that carry protocol; nil is the namespace of the process.
func OpenFIB(ns *netns.NS, protocol uint8) (*FIB, error) {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return nil, fmt.Errorf("open the table of learned routes: %w", err)
	}
	return &FIB{conn: conn, protocol: protocol}, nil
}

// Close closes the FIB. Routes and nexthop objects stay.
func (f *FIB) Close() error { return f.conn.Close() }

// Hush leaves what f does out of the events of a subscription; what others do to its routes is told.
func (f *FIB) Hush(s *rtnl.Subscription) error { return s.Ignore(f.conn) }

// Ensure makes the routes in want as wanted, by destination, and leaves all others. A slice of next hops may be shared by
// many destinations, which is also the quickest.
//
// A next hop that the kernel does not take, because its link is missing or down, is left out and told in the error; a
// destination with none left loses its route. A destination for which another program has a route is a Conflict, as far as
// that route was there at the last look.
func (f *FIB) Ensure(ctx context.Context, want map[netip.Prefix][]desired.NextHop) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.twice(ctx, func() (refused bool, err error) {
		p := f.plan(want, false)
		return f.apply(ctx, p), p.err(ctx)
	})
}

// Remove removes our routes for destinations. A missing one, or one of another program, is no error.
func (f *FIB) Remove(ctx context.Context, dsts ...netip.Prefix) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.twice(ctx, func() (refused bool, err error) {
		p := &plan{}
		for _, dst := range dsts {
			d, valid := destOf(dst)
			if _, ok := f.seen.routes[d]; ok && valid {
				p.remove = append(p.remove, step{dst: d})
			}
		}
		return f.apply(ctx, p), p.err(ctx)
	})
}

// twice runs act, and once more after another look when the kernel refused something: it then did not hold what was
// remembered.
func (f *FIB) twice(ctx context.Context, act func() (refused bool, err error)) error {
	for last := false; ; last = true {
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.seen == nil {
			if err := f.look(); err != nil {
				return err
			}
		}
		refused, err := act()
		if !refused {
			return err
		}
		f.seen = nil
		if last {
			return err
		}
	}
}

// Reconcile makes our learned routes equal to want and returns what it did by destination; destinations whose group
// changed under them are among the changed ones. Nexthop objects of ours that no route needs are removed. Call it after
// a link came or went: the kernel forgets the next hops on a link that goes and does not bring them back.
//
// The error joins what could not be done, as in Ensure, and does not keep it from the rest.
func (f *FIB) Reconcile(ctx context.Context, want map[netip.Prefix][]desired.NextHop) (diff.Delta[string], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return diff.Delta[string]{}, err
	}
	if err := f.look(); err != nil {
		return diff.Delta[string]{}, err
	}
	p := f.plan(want, true)
	if f.apply(ctx, p) {
		f.seen = nil
	}
	return p.delta(), p.err(ctx)
}

// Down takes a next hop out of service with one message for each group it is in, however many routes: they go on with the
// others, and routes that have none left are removed. It is for a router that is known to be gone before each of its
// routes is withdrawn; a later Ensure or Reconcile that wants it brings it back. One that is not in use is no error.
func (f *FIB) Down(ctx context.Context, h desired.NextHop) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok, err := f.conn.Link(h.Link)
	if err != nil || !ok { // with a link go its next hops
		return err
	}
	return f.twice(ctx, func() (refused bool, err error) {
		id, ok := f.seen.byHop[hop{h.Via, l.Index}]
		if !ok {
			return false, nil
		}
		// Deleting the next hop alone would take it out of the groups too, but then sockets that are connected keep the
		// route they have looked up: only a change of the group makes them look again (net/ipv4/nexthop.c, nh_rt_cache_flush).
		left := f.seen.without(id)
		var requests []*rtnl.Request
		for _, g := range slices.Sorted(maps.Keys(left)) {
			if len(left[g]) > 0 {
				requests = append(requests, f.setGroup(g, left[g], rtnl.Replace))
			}
		}
		if err := f.conn.Do(append(requests, rtnl.DeleteNextHop(id))...); err != nil {
			return true, fmt.Errorf("next hop %s: %w", h, err)
		}
		f.seen.forget(id, left)
		return false, nil
	})
}

// Held is the learned routes that the kernel has now, with the next hops that are in service.
func (f *FIB) Held() (map[netip.Prefix][]desired.NextHop, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.look(); err != nil {
		return nil, err
	}
	links, err := f.conn.Links()
	if err != nil {
		return nil, err
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Index] = l.Name
	}
	groups := make(map[uint32][]desired.NextHop, len(f.seen.groups))
	for id, g := range f.seen.groups {
		for _, m := range g.members {
			if h, ok := f.seen.hops[m]; ok {
				groups[id] = append(groups[id], desired.NextHop{Via: h.via, Link: names[h.index]})
			}
		}
	}
	held := make(map[netip.Prefix][]desired.NextHop, len(f.seen.routes))
	for dst, id := range f.seen.routes {
		held[dst.prefix()] = groups[id]
	}
	return held, nil
}

// kernel is a learned route in the kernel's words.
func (f *FIB) kernel(dst dest, group uint32) rtnl.Route {
	return rtnl.Route{
		Dst: dst.prefix(), Type: unix.RTN_UNICAST, Protocol: f.protocol,
		Table: unix.RT_TABLE_MAIN, Metric: LearnedMetric, NextHop: group,
	}
}
