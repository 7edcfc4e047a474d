package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// plan is what has to be done, and after apply what was.
type plan struct {
	change  []step // routes that are there, but lead elsewhere
	add     []step
	remove  []step
	moved   []step    // routes that changed with their group
	groups  []*target // what the steps lead to
	errs    []error
	refused []error // what the kernel did not take
}

// step gives one route its next hops.
type step struct {
	dst dest
	to  *target
}

// target is a set of next hops that some of the wanted routes share.
type target struct {
	hops    []desired.NextHop
	members []uint32 // the nexthop objects of those that can be had, ascending
	key     string
	needed  bool // there are steps that lead to it
	group   uint32
	routes  int // that want it
	first   netip.Prefix
	err     error
}

// plan compares want with what was seen. whole says that want is everything, so that all else goes.
func (f *FIB) plan(want map[netip.Prefix][]desired.NextHop, whole bool) *plan {
	p := &plan{}
	steps := p.gather(want, f.seen)
	f.makeHops(p)
	p.add = make([]step, 0, max(0, len(steps)-len(f.seen.routes)))
	found := 0
	for _, s := range steps {
		id, have := f.seen.routes[s.dst]
		if have {
			found++
		}
		switch {
		case s.to.err != nil && have:
			p.remove = append(p.remove, s)
		case s.to.err != nil:
		case !have:
			p.add = append(p.add, s)
		case id == 0 || f.seen.groups[id].key != s.to.key:
			p.change = append(p.change, s)
		}
	}
	if whole && found < len(f.seen.routes) { // else each that is there was asked for
		for dst := range f.seen.routes {
			if _, ok := want[dst.prefix()]; !ok {
				p.remove = append(p.remove, step{dst: dst})
			}
		}
	}
	return p
}

// gather sorts wanted routes by their sets of next hops. What cannot be had whatever the kernel says is left out.
func (p *plan) gather(want map[netip.Prefix][]desired.NextHop, s *seen) []step {
	steps := make([]step, 0, len(want))
	sets := setsOf{bySlice: map[sliceKey]*target{}, numbers: map[desired.NextHop]uint32{}, byKey: map[string]*target{}}
	conflicts := 0
	for dst, hops := range want {
		t, err := sets.of(hops)
		d, ok := destOf(dst)
		if !ok {
			err = fmt.Errorf("route %s: not an IPv6 prefix", dst)
		} else if err != nil {
			err = fmt.Errorf("route %s: %w", dst, err)
		} else if other, ok := s.foreign[d]; ok {
			err = &Conflict{Dst: dst, Protocol: other}
		}
		if err != nil {
			if conflicts++; conflicts <= maxTold {
				p.errs = append(p.errs, err)
			}
			continue
		}
		if t.routes++; t.routes == 1 {
			t.first = dst
		}
		steps = append(steps, step{d, t})
	}
	if conflicts > maxTold {
		p.errs = append(p.errs, fmt.Errorf("%d more routes cannot be had either", conflicts-maxTold))
	}
	p.groups = sets.all
	return steps
}

// maxTold is how many errors of one kind are told one by one.
const maxTold = 20

// setsOf finds equal sets of next hops.
type setsOf struct {
	bySlice map[sliceKey]*target
	numbers map[desired.NextHop]uint32
	byKey   map[string]*target
	all     []*target
	last    struct {
		key    sliceKey
		target *target
	}
}

// sliceKey is a slice itself, not what it holds: most routes of one router share theirs.
type sliceKey struct {
	first *desired.NextHop
	len   int
}

func (s *setsOf) of(hops []desired.NextHop) (*target, error) {
	if len(hops) == 0 {
		return nil, errors.New("no next hop")
	}
	same := sliceKey{&hops[0], len(hops)}
	if same == s.last.key {
		return s.last.target, nil
	}
	if t := s.bySlice[same]; t != nil {
		s.last.key, s.last.target = same, t
		return t, nil
	}
	numbers := make([]uint32, 0, 8)
	for _, h := range hops {
		if !h.Via.Is6() || h.Via.Is4In6() || h.Via.Zone() != "" || h.Link == "" {
			return nil, fmt.Errorf("next hop %s: not an IPv6 address without zone, and a link", h)
		}
		n, ok := s.numbers[h]
		if !ok {
			n = uint32(len(s.numbers))
			s.numbers[h] = n
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	if len(numbers) > MaxNextHops {
		return nil, fmt.Errorf("%d next hops, at most %d are possible", len(numbers), MaxNextHops)
	}
	key := keyOf(numbers)
	t := s.byKey[key]
	if t == nil {
		t = &target{hops: hops}
		s.byKey[key] = t
		s.all = append(s.all, t)
	}
	s.bySlice[same] = t
	return t, nil
}

// delta is what was done, by destination.
func (p *plan) delta() diff.Delta[string] {
	return diff.Delta[string]{Add: names(p.add), Change: names(p.moved, p.change), Remove: names(p.remove)}
}

// names is the destinations of steps, sorted.
func names(lists ...[]step) []string {
	var out []string
	for _, s := range slices.Concat(lists...) {
		out = append(out, s.dst.String())
	}
	slices.Sort(out)
	return out
}

// err joins what could not be done. Refusals of one kind that go on and on are counted only.
func (p *plan) err(ctx context.Context) error {
	errs := p.errs
	for _, t := range p.groups {
		if t.err != nil {
			errs = append(errs, fmt.Errorf("route %s and %d more: %w", t.first, t.routes-1, t.err))
		}
	}
	told := p.refused
	if n := len(told); n > maxTold {
		told = append(slices.Clip(told[:maxTold]), fmt.Errorf("%d more were refused", n-maxTold))
	}
	return errors.Join(append(append(errs, told...), ctx.Err())...)
}
