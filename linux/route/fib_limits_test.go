package route_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// TestFIBBatchLimits goes one past every number of routes that is passed to the kernel at once.
func TestFIBBatchLimits(t *testing.T) {
	fib, ns, _ := newFIB(t)
	ctx := context.Background()
	for _, n := range []int{0, 1, rtnl.BulkBatch - 1, rtnl.BulkBatch, rtnl.BulkBatch + 1, 3*rtnl.BulkBatch + 1} {
		want := learn(n, hopA)
		ensure(t, fib, want)
		if have := strings.Count(netnstest.Run(t, ns, "ip -o -6 route show proto 206"), "\n"); have != n {
			t.Errorf("the kernel has %d routes, want %d", have, n)
		}
		if delta, err := fib.Reconcile(ctx, learn(n, hopB)); err != nil || len(delta.Change) != n {
			t.Errorf("%d of %d changed, %v", len(delta.Change), n, err)
		}
		if delta, err := fib.Reconcile(ctx, nil); err != nil || len(delta.Remove) != n {
			t.Errorf("%d of %d removed, %v", len(delta.Remove), n, err)
		}
	}
}

// TestFIBAllRefused makes every route of a send be refused, so that as many answers come as can.
func TestFIBAllRefused(t *testing.T) {
	fib, ns, _ := newFIB(t)
	ctx := context.Background()
	n := 2*rtnl.BulkBatch + 1
	c, err := rtnl.Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ensure(t, fib, routes{prefix("3fff:1::/64"): {hopA}})
	at := func(i int) rtnl.Route {
		return rtnl.Route{Dst: nthPrefix(i), Type: unix.RTN_UNREACHABLE, Protocol: 4, Metric: route.LearnedMetric}
	}
	if _, refused, err := c.DoBulk(ctx, rtnl.AddRoutes(n, at, rtnl.IfAbsent)); err != nil || len(refused) > 0 {
		t.Fatal(err, refused)
	}
	done, refused, err := c.DoBulk(ctx, rtnl.AddRoutes(n, at, rtnl.IfAbsent))
	if err != nil || done != n || len(refused) != n || !errors.Is(refused[n-1], unix.EEXIST) || !strings.Contains(refused[n-1].Error(), "add route "+nthPrefix(n-1).String()) {
		t.Errorf("%d done, %d refused, last %v, %v", done, len(refused), refused[n-1], err)
	}
	err = fib.Ensure(ctx, learn(n, hopA))
	var conflict *route.Conflict
	if !errors.As(err, &conflict) || len(strings.Split(err.Error(), "\n")) > 30 {
		t.Errorf("Ensure of nothing but conflicts: %v", err)
	}
}

// TestFIBGroupSizes goes one past the number of next hops that a route may have.
func TestFIBGroupSizes(t *testing.T) {
	fib, ns, _ := newFIB(t)
	ctx := context.Background()
	hops := make([]desired.NextHop, route.MaxNextHops+1)
	for i := range hops {
		hops[i] = desired.NextHop{Via: addr(fmt.Sprintf("fe80::1:%x", i)), Link: fmt.Sprintf("up%d", i%2)}
	}
	dst := prefix("3fff:0:0:1::/64")
	for _, n := range []int{1, 2, route.MaxNextHops - 1, route.MaxNextHops} {
		ensure(t, fib, routes{dst: hops[:n]})
		if have := strings.Count(netnstest.Run(t, ns, "ip -6 route show proto 206"), "nexthop"); have != n {
			t.Errorf("the route has %d next hops, want %d", have, n)
		}
		if delta, err := fib.Reconcile(ctx, routes{dst: hops[:n]}); err != nil || !delta.Empty() {
			t.Errorf("%d next hops: %v, %v", n, delta, err)
		}
	}
	if err := fib.Ensure(ctx, routes{dst: hops}); err == nil || !strings.Contains(err.Error(), "route 3fff:0:0:1::/64: 129 next hops, at most 128 are possible") {
		t.Errorf("one more than the limit: %v", err)
	}
	if held, err := fib.Held(); err != nil || len(held[dst]) != route.MaxNextHops {
		t.Errorf("after the refusal %d next hops, %v", len(held[dst]), err)
	}
}

