package link

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/diff"
)

func address(link, p string) Address { return Address{Link: link, Prefix: netip.MustParsePrefix(p)} }

func newAddresses(t *testing.T) (*Addresses, *netns.NS) {
	t.Helper()
	ns := netnstest.New(t)
	if err := SetUp(context.Background(), ns, "lo"); err != nil {
		t.Fatal(err)
	}
	table, err := OpenAddresses(ns, Protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table, ns
}

func TestRouterAddressOnLo(t *testing.T) {
	table, ns := newAddresses(t)
	ctx := context.Background()
	netnstest.Run(t, ns, "ip -6 addr add 3fff::99/128 dev lo")
	own := address("lo", "3fff:5:6:1:1::1/128")
	for _, step := range []struct {
		want  []Address
		delta diff.Delta[string]
		shown string
	}{
		{[]Address{own}, diff.Delta[string]{Add: []string{"lo 3fff:5:6:1:1::1/128"}}, "::1/128 3fff::99/128 3fff:5:6:1:1::1/128"},
		{[]Address{own}, diff.Delta[string]{}, "::1/128 3fff::99/128 3fff:5:6:1:1::1/128"},
		{nil, diff.Delta[string]{Remove: []string{"lo 3fff:5:6:1:1::1/128"}}, "::1/128 3fff::99/128"},
		{nil, diff.Delta[string]{}, "::1/128 3fff::99/128"},
	} {
		delta, err := table.Reconcile(ctx, step.want)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(step.delta, delta); d != "" {
			t.Errorf("delta (-want +have):\n%s", d)
		}
		have := strings.Fields(netnstest.Run(t, ns, "ip -6 -br addr show dev lo"))[2:]
		if d := cmp.Diff(sorted(step.shown), sorted(strings.Join(have, " "))); d != "" {
			t.Errorf("addresses of lo (-want +have):\n%s", d)
		}
	}
}

func sorted(words string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

func TestEnsureAndRemoveAddress(t *testing.T) {
	table, ns := newAddresses(t)
	ctx := context.Background()
	a := address("lo", "3fff::1/128")
	for range 2 {
		if err := table.Ensure(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	netnstest.Run(t, ns, "ping -6 -c1 -w10 3fff::1")
	for range 2 {
		if err := table.Remove(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	netnstest.Run(t, ns, "ip -6 addr add 3fff::2/128 dev lo")
	if err := table.Remove(ctx, address("lo", "3fff::2/128")); err != nil {
		t.Fatal(err)
	}
	if err := table.Ensure(ctx, address("lo", "3fff::2/128")); err != nil {
		t.Errorf("Ensure of what somebody else has set: %v", err)
	}
	if err := table.Remove(ctx, address("lo", "3fff::2/128")); err != nil {
		t.Fatal(err)
	}
	if out := netnstest.Run(t, ns, "ip -6 -br addr show dev lo"); !strings.Contains(out, "3fff::2/128") || strings.Contains(out, "3fff::1/128") {
		t.Errorf("addresses of lo: %s", out)
	}
	if err := table.Ensure(ctx, address("nothere", "3fff::1/128")); err == nil || !strings.Contains(err.Error(), "link nothere does not exist") {
		t.Errorf("a missing link: %v", err)
	}
	if err := table.Remove(ctx, address("nothere", "3fff::1/128")); err != nil {
		t.Errorf("remove from a missing link: %v", err)
	}
}

func TestCablesAndBridge(t *testing.T) {
	ctx := context.Background()
	hub, a, b := netnstest.New(t), netnstest.New(t), netnstest.New(t)
	for port, end := range map[string]End{
		"p0": {NS: a, Name: "up0", Quiet: true, Addrs: []netip.Prefix{netip.MustParsePrefix("3fff::a/64")}, MTU: 1400},
		"p1": {NS: b, Name: "up0", Quiet: true, Addrs: []netip.Prefix{netip.MustParsePrefix("3fff::b/64")}, MTU: 1400},
	} {
		if err := Connect(ctx, End{NS: hub, Name: port, Quiet: true}, end); err != nil {
			t.Fatal(err)
		}
	}
	if err := Bridge(ctx, hub, "sw0", "p0", "p1"); err != nil {
		t.Fatal(err)
	}
	netnstest.Run(t, a, "ping -6 -c1 -w10 3fff::b")
	if err := Connect(ctx, End{NS: hub, Name: "p0"}, End{NS: a, Name: "up1"}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("Connect with a name that exists: %v", err)
	}
	if err := SetDown(ctx, a, "up0"); err != nil {
		t.Error(err)
	}
	if _, err := netnstest.Try(a, "ping -6 -c1 -W1 3fff::b"); err == nil {
		t.Error("a link that is down carries packets")
	}
	for range 2 {
		if err := Delete(ctx, hub, "p0"); err != nil {
			t.Error(err)
		}
	}
	if _, err := netnstest.Try(a, "ip link show dev up0"); err == nil {
		t.Error("the other end of a deleted cable is still there")
	}
	if err := SetUp(ctx, hub, "p0"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("SetUp of a missing link: %v", err)
	}
}
