package link

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/diff"
)

func address(link, p string) Address { return Address{Link: link, Prefix: netip.MustParsePrefix(p)} }

func newAddresses(t *testing.T) (*Addresses, *netns.NS) {
	t.Helper()
	ns := netnstest.New(t)
	netnstest.Run(t, ns, "ip link set lo up")
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
