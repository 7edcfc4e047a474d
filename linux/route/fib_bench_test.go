package route_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/route"
	"hexapod.dev/model/desired"
)

// nthPrefix is a /64 of its own for each i below 2^24.
func nthPrefix(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x3f, 0xff, 0, 0, 1, byte(i >> 16), byte(i >> 8), byte(i)}), 64)
}

// learn makes n destinations, all by the same next hops.
func learn(n int, hops ...desired.NextHop) map[netip.Prefix][]desired.NextHop {
	want := make(map[netip.Prefix][]desired.NextHop, n)
	for i := range n {
		want[nthPrefix(i)] = hops
	}
	return want
}

func perSecond(b *testing.B, n int) {
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "routes/s")
}

// BenchmarkFIB measures the writer with an empty table beside it: adding, removing, a resync that finds everything as
// wanted, one that finds nothing, and a change that all routes have in common.
func BenchmarkFIB(b *testing.B) {
	ctx := context.Background()
	for _, n := range []int{10_000, 100_000} {
		one, two := learn(n, via("fe80::a", "up0")), learn(n, via("fe80::a", "up0"), via("fe80::b", "up1"))
		all := make([]netip.Prefix, 0, n)
		for dst := range one {
			all = append(all, dst)
		}
		act := func(name string, before, timed func(*route.FIB) error) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				fib := benchFIB(b)
				for b.Loop() {
					b.StopTimer()
					if err := before(fib); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					if err := timed(fib); err != nil {
						b.Fatal(err)
					}
				}
				perSecond(b, n)
			})
		}
		reconcile := func(want map[netip.Prefix][]desired.NextHop) func(*route.FIB) error {
			return func(fib *route.FIB) error {
				_, err := fib.Reconcile(ctx, want)
				return err
			}
		}
		act("add", reconcile(nil), func(fib *route.FIB) error { return fib.Ensure(ctx, one) })
		act("add over two links", reconcile(nil), func(fib *route.FIB) error { return fib.Ensure(ctx, two) })
		act("delete", reconcile(two), func(fib *route.FIB) error { return fib.Remove(ctx, all...) })
		act("resync, nothing to do", reconcile(two), reconcile(two))
		act("resync, all to do", reconcile(nil), reconcile(two))
		act("resync, all gone", reconcile(two), reconcile(nil))
		act("a next hop more for all", reconcile(one), func(fib *route.FIB) error { return fib.Ensure(ctx, two) })
		act("a next hop down", reconcile(two), func(fib *route.FIB) error { return fib.Down(ctx, via("fe80::b", "up1")) })
	}
}

func benchFIB(b *testing.B) *route.FIB {
	b.Helper()
	ns := netnstest.New(b)
	far := netnstest.New(b)
	for _, name := range []string{"up0", "up1"} {
		netnstest.Connect(b, netnstest.End{NS: ns, Name: name}, netnstest.End{NS: far, Name: name})
	}
	return openFIB(b, ns)
}

func openFIB(t testing.TB, ns *netns.NS) *route.FIB {
	t.Helper()
	fib, err := route.OpenFIB(ns, route.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fib.Close() })
	return fib
}

func via(a, link string) desired.NextHop { return desired.NextHop{Via: addr(a), Link: link} }
