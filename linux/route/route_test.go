package route_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// newTable is a namespace with two uplinks and its routes.
func newTable(t *testing.T) (*route.Table, *netns.NS) {
	t.Helper()
	ns, far := netnstest.New(t), netnstest.New(t)
	for i, name := range []string{"up0", "up1"} {
		netnstest.Connect(t,
			netnstest.End{NS: ns, Name: name, Quiet: true, Addrs: []netip.Prefix{netip.PrefixFrom(addr(fmt.Sprintf("2001:db8:%d::1", i)), 64)}},
			netnstest.End{NS: far, Name: name, Quiet: true})
	}
	table, err := route.Open(ns, route.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table, ns
}

// show is `ip -6 route`, the kernel's own routes and what says nothing left out.
func show(t *testing.T, ns *netns.NS) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(netnstest.Run(t, ns, "ip -6 route show")) {
		if !strings.Contains(line, "proto kernel") {
			b.WriteString(strings.Replace(strings.TrimSpace(line), " pref medium", "", 1) + "\n")
		}
	}
	return b.String()
}

func reconcile(t *testing.T, table *route.Table, want ...desired.Route) diff.Delta[string] {
	t.Helper()
	delta, err := table.Reconcile(context.Background(), want)
	if err != nil {
		t.Fatal(err)
	}
	return delta
}

func TestReconcile(t *testing.T) {
	table, ns := newTable(t)
	own := desired.Route{Dst: prefix("3fff:0:0:1::/64"), Discard: true}
	for _, step := range []struct {
		name  string
		want  []desired.Route
		delta diff.Delta[string]
		shown string
	}{
		{"first", []desired.Route{own, {Dst: prefix("3fff:0:0:2::/64"), Via: addr("2001:db8::2"), Link: "up0"}, {Dst: prefix("3fff:0:0:1::5/128"), Link: "up1"}},
			diff.Delta[string]{Add: []string{"3fff:0:0:1::/64", "3fff:0:0:1::5/128", "3fff:0:0:2::/64"}},
			"3fff:0:0:1::5 dev up1 proto 206 metric 1024\n" +
				"unreachable 3fff:0:0:1::/64 dev lo proto 206 metric 1024\n" +
				"3fff:0:0:2::/64 via 2001:db8::2 dev up0 proto 206 metric 1024\n"},
		{"next hop, link and kind change in place", []desired.Route{
			{Dst: prefix("3fff:0:0:1::/64"), Link: "up0"}, {Dst: prefix("3fff:0:0:2::/64"), Via: addr("fe80::2"), Link: "up1"}, {Dst: prefix("3fff:0:0:1::5/128"), Discard: true}},
			diff.Delta[string]{Change: []string{"3fff:0:0:1::/64", "3fff:0:0:1::5/128", "3fff:0:0:2::/64"}},
			"unreachable 3fff:0:0:1::5 dev lo proto 206 metric 1024\n" +
				"3fff:0:0:1::/64 dev up0 proto 206 metric 1024\n" +
				"3fff:0:0:2::/64 via fe80::2 dev up1 proto 206 metric 1024\n"},
		{"default", []desired.Route{own, {Dst: prefix("::/0"), Via: addr("fe80::2"), Link: "up1"}},
			diff.Delta[string]{Add: []string{"::/0"}, Change: []string{"3fff:0:0:1::/64"}, Remove: []string{"3fff:0:0:1::5/128", "3fff:0:0:2::/64"}},
			"unreachable 3fff:0:0:1::/64 dev lo proto 206 metric 1024\n" +
				"default via fe80::2 dev up1 proto 206 metric 1024\n"},
		{"nothing", nil, diff.Delta[string]{Remove: []string{"3fff:0:0:1::/64", "::/0"}}, ""},
	} {
		if d := cmp.Diff(step.delta, reconcile(t, table, step.want...)); d != "" {
			t.Errorf("%s: delta (-want +have):\n%s", step.name, d)
		}
		if d := cmp.Diff(step.shown, show(t, ns)); d != "" {
			t.Errorf("%s: ip -6 route (-want +have):\n%s", step.name, d)
		}
		if delta := reconcile(t, table, step.want...); !delta.Empty() {
			t.Errorf("%s: the second reconcile changed %v", step.name, delta)
		}
	}
}

