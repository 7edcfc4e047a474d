package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// errNoNextHop is said of routes whose next hops all failed, each with an error of its own.
var errNoNextHop = errors.New("none of its next hops can be used")

// makeHops makes the nexthop objects that the targets of p need and are not there, and fills in the targets' members.
func (f *FIB) makeHops(p *plan) {
	ids := map[desired.NextHop]uint32{} // 0: cannot be had
	for _, t := range p.groups {
		for _, h := range t.hops {
			ids[h] = 0
		}
	}
	links := map[string]int{}
	for _, h := range slices.SortedFunc(maps.Keys(ids), compareHops) {
		id, err := f.makeHop(h, links)
		if err != nil {
			p.errs = append(p.errs, fmt.Errorf("next hop %s: %w", h, err))
		}
		ids[h] = id
	}
	for _, t := range p.groups {
		for _, h := range t.hops {
			if id := ids[h]; id != 0 {
				t.members = append(t.members, id)
			}
		}
		slices.Sort(t.members) // in one order always: flows stay where they are
		t.members = slices.Compact(t.members)
		t.key = keyOf(t.members)
		if len(t.members) == 0 {
			t.err = errNoNextHop
		}
	}
}

func compareHops(a, b desired.NextHop) int {
	return cmp.Or(cmp.Compare(a.Link, b.Link), a.Via.Compare(b.Via))
}

// makeHop finds or makes the nexthop object of h; 0 when there is an error. links remembers indices.
func (f *FIB) makeHop(h desired.NextHop, links map[string]int) (uint32, error) {
	index, known := links[h.Link]
	if !known {
		l, ok, err := f.conn.Link(h.Link)
		if err != nil {
			return 0, err
		}
		if ok {
			index = l.Index
		}
		links[h.Link] = index
	}
	if index == 0 {
		return 0, fmt.Errorf("link %s does not exist", h.Link)
	}
	at := hop{h.Via, index}
	if id, ok := f.seen.byHop[at]; ok {
		return id, nil
	}
	id, ok := f.seen.free(firstHop)
	if !ok {
		return 0, fmt.Errorf("all %d ids of nexthop objects are in use", idRange)
	}
	if err := f.conn.Do(rtnl.AddNextHop(rtnl.NextHop{ID: id, Protocol: f.protocol, Via: h.Via, Index: index, Link: h.Link}, rtnl.IfAbsent)); err != nil {
		return 0, err
	}
	f.seen.hops[id], f.seen.byHop[at] = at, id
	f.seen.idle = true
	return id, nil
}

// apply does what p says and leaves in it what was done. refused says that the kernel did not take something, or that it
// is not known what it took.
func (f *FIB) apply(ctx context.Context, p *plan) (refused bool) {
	f.moveGroups(p)
	f.makeGroups(p)
	route := func(s step) rtnl.Route { return f.kernel(s.dst, s.to.group) }
	p.change = f.bulk(ctx, p, p.change, func(s step) { f.seen.setRoute(s.dst, s.to.group) }, func(steps []step) rtnl.Bulk {
		return rtnl.AddRoutes(len(steps), func(i int) rtnl.Route { return route(steps[i]) }, rtnl.Replace)
	})
	f.seen.grow(len(p.add))
	p.add = f.bulk(ctx, p, p.add, func(s step) { f.seen.newRoute(s.dst, s.to.group) }, func(steps []step) rtnl.Bulk {
		return rtnl.AddRoutes(len(steps), func(i int) rtnl.Route { return route(steps[i]) }, rtnl.IfAbsent)
	})
	p.remove = f.bulk(ctx, p, p.remove, func(s step) { f.seen.dropRoute(s.dst) }, func(steps []step) rtnl.Bulk {
		return rtnl.DeleteRoutes(len(steps), func(i int) rtnl.Route { return f.kernel(steps[i].dst, 0) })
	})
	if len(p.refused) == 0 && ctx.Err() == nil {
		f.sweep(p)
	}
	return len(p.refused) > 0 || ctx.Err() != nil
}

