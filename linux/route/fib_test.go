package route_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/route"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// routes is what a FIB is asked for.
type routes = map[netip.Prefix][]desired.NextHop

// newFIB is a namespace with two uplinks and its learned routes. far holds the other ends.
func newFIB(t *testing.T) (fib *route.FIB, ns, far *netns.NS) {
	t.Helper()
	ns, far = netnstest.New(t), netnstest.New(t)
	netnstest.Run(t, ns, "ip link set lo up")
	for i, name := range []string{"up0", "up1"} {
		netnstest.Connect(t,
			netnstest.End{NS: ns, Name: name, Quiet: true, Addrs: []netip.Prefix{netip.PrefixFrom(addr(fmt.Sprintf("fe80::%d", i+1)), 64)}},
			netnstest.End{NS: far, Name: name, Quiet: true})
	}
	return openFIB(t, ns), ns, far
}

// showNextHops is `ip nexthop`.
func showNextHops(t *testing.T, ns *netns.NS) string {
	t.Helper()
	return trimmed(netnstest.Run(t, ns, "ip nexthop show"))
}

// showLearned is `ip -6 route` of our protocol, learned or not.
func showLearned(t *testing.T, ns *netns.NS) string {
	t.Helper()
	return strings.ReplaceAll(trimmed(netnstest.Run(t, ns, "ip -6 route show proto 206")), " pref medium", "")
}

// expect compares what the kernel shows with what an operator would see.
func expect(t *testing.T, name string, ns *netns.NS, hops, learned string) {
	t.Helper()
	if d := cmp.Diff(hops, showNextHops(t, ns)); d != "" {
		t.Errorf("%s: ip nexthop (-want +have):\n%s", name, d)
	}
	if d := cmp.Diff(learned, showLearned(t, ns)); d != "" {
		t.Errorf("%s: ip -6 route (-want +have):\n%s", name, d)
	}
}

