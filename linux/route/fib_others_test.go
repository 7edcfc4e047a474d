package route_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

func TestFIBConflict(t *testing.T) {
	fib, ns, _ := newFIB(t)
	ctx := context.Background()
	mine := prefix("3fff:0:0:7::/64")
	for _, line := range []string{
		"ip -6 route add 3fff:0:0:9::/64 dev up0 proto static metric 5000",
		"ip -6 route add 3fff:0:0:8::/64 dev up0 proto static metric 2048",
		"ip -6 route add 3fff:0:0:6::/64 dev up0 proto static metric 20",
	} {
		netnstest.Run(t, ns, line)
		dst := prefix(strings.Fields(line)[4])
		before := netnstest.Run(t, ns, "ip -6 route show proto static")
		_, err := fib.Reconcile(ctx, routes{dst: {hopA}, mine: {hopA}})
		for _, err := range []error{err, fib.Ensure(ctx, routes{dst: {hopA}})} {
			var conflict *route.Conflict
			if !errors.As(err, &conflict) || conflict.Dst != dst || conflict.Protocol != 4 {
				t.Errorf("beside %q: %v", line, err)
			}
		}
		if held, err := fib.Held(); err != nil || len(held) != 1 || held[mine] == nil {
			t.Errorf("beside %q: held %v, %v; a conflict keeps others from being added, or nothing from the conflicting", line, held, err)
		}
		if err := fib.Remove(ctx, dst); err != nil {
			t.Error(err)
		}
		if after := netnstest.Run(t, ns, "ip -6 route show proto static"); after != before {
			t.Errorf("the route of another program changed:\n%s%s", before, after)
		}
	}
}

// TestFIBConflictThatCameLater adds the other program's route with the same metric after the FIB looked.
func TestFIBConflictThatCameLater(t *testing.T) {
	fib, ns, _ := newFIB(t)
	ensure(t, fib, routes{prefix("3fff:0:0:7::/64"): {hopA}})
	netnstest.Run(t, ns, "ip -6 route add 3fff:0:0:8::/64 dev up0 proto static metric 2048")
	before := netnstest.Run(t, ns, "ip -6 route show proto static")
	var conflict *route.Conflict
	if err := fib.Ensure(context.Background(), routes{prefix("3fff:0:0:8::/64"): {hopA}}); !errors.As(err, &conflict) {
		t.Errorf("Ensure: %v", err)
	}
	if after := netnstest.Run(t, ns, "ip -6 route show proto static"); after != before {
		t.Errorf("the route of another program changed:\n%s%s", before, after)
	}
}