// TestRFC7084_4_2_WPD5_UnusedAddressIsAnswered proves that a discard route tells the sender.
func TestRFC7084_4_2_WPD5_UnusedAddressIsAnswered(t *testing.T) {
	table, ns := newTable(t)
	netnstest.Run(t, ns, "ip link set lo up")
	reconcile(t, table, desired.Route{Dst: prefix("3fff:0:0:1::/64"), Discard: true})
	out, err := netnstest.Try(ns, "ping -6 -c1 -W5 3fff:0:0:1::77")
	if err == nil || !strings.Contains(out, "No route to host") && !strings.Contains(out, "unreachable") {
		t.Errorf("an unused address: %v\n%s", err, out)
	}
}

func TestRoutesOfOthersStay(t *testing.T) {
	table, ns := newTable(t)
	netnstest.Run(t, ns, "ip -6 route add 3fff:0:0:9::/64 dev up0 proto static")
	netnstest.Run(t, ns, "ip -6 route add 3fff:0:0:8::/64 dev up0 proto static metric 50")
	before := show(t, ns)
	ctx := context.Background()
	mine := desired.Route{Dst: prefix("3fff:0:0:7::/64"), Link: "up1"}
	for _, dst := range []string{"3fff:0:0:9::/64", "3fff:0:0:8::/64"} {
		conflicting := desired.Route{Dst: prefix(dst), Link: "up1"}
		delta, err := table.Reconcile(ctx, []desired.Route{conflicting, mine})
		var conflict *route.Conflict
		if !errors.As(err, &conflict) || conflict.Dst != conflicting.Dst || conflict.Protocol != 4 {
			t.Errorf("Reconcile beside %s: %v", dst, err)
		}
		if d := cmp.Diff([]string{mine.Dst.String()}, delta.Add); d != "" {
			t.Errorf("a conflict keeps others from being added:\n%s", d)
		}
		if d := cmp.Diff(diff.Delta[string]{Remove: []string{mine.Dst.String()}}, reconcile(t, table)); d != "" {
			t.Errorf("removed (-want +have):\n%s", d)
		}
	}
	if err := table.Ensure(ctx, desired.Route{Dst: prefix("3fff:0:0:9::/64"), Link: "up1"}); !errors.As(err, new(*route.Conflict)) {
		t.Errorf("Ensure: %v", err)
	}
	if err := table.Remove(ctx, prefix("3fff:0:0:9::/64")); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if d := cmp.Diff(before, show(t, ns)); d != "" {
		t.Errorf("routes of others changed (-before +after):\n%s", d)
	}
}

func TestEnsureAndRemove(t *testing.T) {
	table, ns := newTable(t)
	ctx := context.Background()
	r := desired.Route{Dst: prefix("3fff:0:0:1::/64"), Via: addr("2001:db8::2"), Link: "up0"}
	for range 2 {
		if err := table.Ensure(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	r.Via, r.Link = addr("2001:db8:1::2"), "up1"
	if err := table.Ensure(ctx, r); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("3fff:0:0:1::/64 via 2001:db8:1::2 dev up1 proto 206 metric 1024\n", show(t, ns)); d != "" {
		t.Errorf("ip -6 route (-want +have):\n%s", d)
	}
	for range 2 {
		if err := table.Remove(ctx, r.Dst); err != nil {
			t.Fatal(err)
		}
	}
	if out := show(t, ns); out != "" {
		t.Errorf("left:\n%s", out)
	}
}

func TestErrorsNameTheRoute(t *testing.T) {
	table, _ := newTable(t)
	for _, tc := range []struct {
		r    desired.Route
		want string
	}{
		{desired.Route{Dst: prefix("3fff:1::/64"), Link: "nothere"}, "route 3fff:1::/64: link nothere does not exist"},
		{desired.Route{Dst: prefix("3fff:1::/64"), Via: addr("3fff:ffff::1"), Link: "up0"}, "add route 3fff:1::/64 via 3fff:ffff::1"},
		{desired.Route{Dst: prefix("3fff:1::1/64"), Link: "up0"}, "route 3fff:1::1/64: not an IPv6 or IPv4 prefix"},
		{desired.Route{Dst: prefix("::ffff:192.0.2.0/120"), Link: "up0"}, "route ::ffff:192.0.2.0/120: not an IPv6 or IPv4 prefix"},
		{desired.Route{Dst: prefix("3fff:1::/64"), Link: "up0", Discard: true}, "neither next hop nor link"},
		{desired.Route{Dst: prefix("3fff:1::/64")}, "the link is missing"},
	} {
		if err := table.Ensure(context.Background(), tc.r); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Ensure %v: %v, want %q in it", tc.r, err, tc.want)
		}
		good := desired.Route{Dst: prefix("3fff:2::/64"), Link: "up0"}
		delta, err := table.Reconcile(context.Background(), []desired.Route{tc.r, good})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Reconcile %v: %v, want %q in it", tc.r, err, tc.want)
		}
		if d := cmp.Diff(diff.Delta[string]{Add: []string{"3fff:2::/64"}}, delta); d != "" {
			t.Errorf("delta (-want +have):\n%s", d)
		}
		reconcile(t, table)
	}
}