func trimmed(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// The nexthop objects that tests see: those of up0 and up1, and the first two groups.
const (
	objectA = "id 1752694784 via fe80::a dev up0 scope link proto 206\n"
	objectB = "id 1752694785 via fe80::b dev up1 scope link proto 206\n"
	group0  = "id 1752760320 group "
	group1  = "id 1752760321 group "
)

// How `ip -6 route` shows the two.
const (
	byA = "\tnexthop via fe80::a dev up0 weight 1\n"
	byB = "\tnexthop via fe80::b dev up1 weight 1\n"
)

var (
	hopA = desired.NextHop{Via: netip.MustParseAddr("fe80::a"), Link: "up0"}
	hopB = desired.NextHop{Via: netip.MustParseAddr("fe80::b"), Link: "up1"}
)

func TestFIBReconcile(t *testing.T) {
	fib, ns, _ := newFIB(t)
	one, two := prefix("3fff:0:0:1::/64"), prefix("3fff:0:0:2::/64")
	for _, step := range []struct {
		name   string
		want   routes
		delta  diff.Delta[string]
		hops   string
		routes string
	}{
		{"first, two of three with the same next hops", routes{one: {hopA}, two: {hopB, hopA}, prefix("::/0"): {hopA, hopB, hopA}},
			diff.Delta[string]{Add: []string{"3fff:0:0:1::/64", "3fff:0:0:2::/64", "::/0"}},
			objectA + objectB + group0 + "1752694784 proto 206\n" + group1 + "1752694784/1752694785 proto 206\n",
			"3fff:0:0:1::/64 nhid 1752760320 metric 2048\n" + byA +
				"3fff:0:0:2::/64 nhid 1752760321 metric 2048\n" + byA + byB +
				"default nhid 1752760321 metric 2048\n" + byA + byB},
		{"routes go, one moves to a group that is there", routes{one: {hopA, hopB}, prefix("::/0"): {hopA, hopB}},
			diff.Delta[string]{Change: []string{"3fff:0:0:1::/64"}, Remove: []string{"3fff:0:0:2::/64"}},
			objectA + objectB + group1 + "1752694784/1752694785 proto 206\n",
			"3fff:0:0:1::/64 nhid 1752760321 metric 2048\n" + byA + byB +
				"default nhid 1752760321 metric 2048\n" + byA + byB},
		{"all of a group change, so the group does", routes{one: {hopB}, prefix("::/0"): {hopB}},
			diff.Delta[string]{Change: []string{"3fff:0:0:1::/64", "::/0"}},
			objectB + group1 + "1752694785 proto 206\n",
			"3fff:0:0:1::/64 nhid 1752760321 metric 2048\n" + byB + "default nhid 1752760321 metric 2048\n" + byB},
		{"a group is left by some", routes{one: {hopA}, prefix("::/0"): {hopB}},
			diff.Delta[string]{Change: []string{"3fff:0:0:1::/64"}},
			objectA + objectB + group0 + "1752694784 proto 206\n" + group1 + "1752694785 proto 206\n",
			"3fff:0:0:1::/64 nhid 1752760320 metric 2048\n" + byA + "default nhid 1752760321 metric 2048\n" + byB},
		{"nothing", nil, diff.Delta[string]{Remove: []string{"3fff:0:0:1::/64", "::/0"}}, "", ""},
	} {
		delta, err := fib.Reconcile(context.Background(), step.want)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if d := cmp.Diff(step.delta, delta); d != "" {
			t.Errorf("%s: delta (-want +have):\n%s", step.name, d)
		}
		expect(t, step.name, ns, step.hops, step.routes)
		if delta, err := fib.Reconcile(context.Background(), step.want); err != nil || !delta.Empty() {
			t.Errorf("%s: the second reconcile changed %v, %v", step.name, delta, err)
		}
	}
}

func ensure(t *testing.T, fib *route.FIB, want routes) {
	t.Helper()
	if err := fib.Ensure(context.Background(), want); err != nil {
		t.Fatal(err)
	}
}

func TestFIBEnsureAndRemove(t *testing.T) {
	fib, ns, _ := newFIB(t)
	ctx := context.Background()
	one, two, three := prefix("3fff:0:0:1::/64"), prefix("3fff:0:0:2::/64"), prefix("3fff:0:0:3::/128")
	for range 2 {
		ensure(t, fib, routes{one: {hopA}, two: {hopA}})
		ensure(t, fib, routes{three: {hopB}})
		expect(t, "three routes", ns, objectA+objectB+group0+"1752694784 proto 206\n"+group1+"1752694785 proto 206\n",
			"3fff:0:0:1::/64 nhid 1752760320 metric 2048\n"+byA+"3fff:0:0:2::/64 nhid 1752760320 metric 2048\n"+byA+
				"3fff:0:0:3:: nhid 1752760321 metric 2048\n"+byB)
	}
	for range 2 {
		if err := fib.Remove(ctx, one, three, prefix("3fff:0:0:9::/64")); err != nil {
			t.Fatal(err)
		}
		expect(t, "one route is left, and what it needs", ns, objectA+group0+"1752694784 proto 206\n",
			"3fff:0:0:2::/64 nhid 1752760320 metric 2048\n"+byA)
	}
	held, err := fib.Held()
	if d := cmp.Diff(routes{two: {hopA}}, held, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || d != "" {
		t.Errorf("Held: %v (-want +have):\n%s", err, d)
	}
}

// TestFIBIsFoundAgain opens the FIB a second time, as after a restart: the kernel is all that remembers.
func TestFIBIsFoundAgain(t *testing.T) {
	fib, ns, _ := newFIB(t)
	one, two := prefix("3fff:0:0:1::/64"), prefix("3fff:0:0:2::/64")
	want := routes{one: {hopA, hopB}, two: {hopB}}
	ensure(t, fib, want)
	hops, learned := showNextHops(t, ns), showLearned(t, ns)
	if err := fib.Close(); err != nil {
		t.Fatal(err)
	}
	again := openFIB(t, ns)
	ensure(t, again, want)
	if delta, err := again.Reconcile(context.Background(), want); err != nil || !delta.Empty() {
		t.Errorf("after a restart %v was changed, %v", delta, err)
	}
	expect(t, "after a restart", ns, hops, learned)
	delta, err := again.Reconcile(context.Background(), routes{one: {hopA, hopB}})
	if d := cmp.Diff(diff.Delta[string]{Remove: []string{two.String()}}, delta); err != nil || d != "" {
		t.Errorf("half of the routes gone: %v (-want +have):\n%s", err, d)
	}
}

// TestFIBRepairs disturbs what the FIB made; a Reconcile brings it back and removes what is marked as ours and is not.
func TestFIBRepairs(t *testing.T) {
	one, two := prefix("3fff:0:0:1::/64"), prefix("3fff:0:0:2::/64")
	want := routes{one: {hopA, hopB}, two: {hopB}}
	for _, disturb := range []string{
		"ip -6 route del 3fff:0:0:1::/64 proto 206",
		"ip nexthop del id 1752694784",
		"ip nexthop del id 1752694785",
		"ip nexthop flush",
		"ip nexthop replace id 1752760320 group 1752694784,3/1752694785,1 proto 206",
		"ip nexthop replace id 1752694784 via fe80::c dev up0 proto 206",
		"ip nexthop add id 1752760333 group 1752694784 proto 206",
		"ip -6 route add 3fff:0:0:7::/64 via fe80::c dev up0 proto 206 metric 2048",
		"ip -6 route replace 3fff:0:0:1::/64 via fe80::c dev up0 proto 206 metric 2048",
		"ip link set up1 down",
		"ip link del up1",
	} {
		fib, ns, far := newFIB(t)
		ensure(t, fib, want)
		netnstest.Run(t, ns, disturb)
		switch {
		case strings.HasSuffix(disturb, "down"):
			netnstest.Run(t, ns, "ip link set up1 up")
		case strings.Contains(disturb, "link del"):
			netnstest.Connect(t, netnstest.End{NS: ns, Name: "up1"}, netnstest.End{NS: far, Name: "up1"})
		}
		if _, err := fib.Reconcile(context.Background(), want); err != nil {
			t.Errorf("%s: %v", disturb, err)
		}
		held, err := fib.Held()
		if err != nil || len(held) != 2 || len(held[one]) != 2 || len(held[two]) != 1 || held[two][0] != hopB {
			t.Errorf("%s: not repaired: %v, %v\n%s", disturb, held, err, showNextHops(t, ns))
		}
		if delta, err := fib.Reconcile(context.Background(), want); err != nil || !delta.Empty() {
			t.Errorf("%s: the second reconcile changed %v, %v", disturb, delta, err)
		}
		if _, err := fib.Reconcile(context.Background(), nil); err != nil {
			t.Errorf("%s: %v", disturb, err)
		}
		expect(t, disturb, ns, "", "")
	}
}

// TestFIBEnsureLooksAgain disturbs the kernel behind the back of a FIB that goes on with single changes.
func TestFIBEnsureLooksAgain(t *testing.T) {
	fib, ns, _ := newFIB(t)
	one, two := prefix("3fff:0:0:1::/64"), prefix("3fff:0:0:2::/64")
	ensure(t, fib, routes{one: {hopA}})
	netnstest.Run(t, ns, "ip nexthop flush")
	ensure(t, fib, routes{two: {hopA}})
	expect(t, "after a flush", ns, objectA+group0+"1752694784 proto 206\n", "3fff:0:0:2::/64 nhid 1752760320 metric 2048\n"+byA)
}
