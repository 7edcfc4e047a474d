package route_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// BenchmarkFIBAndFloor adds 100,000 routes in turn through the FIB and by sends that are all but ready, to tell what the
// FIB costs beside the kernel whatever else the machine does.
func BenchmarkFIBAndFloor(b *testing.B) {
	const n = 100_000
	ctx := context.Background()
	ns, far := netnstest.New(b), netnstest.New(b)
	netnstest.Connect(b, netnstest.End{NS: ns, Name: "up0"}, netnstest.End{NS: far, Name: "up0"})
	fib := openFIB(b, ns)
	hops := []desired.NextHop{via("fe80::a", "up0")}
	want := learn(n, hops...)
	var all []netip.Prefix
	for dst := range want {
		all = append(all, dst)
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	keep := prefix("3fff:ffff::/64")
	if err := fib.Ensure(ctx, map[netip.Prefix][]desired.NextHop{keep: hops}); err != nil {
		b.Fatal(err)
	}
	c, err := rtnl.Dial(ns)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	at := func(i int) rtnl.Route {
		return rtnl.Route{Dst: all[i], Protocol: 4, Metric: 77, NextHop: 0x6879_0000}
	}
	var times [2][]float64
	for b.Loop() {
		for k, act := range []func() error{
			func() error { return fib.Ensure(ctx, want) },
			func() error { _, _, err := c.DoBulk(ctx, rtnl.AddRoutes(n, at, rtnl.IfAbsent)); return err },
		} {
			start := time.Now()
			if err := act(); err != nil {
				b.Fatal(err)
			}
			times[k] = append(times[k], time.Since(start).Seconds())
			if k == 0 {
				if err := fib.Remove(ctx, all...); err != nil {
					b.Fatal(err)
				}
			} else if _, _, err := c.DoBulk(ctx, rtnl.DeleteRoutes(n, at)); err != nil {
				b.Fatal(err)
			}
		}
	}
	for k, name := range []string{"fib", "floor"} {
		slices.Sort(times[k])
		b.ReportMetric(n/times[k][len(times[k])/2]/1e6, name+"-median-M/s")
		b.ReportMetric(n/times[k][0]/1e6, name+"-best-M/s")
	}
}