// TestBatchLimits goes one past every size that is passed to the kernel at once.
func TestBatchLimits(t *testing.T) {
	table, ns := newTable(t)
	for _, n := range []int{rtnl.MaxBatch - 1, rtnl.MaxBatch, rtnl.MaxBatch + 1, 5*rtnl.MaxBatch + 1} {
		var want []desired.Route
		for i := range n {
			a := [16]byte{0x3f, 0xff, 5: 1, 6: byte(i >> 8), 7: byte(i)}
			want = append(want, desired.Route{Dst: netip.PrefixFrom(netip.AddrFrom16(a), 64), Via: addr("2001:db8::2"), Link: "up0"})
		}
		if delta := reconcile(t, table, want...); len(delta.Add) != n {
			t.Errorf("%d routes wanted, %d added", n, len(delta.Add))
		}
		if have := strings.Count(netnstest.Run(t, ns, "ip -6 route show proto 206"), "\n"); have != n {
			t.Errorf("the kernel has %d routes, want %d", have, n)
		}
		if delta := reconcile(t, table, want...); !delta.Empty() {
			t.Errorf("the second reconcile changed %d routes", len(delta.Add)+len(delta.Change)+len(delta.Remove))
		}
		if delta := reconcile(t, table); len(delta.Remove) != n {
			t.Errorf("%d removed, want %d", len(delta.Remove), n)
		}
	}
}

func TestStaleMetricIsRemoved(t *testing.T) {
	table, ns := newTable(t)
	netnstest.Run(t, ns, "ip -6 route add 3fff:1::/64 dev up0 proto 206 metric 77")
	want := desired.Route{Dst: prefix("3fff:1::/64"), Link: "up0"}
	reconcile(t, table, want)
	if d := cmp.Diff("3fff:1::/64 dev up0 proto 206 metric 1024\n", show(t, ns)); d != "" {
		t.Errorf("ip -6 route (-want +have):\n%s", d)
	}
}

func TestTwoOwners(t *testing.T) {
	table, ns := newTable(t)
	other, err := route.Open(ns, 207)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	reconcile(t, table, desired.Route{Dst: prefix("3fff:1::/64"), Link: "up0"})
	reconcile(t, other, desired.Route{Dst: prefix("3fff:2::/64"), Link: "up0"})
	if delta := reconcile(t, table, desired.Route{Dst: prefix("3fff:1::/64"), Link: "up0"}); !delta.Empty() {
		t.Errorf("the routes of another owner are taken for ours: %v", delta)
	}
	reconcile(t, table)
	if d := cmp.Diff("3fff:2::/64 dev up0 proto 207 metric 1024\n", show(t, ns)); d != "" {
		t.Errorf("ip -6 route (-want +have):\n%s", d)
	}
}

func TestEndedContext(t *testing.T) {
	table, ns := newTable(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := table.Reconcile(ctx, []desired.Route{{Dst: prefix("3fff:1::/64"), Link: "up0"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Reconcile: %v", err)
	}
	if out := show(t, ns); out != "" {
		t.Errorf("routes were added:\n%s", out)
	}
}

func BenchmarkReconcile10000(b *testing.B) {
	ns := netnstest.New(b)
	netnstest.Run(b, ns, "ip link set lo up")
	table, err := route.Open(ns, route.Protocol)
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	var want []desired.Route
	for i := range 10_000 {
		a := [16]byte{0x3f, 0xff, 5: 1, 6: byte(i >> 8), 7: byte(i)}
		want = append(want, desired.Route{Dst: netip.PrefixFrom(netip.AddrFrom16(a), 64), Discard: true})
	}
	for b.Loop() {
		for _, w := range [][]desired.Route{want, nil} {
			if _, err := table.Reconcile(context.Background(), w); err != nil {
				b.Fatal(err)
			}
		}
	}
}
