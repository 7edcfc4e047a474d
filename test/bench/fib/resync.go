package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// resync measures Reconcile of a whole table beside as many routes of another program, which must be the same afterwards.
func (b *bed) resync(ctx context.Context, r *report) error {
	ns, err := b.withGroup() // with a group of ours that the others do not use
	if err != nil {
		return err
	}
	fib, err := b.openFIB(ns)
	if err != nil {
		return err
	}
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return err
	}
	b.undo = append(b.undo, conn.Close)
	up, _, err := conn.Link(hop.Link)
	if err != nil {
		return err
	}
	other := func(i int) rtnl.Route { // between ours
		p := nth(i).Addr().As16()
		p[8] = 0x80
		return rtnl.Route{Dst: netip.PrefixFrom(netip.AddrFrom16(p), 65), Protocol: unix.RTPROT_STATIC, Index: up.Index}
	}
	if _, refused, err := conn.DoBulk(ctx, rtnl.AddRoutes(b.o.routes, other, rtnl.IfAbsent)); err != nil || len(refused) > 0 {
		return fmt.Errorf("make routes of others: %d refused: %w", len(refused), err)
	}
	before, err := others(ns)
	if err != nil {
		return err
	}
	want, nothing := table(b.o.routes, hop), map[netip.Prefix][]desired.NextHop{}
	for pair := range b.o.pairs + 1 {
		for _, step := range []struct {
			name string
			want map[netip.Prefix][]desired.NextHop
		}{{"all missing", want}, {"as wanted", want}, {"all to go", nothing}} {
			changed := 0
			wall, cpu, err := timed(func() error {
				delta, err := fib.Reconcile(ctx, step.want)
				changed = len(delta.Add) + len(delta.Remove)
				return err
			})
			if err != nil {
				return fmt.Errorf("resync, %s: %w", step.name, err)
			}
			if pair > 0 && changed != map[string]int{"all missing": b.o.routes, "all to go": b.o.routes}[step.name] {
				return fmt.Errorf("resync, %s: %d routes were changed", step.name, changed)
			}
			if pair > 0 {
				r.Rounds = append(r.Rounds, round{"resync", step.name, pair, b.o.routes, wall, cpu})
			}
		}
		progress("resync", pair, b.o.pairs)
	}
	after, err := others(ns)
	if err == nil && !slices.Equal(before, after) {
		err = fmt.Errorf("resync: %d routes of others were there before, %d after, or not the same", len(before), len(after))
	}
	r.Others = len(after)
	return err
}

// others is what other programs have in the main table.
func others(ns *netns.NS) ([]string, error) {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	list, err := conn.Routes(unix.RT_TABLE_MAIN, unix.RTPROT_STATIC)
	found := map[string]bool{}
	for _, r := range list {
		if r.Protocol == unix.RTPROT_STATIC {
			found[fmt.Sprintf("%s metric %d", r, r.Metric)] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), err
}
