package neigh_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/linux/neigh"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

func entry(a string, last byte) desired.Neighbour {
	return desired.Neighbour{Link: "up0", Addr: netip.MustParseAddr(a), MAC: desired.MAC{2, 0, 0, 0, 0, last}}
}

func newTable(t *testing.T) (*neigh.Table, *netns.NS) {
	t.Helper()
	ns, far := netnstest.New(t), netnstest.New(t)
	netnstest.Connect(t, netnstest.End{NS: ns, Name: "up0", Quiet: true}, netnstest.End{NS: far, Name: "up0", Quiet: true})
	table, err := neigh.Open(ns, neigh.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table, ns
}

func show(t *testing.T, ns *netns.NS) string {
	t.Helper()
	out := netnstest.Run(t, ns, "ip -6 neigh show nud permanent")
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(out, " \n", "\n")), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

func reconcile(t *testing.T, table *neigh.Table, want ...desired.Neighbour) diff.Delta[string] {
	t.Helper()
	delta, err := table.Reconcile(context.Background(), want)
	if err != nil {
		t.Fatal(err)
	}
	return delta
}

func TestReconcile(t *testing.T) {
	table, ns := newTable(t)
	for _, step := range []struct {
		want  []desired.Neighbour
		delta diff.Delta[string]
		shown string
	}{
		{[]desired.Neighbour{entry("3fff::1", 1)}, diff.Delta[string]{Add: []string{"up0 3fff::1"}},
			"3fff::1 dev up0 lladdr 02:00:00:00:00:01 PERMANENT proto 206"},
		{[]desired.Neighbour{entry("3fff::1", 2)}, diff.Delta[string]{Change: []string{"up0 3fff::1"}},
			"3fff::1 dev up0 lladdr 02:00:00:00:00:02 PERMANENT proto 206"},
		{nil, diff.Delta[string]{Remove: []string{"up0 3fff::1"}}, ""},
	} {
		if d := cmp.Diff(step.delta, reconcile(t, table, step.want...)); d != "" {
			t.Errorf("delta (-want +have):\n%s", d)
		}
		if d := cmp.Diff(step.shown, show(t, ns)); d != "" {
			t.Errorf("ip -6 neigh (-want +have):\n%s", d)
		}
		if delta := reconcile(t, table, step.want...); !delta.Empty() {
			t.Errorf("the second reconcile changed %v", delta)
		}
	}
}

func TestNeighboursOfOthersStay(t *testing.T) {
	table, ns := newTable(t)
	ctx := context.Background()
	netnstest.Run(t, ns, "ip -6 neigh add 3fff::9 dev up0 lladdr 02:00:00:00:00:99 nud permanent")
	before := show(t, ns)
	var conflict *neigh.Conflict
	delta, err := table.Reconcile(ctx, []desired.Neighbour{entry("3fff::9", 1), entry("3fff::1", 1)})
	if !errors.As(err, &conflict) || conflict.Link != "up0" || conflict.Addr != netip.MustParseAddr("3fff::9") {
		t.Errorf("Reconcile: %v", err)
	}
	if d := cmp.Diff([]string{"up0 3fff::1"}, delta.Add); d != "" {
		t.Errorf("a conflict keeps others from being added:\n%s", d)
	}
	if err := table.Ensure(ctx, entry("3fff::9", 1)); !errors.As(err, &conflict) {
		t.Errorf("Ensure: %v", err)
	}
	if err := table.Remove(ctx, "up0", netip.MustParseAddr("3fff::9")); err != nil {
		t.Errorf("Remove: %v", err)
	}
	reconcile(t, table)
	if d := cmp.Diff(before, show(t, ns)); d != "" {
		t.Errorf("neighbours of others changed (-before +after):\n%s", d)
	}
}

func TestEnsureTakesOverWhatTheKernelLearned(t *testing.T) {
	table, ns := newTable(t)
	ctx := context.Background()
	netnstest.Run(t, ns, "ip -6 neigh add 3fff::1 dev up0 lladdr 02:00:00:00:00:99 nud stale")
	for range 2 {
		if err := table.Ensure(ctx, entry("3fff::1", 1)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff("3fff::1 dev up0 lladdr 02:00:00:00:00:01 PERMANENT proto 206", show(t, ns)); d != "" {
			t.Errorf("ip -6 neigh (-want +have):\n%s", d)
		}
	}
	for range 2 {
		if err := table.Remove(ctx, "up0", netip.MustParseAddr("3fff::1")); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Remove(ctx, "nothere", netip.MustParseAddr("3fff::1")); err != nil {
		t.Errorf("a missing link: %v", err)
	}
	if out := show(t, ns); out != "" {
		t.Errorf("left: %s", out)
	}
}

func TestErrorsNameTheNeighbour(t *testing.T) {
	table, _ := newTable(t)
	elsewhere := entry("3fff::1", 1)
	elsewhere.Link = "nothere"
	for _, tc := range []struct {
		n    desired.Neighbour
		want string
	}{
		{elsewhere, "neighbour 3fff::1: link nothere does not exist"},
		{entry("192.0.2.1", 1), "neighbour 192.0.2.1 on link up0: not an IPv6 address"},
		{desired.Neighbour{Link: "up0", Addr: netip.MustParseAddr("3fff::1")}, "the MAC is missing"},
	} {
		if err := table.Ensure(context.Background(), tc.n); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Ensure: %v, want %q in it", err, tc.want)
		}
		if _, err := table.Reconcile(context.Background(), []desired.Neighbour{tc.n}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Reconcile: %v, want %q in it", err, tc.want)
		}
	}
}

func TestBatchLimits(t *testing.T) {
	table, ns := newTable(t)
	for _, n := range []int{rtnl.MaxBatch, rtnl.MaxBatch + 1} {
		var want []desired.Neighbour
		for i := range n {
			a := netip.AddrFrom16([16]byte{0x3f, 0xff, 14: byte(i >> 8), 15: byte(i)})
			want = append(want, desired.Neighbour{Link: "up0", Addr: a, MAC: desired.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}})
		}
		if delta := reconcile(t, table, want...); len(delta.Add) != n {
			t.Errorf("%d wanted, %d added", n, len(delta.Add))
		}
		if have := strings.Count(netnstest.Run(t, ns, "ip -6 neigh show nud permanent"), "\n"); have != n {
			t.Errorf("the kernel has %d, want %d", have, n)
		}
		if delta := reconcile(t, table, want...); !delta.Empty() {
			t.Error("the second reconcile changed something")
		}
		if delta := reconcile(t, table); len(delta.Remove) != n {
			t.Errorf("%d removed, want %d", len(delta.Remove), n)
		}
	}
}
