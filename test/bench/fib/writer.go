package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/route"
	"hexapod.dev/model/desired"
	"hexapod.dev/test/paired"
)

// firstGroup is the id of the group that the first route of a FIB makes.
const firstGroup = 0x6879_0000

// writing is one way to put the routes into the kernel and to take them away again.
type writing struct {
	name     string
	add, del func(context.Context) error
}

// writer measures adding routes to an empty table.
func (b *bed) writer(ctx context.Context, r *report) error {
	ways, err := b.ways()
	if err != nil {
		return err
	}
	for pair := range b.o.pairs + 1 {
		for _, k := range paired.Turns(len(ways), pair) {
			w := ways[k]
			wall, cpu, err := timed(func() error { return w.add(ctx) })
			if err == nil {
				err = w.del(ctx)
			}
			if err != nil {
				return fmt.Errorf("writer %s: %w", w.name, err)
			}
			if pair > 0 { // the first warms up
				r.Rounds = append(r.Rounds, round{"writer", w.name, pair, b.o.routes, wall, cpu})
			}
		}
		progress("writer", pair, b.o.pairs)
	}
	return nil
}

// ways opens each way in a namespace of its own.
func (b *bed) ways() ([]writing, error) {
	hexapod, err := b.throughFIB()
	if err != nil {
		return nil, err
	}
	all := []writing{hexapod}
	for _, f := range floors {
		w, err := b.allReady(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		all = append(all, w)
	}
	ip, err := b.ipBatch()
	return append(all, ip), err
}

func (b *bed) openFIB(ns *netns.NS) (*route.FIB, error) {
	fib, err := route.OpenFIB(ns, route.Protocol)
	if err == nil {
		b.undo = append(b.undo, fib.Close)
	}
	return fib, err
}

func (b *bed) throughFIB() (writing, error) {
	ns, _, err := b.uplink()
	if err != nil {
		return writing{}, err
	}
	fib, err := b.openFIB(ns)
	if err != nil {
		return writing{}, err
	}
	want := table(b.o.routes, hop)
	all := make([]netip.Prefix, b.o.routes)
	for i := range all {
		all[i] = nth(i)
	}
	return writing{"hexapod",
		func(ctx context.Context) error { return fib.Ensure(ctx, want) },
		func(ctx context.Context) error { return fib.Remove(ctx, all...) }}, nil
}

// withGroup is a namespace with a group of next hops: a route that is kept made it.
func (b *bed) withGroup() (*netns.NS, error) {
	ns, _, err := b.uplink()
	if err != nil {
		return nil, err
	}
	fib, err := b.openFIB(ns)
	if err != nil {
		return nil, err
	}
	keep := netip.MustParsePrefix("3fff:ffff::/64")
	return ns, fib.Ensure(context.Background(), map[netip.Prefix][]desired.NextHop{keep: {hop}})
}

func (b *bed) ipBatch() (writing, error) {
	ns, err := b.withGroup()
	if err != nil {
		return writing{}, err
	}
	run := func(verb, tail string) (func(context.Context) error, error) {
		path := filepath.Join(b.folder, verb)
		err := lines(path, b.o.routes, func(i int) string { return fmt.Sprintf("route %s %s%s\n", verb, nth(i), tail) })
		return func(context.Context) error { return inside(ns, "ip -6 -batch "+path) }, err
	}
	add, err := run("add", fmt.Sprintf(" nhid %d metric %d", firstGroup, route.LearnedMetric))
	if err != nil {
		return writing{}, err
	}
	del, err := run("del", fmt.Sprintf(" metric %d", route.LearnedMetric))
	return writing{"iproute2", add, del}, err
}

// lines writes a file of n lines.
func lines(path string, n int, line func(i int) string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for i := range n {
		fmt.Fprint(w, line(i))
	}
	return errors.Join(w.Flush(), f.Close())
}

// timed returns how many seconds f took by the clock, and how many of processors in this process and in those it started
// and waited for.
func timed(f func() error) (wall, cpu float64, err error) {
	before, start := spent(), time.Now()
	err = f()
	return time.Since(start).Seconds(), spent() - before, err
}

func spent() (seconds float64) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			seconds += time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
		}
	}
	return seconds
}

func progress(what string, done, of int) {
	fmt.Fprintf(os.Stderr, "\rbench fib: %s, round %d of %d ", what, done, of)
	if done == of {
		fmt.Fprintln(os.Stderr)
	}
}