// moveGroups finds groups of which all routes want the same other next hops, and changes the group instead of the routes.
func (f *FIB) moveGroups(p *plan) {
	type leave struct {
		to    *target
		steps int
		mixed bool
	}
	leaving, removed, moved := map[uint32]*leave{}, map[uint32]int{}, map[uint32]bool{}
	for _, s := range p.remove {
		removed[f.seen.routes[s.dst]]++
	}
	for _, s := range p.change {
		id := f.seen.routes[s.dst]
		l := leaving[id]
		if l == nil {
			l = &leave{to: s.to}
			leaving[id] = l
		}
		l.steps++
		l.mixed = l.mixed || l.to != s.to
	}
	for _, id := range slices.Sorted(maps.Keys(leaving)) {
		l, g := leaving[id], f.seen.groups[id]
		_, exists := f.seen.byMembers[l.to.key]
		if g == nil || l.mixed || l.steps+removed[id] != g.users || exists && l.steps < rtnl.BulkBatch {
			continue // a few routes join a group that is there already
		}
		if err := f.conn.Do(f.setGroup(id, l.to.members, rtnl.Replace)); err != nil {
			p.refused = append(p.refused, err)
			continue
		}
		f.seen.setGroup(id, l.to.members, l.to.key)
		moved[id] = true
	}
	p.change = slices.DeleteFunc(p.change, func(s step) bool {
		if moved[f.seen.routes[s.dst]] {
			p.moved = append(p.moved, s)
			return true
		}
		return false
	})
}

// makeGroups finds or makes the groups that steps lead to. Steps whose group cannot be made are left out.
func (f *FIB) makeGroups(p *plan) {
	for _, list := range [][]step{p.change, p.add} {
		for _, s := range list {
			s.to.needed = s.to.err == nil
		}
	}
	slices.SortFunc(p.groups, func(a, b *target) int { return slices.Compare(a.members, b.members) })
	var fresh []*target
	var requests []*rtnl.Request
	for _, t := range p.groups {
		if !t.needed {
			continue
		}
		id, ok := f.seen.byMembers[t.key]
		if !ok {
			if id, ok = f.seen.free(firstGroup); !ok {
				t.err = fmt.Errorf("all %d ids of nexthop groups are in use", idRange)
				continue
			}
			fresh = append(fresh, t)
			requests = append(requests, f.setGroup(id, t.members, rtnl.IfAbsent))
			f.seen.setGroup(id, t.members, t.key)
		}
		t.group = id
	}
	if err := f.conn.Do(requests...); err != nil {
		for i, t := range fresh {
			if err := requests[i].Err(); err != nil {
				t.err = err
				p.refused = append(p.refused, err)
				f.seen.dropGroup(t.group)
			}
		}
	}
	failed := func(s step) bool { return s.to.err != nil }
	p.change, p.add = slices.DeleteFunc(p.change, failed), slices.DeleteFunc(p.add, failed)
}

func (f *FIB) setGroup(id uint32, members []uint32, mode int) *rtnl.Request {
	return rtnl.AddNextHop(rtnl.NextHop{ID: id, Protocol: f.protocol, Group: members}, mode)
}

// chunk is how many routes are sent while those before them are noted down.
const chunk = 8 * rtnl.BulkBatch

// bulk sends steps of one kind, calls done for those the kernel took and returns them. The kernel works on a chunk while
// the one before it is noted.
func (f *FIB) bulk(ctx context.Context, p *plan, steps []step, done func(step), requests func([]step) rtnl.Bulk) []step {
	type answer struct {
		sent    []step
		refused map[int]*rtnl.Error
		err     error
	}
	steps = inOrder(steps)
	answers := make(chan answer, 1)
	go func() {
		defer close(answers)
		for part := range slices.Chunk(steps, chunk) {
			n, refused, err := f.conn.DoBulk(ctx, requests(part))
			answers <- answer{part[:n], refused, err}
			if err != nil {
				return
			}
		}
	}()
	taken := steps[:0] // never ahead of what was sent
	for a := range answers {
		if a.err != nil && ctx.Err() == nil {
			p.refused = append(p.refused, a.err)
		}
		for i, s := range a.sent {
			if r := a.refused[i]; r != nil {
				p.refused = append(p.refused, r)
				continue
			}
			done(s)
			taken = append(taken, s)
		}
	}
	return taken
}

// sweep removes nexthop objects of ours that nothing leads to any more. The kernel would remove routes with them, so it is
// done only after everything before went well.
func (f *FIB) sweep(p *plan) {
	if !f.seen.idle {
		return
	}
	var ids []uint32
	used := map[uint32]bool{}
	for id, g := range f.seen.groups {
		if g.users == 0 {
			ids = append(ids, id)
			continue
		}
		for _, m := range g.members {
			used[m] = true
		}
	}
	groups := len(ids)
	for id := range f.seen.hops {
		if !used[id] && !f.seen.others[id] {
			ids = append(ids, id)
		}
	}
	requests := make([]*rtnl.Request, len(ids))
	for i, id := range ids {
		requests[i] = rtnl.DeleteNextHop(id)
	}
	if err := f.conn.Do(requests...); err != nil {
		p.refused = append(p.refused, err)
		return
	}
	for _, id := range ids[:groups] {
		f.seen.dropGroup(id)
	}
	for _, id := range ids[groups:] {
		f.seen.dropHop(id)
	}
	f.seen.idle = false
}