// TestFIBManyGroups has as many sets of next hops as fit into several sends.
func TestFIBManyGroups(t *testing.T) {
	fib, ns, _ := newFIB(t)
	const n = 3*rtnl.MaxBatch + 1
	want := routes{}
	for i := range n {
		want[nthPrefix(i)] = []desired.NextHop{{Via: addr(fmt.Sprintf("fe80::1:%x", i)), Link: "up0"}, hopB}
	}
	ensure(t, fib, want)
	if have := strings.Count(showNextHops(t, ns), "\n"); have != 2*n+1 {
		t.Errorf("%d nexthop objects, want %d", have, 2*n+1)
	}
	if delta, err := fib.Reconcile(context.Background(), want); err != nil || !delta.Empty() {
		t.Errorf("the second reconcile changed %v, %v", delta, err)
	}
	if _, err := fib.Reconcile(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	expect(t, "after all", ns, "", "")
}

func TestFIBErrorsNameTheRoute(t *testing.T) {
	fib, ns, _ := newFIB(t)
	netnstest.Run(t, ns, "ip link set up1 down")
	ctx := context.Background()
	dst, good := prefix("3fff:1::/64"), prefix("3fff:2::/64")
	for _, tc := range []struct {
		dst  netip.Prefix
		hops []desired.NextHop
		want string
	}{
		{dst, nil, "route 3fff:1::/64: no next hop"},
		{prefix("3fff:1::1/64"), []desired.NextHop{hopA}, "route 3fff:1::1/64: not an IPv6 prefix"},
		{prefix("192.0.2.0/24"), []desired.NextHop{hopA}, "route 192.0.2.0/24: not an IPv6 prefix"},
		{netip.Prefix{}, []desired.NextHop{hopA}, "not an IPv6 prefix"},
		{dst, []desired.NextHop{via("fe80::a", "nothere")}, "next hop fe80::a dev nothere: link nothere does not exist"},
		{dst, []desired.NextHop{via("fe80::a", "nothere")}, "route 3fff:1::/64 and 0 more: none of its next hops can be used"},
		{dst, []desired.NextHop{hopB}, "next hop fe80::b dev up1: "},
		{dst, []desired.NextHop{via("fe80::a%up0", "up0")}, "next hop fe80::a%up0 dev up0: not an IPv6 address without zone"},
		{dst, []desired.NextHop{via("192.0.2.1", "up0")}, "not an IPv6 address"},
		{dst, []desired.NextHop{{Via: addr("fe80::a")}}, "and a link"},
	} {
		want := routes{tc.dst: tc.hops, good: {hopA}}
		if err := fib.Ensure(ctx, want); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Ensure %s by %v: %v, want %q in it", tc.dst, tc.hops, err, tc.want)
		}
		if _, err := fib.Reconcile(ctx, want); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Reconcile %s by %v: %v, want %q in it", tc.dst, tc.hops, err, tc.want)
		}
		if held, err := fib.Held(); err != nil || len(held) != 1 || held[good] == nil {
			t.Errorf("beside %s by %v: held %v, %v", tc.dst, tc.hops, held, err)
		}
		if _, err := fib.Reconcile(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFIBOneHopOfTwo leaves out the next hop that cannot be had, says so, and takes it in when it can.
func TestFIBOneHopOfTwo(t *testing.T) {
	fib, ns, _ := newFIB(t)
	netnstest.Run(t, ns, "ip link set up1 down")
	ctx := context.Background()
	dst := prefix("3fff:1::/64")
	want := routes{dst: {hopA, hopB}}
	if err := fib.Ensure(ctx, want); err == nil || !strings.Contains(err.Error(), "next hop fe80::b dev up1: ") {
		t.Errorf("Ensure over a link that is down: %v", err)
	}
	expect(t, "one is down", ns, objectA+group0+"1752694784 proto 206\n", "3fff:1::/64 nhid 1752760320 metric 2048\n"+byA)
	netnstest.Run(t, ns, "ip link set up1 up")
	if delta, err := fib.Reconcile(ctx, want); err != nil || len(delta.Change) != 1 {
		t.Errorf("link up again: %v, %v", delta, err)
	}
	expect(t, "both are up", ns, objectA+objectB+group0+"1752694784/1752694785 proto 206\n", "3fff:1::/64 nhid 1752760320 metric 2048\n"+byA+byB)
}

func TestFIBEndedContext(t *testing.T) {
	fib, ns, _ := newFIB(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := fib.Reconcile(ctx, learn(3, hopA))
	for _, err := range []error{err, fib.Ensure(ctx, learn(3, hopA)), fib.Remove(ctx, nthPrefix(1)), fib.Down(ctx, hopA)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
	}
	expect(t, "after the end of the context", ns, "", "")
}