// TestFIBComesAfterOwnRoutes offers by a neighbour what the host owns, what is configured and what is connected: those hold.
func TestFIBComesAfterOwnRoutes(t *testing.T) {
	fib, ns, _ := newFIB(t)
	table, err := route.Open(ns, route.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	netnstest.Run(t, ns, "ip -6 addr add 3fff:0:0:3::1/64 dev up0 nodad")
	netnstest.Run(t, ns, "ip -6 neigh add fe80::a dev up0 lladdr 02:00:00:00:00:0a nud permanent")
	static := []desired.Route{
		{Dst: prefix("3fff:0:0:1::/64"), Discard: true},
		{Dst: prefix("3fff:0:0:2::/64"), Via: addr("fe80::5"), Link: "up1"},
	}
	reconcile(t, table, static...)
	want := routes{}
	for i := range 5 {
		want[prefix(fmt.Sprintf("3fff:0:0:%d::/64", i))] = []desired.NextHop{hopA}
	}
	ensure(t, fib, want)
	for dst, wins := range map[string]string{
		"3fff:0:0:1::77": "unreachable",
		"3fff:0:0:2::77": "via fe80::5 dev up1",
		"3fff:0:0:3::77": "dev up0 proto kernel",
		"3fff:0:0:4::77": "via fe80::a dev up0",
	} {
		out, _ := netnstest.Try(ns, "ip -6 route get fibmatch "+dst)
		if wins == "unreachable" { // the answer is an error of the lookup itself
			if !strings.Contains(out, "No route to host") && !strings.Contains(out, "unreachable") {
				t.Errorf("route to %s: %s", dst, out)
			}
		} else if !strings.Contains(out, wins) {
			t.Errorf("route to %s: %s, want %s", dst, out, wins)
		}
	}
	// The two owners do not take each other's routes for their own, and the withdrawal of one uncovers the other.
	if delta := reconcile(t, table, static...); !delta.Empty() {
		t.Errorf("the table of configured routes changed %v", delta)
	}
	if delta, err := fib.Reconcile(context.Background(), want); err != nil || !delta.Empty() {
		t.Errorf("the FIB changed %v, %v", delta, err)
	}
	reconcile(t, table)
	if out := netnstest.Run(t, ns, "ip -6 route get fibmatch 3fff:0:0:2::77"); !strings.Contains(out, "via fe80::a dev up0") {
		t.Errorf("after the configured route is gone: %s", out)
	}
}

// TestFIBLeavesObjectsOfOthers lets another program hold nexthop objects in our range of ids and use one of ours.
func TestFIBLeavesObjectsOfOthers(t *testing.T) {
	fib, ns, _ := newFIB(t)
	netnstest.Run(t, ns, "ip nexthop add id 1752694784 via fe80::77 dev up0 proto zebra")
	netnstest.Run(t, ns, "ip nexthop add id 1752760320 group 1752694784 proto zebra")
	netnstest.Run(t, ns, "ip nexthop add id 12 via fe80::78 dev up0 proto 206")
	before := showNextHops(t, ns)
	one := prefix("3fff:0:0:1::/64")
	ensure(t, fib, routes{one: {hopA}})
	expect(t, "beside others", ns,
		"id 12 via fe80::78 dev up0 scope link proto 206\n"+
			"id 1752694784 via fe80::77 dev up0 scope link proto zebra\n"+
			"id 1752694785 via fe80::a dev up0 scope link proto 206\n"+
			"id 1752760320 group 1752694784 proto zebra\n"+
			"id 1752760321 group 1752694785 proto 206\n",
		"3fff:0:0:1::/64 nhid 1752760321 metric 2048\n"+byA)
	for _, use := range []struct{ add, remove string }{
		{"ip -6 route add 3fff:0:0:5::/64 nhid 1752760321 proto static", "ip -6 route del 3fff:0:0:5::/64"},
		{"ip -6 route add 3fff:0:0:5::/64 nhid 1752694785 proto static", "ip -6 route del 3fff:0:0:5::/64"},
		{"ip nexthop add id 13 group 1752694785 proto zebra", "ip nexthop del id 13"},
	} {
		netnstest.Run(t, ns, use.add)
		used := others(t, ns)
		if _, err := fib.Reconcile(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		if after := others(t, ns); after != used {
			t.Errorf("%s: what another program uses of ours was taken away:\n%s\n%s", use.add, used, after)
		}
		netnstest.Run(t, ns, use.remove)
		ensure(t, fib, routes{one: {hopA}})
	}
	if _, err := fib.Reconcile(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if after := showNextHops(t, ns); after != before {
		t.Errorf("objects of others changed:\n%s\n%s", before, after)
	}
}

// others is the routes and nexthop objects of other programs.
func others(t *testing.T, ns *netns.NS) string {
	t.Helper()
	return netnstest.Run(t, ns, "ip -6 route show proto static") + netnstest.Run(t, ns, "ip nexthop show proto 11")
}

// TestFIBResyncOf100000 has another program's 1,000 routes in between; they are the same to the byte afterwards.
func TestFIBResyncOf100000(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	fib, ns, _ := newFIB(t)
	ctx := context.Background()
	foreign(t, ns, 1000)
	before := netnstest.Run(t, ns, "ip -6 route show proto static")
	if strings.Count(before, "\n") != 1000 {
		t.Fatalf("the other program has %d routes", strings.Count(before, "\n"))
	}
	want := learn(n, hopA, hopB)
	if delta, err := fib.Reconcile(ctx, want); err != nil || len(delta.Add) != n {
		t.Fatalf("%d added, %v", len(delta.Add), err)
	}
	if have := strings.Count(netnstest.Run(t, ns, "ip -o -6 route show proto 206"), "\n"); have != n {
		t.Errorf("the kernel has %d routes, want %d", have, n)
	}
	again := openFIB(t, ns)
	if delta, err := again.Reconcile(ctx, want); err != nil || !delta.Empty() {
		t.Errorf("the resync changed %d, %v", len(delta.Add)+len(delta.Change)+len(delta.Remove), err)
	}
	half := learn(n/2, hopA, hopB)
	if delta, err := again.Reconcile(ctx, half); err != nil || len(delta.Remove) != n-n/2 || len(delta.Add)+len(delta.Change) != 0 {
		t.Errorf("half is stale: %d removed, %d added, %d changed, %v", len(delta.Remove), len(delta.Add), len(delta.Change), err)
	}
	if delta, err := again.Reconcile(ctx, nil); err != nil || len(delta.Remove) != n/2 {
		t.Errorf("%d removed, %v", len(delta.Remove), err)
	}
	if after := netnstest.Run(t, ns, "ip -6 route show proto static"); after != before {
		t.Error("the routes of the other program changed")
	}
	expect(t, "after all", ns, "", "")
}

// foreign adds n routes as another program.
func foreign(t *testing.T, ns *netns.NS, n int) {
	t.Helper()
	c, err := rtnl.Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, _, err := c.Link("up0")
	if err != nil {
		t.Fatal(err)
	}
	_, refused, err := c.DoBulk(context.Background(), rtnl.AddRoutes(n, func(i int) rtnl.Route {
		a := nthPrefix(i).Addr().As16()
		a[8] = 0x80 // between ours, longer
		return rtnl.Route{Dst: netip.PrefixFrom(netip.AddrFrom16(a), 65), Via: addr("fe80::99"), Index: l.Index, Protocol: 4, Metric: uint32(1 + i)}
	}, rtnl.IfAbsent))
	if err != nil || len(refused) > 0 {
		t.Fatalf("%v, %v", err, refused)
	}
}
