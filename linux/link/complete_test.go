package link

import (
	"context"
	"strings"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
)

// A link that was begun has no address on its host side, nobody calls that a fault, and Complete brings it.
func TestComplete(t *testing.T) {
	h, ctx := newHost(t), context.Background()
	begin := func(i int) (desired.Link, *netns.NS) {
		t.Helper()
		ep := netnstest.New(t)
		want, r, n := endpoint(i, ep, "eth0")
		b, err := h.Begin(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.EnsureBegun(ctx, b, want, h.routes.Part(r), h.neighs.Part(n)); err != nil {
			t.Fatal(err)
		}
		return want, ep
	}
	kept, ep := begin(1)
	gone, _ := begin(2)
	if out := show(t, h.ns, kept.Name); strings.Contains(out, "fe80::1") {
		t.Errorf("the host side has its address already:\n%s", out)
	}
	if err := h.Check(ctx, kept); err != nil {
		t.Errorf("before Complete: %v", err)
	}
	netnstest.Run(t, h.ns, "ip link del "+gone.Name)
	for range 2 {
		if err := h.Complete(ctx); err != nil {
			t.Fatal(err)
		}
		checkGoldens(t, h, ep, kept)
	}

	// What an agent left for later that was killed is a fault for the next one.
	left, _ := begin(3)
	h.incomplete.take()
	if err := h.Check(ctx, left); err == nil || !strings.Contains(err.Error(), "fe80::1") {
		t.Errorf("Check of a link without its address: %v", err)
	}
	if err := h.Ensure(ctx, left); err != nil {
		t.Fatal(err)
	}
	if out := show(t, h.ns, left.Name); !strings.Contains(out, "fe80::1/128") {
		t.Errorf("repaired, and still without its address:\n%s", out)
	}
}

// Where somebody else answers for the gateway the host side of a link has neither its address nor a route to multicast groups, those of an
// earlier agent neither, and packets pass. An agent without programs gives both back.
func TestBare(t *testing.T) {
	h, ctx := newHost(t), context.Background()
	netnstest.Run(t, h.ns, "sysctl -qw net.ipv6.conf.all.forwarding=1")
	groups := func(l desired.Link) string {
		t.Helper()
		return netnstest.Run(t, h.ns, "ip -6 route show ff00::/8 dev "+l.Name+" table local")
	}
	endpointOf := func(i int) (desired.Link, *netns.NS) {
		t.Helper()
		ep := netnstest.New(t)
		want, r, n := endpoint(i, ep, "eth0")
		if err := h.add(want, r, n); err != nil {
			t.Fatal(err)
		}
		return want, ep
	}
	old, _ := endpointOf(1)
	if groups(old) == "" || !strings.Contains(show(t, h.ns, old.Name), "fe80::1/128") {
		t.Fatal("without programs the host side has no address, or hears no groups")
	}
	if err := h.GatewayAnswered(ctx); err != nil {
		t.Fatal(err)
	}
	fresh, ep := endpointOf(2)
	gone, _ := endpointOf(3)
	netnstest.Run(t, h.ns, "ip link del "+gone.Name)
	for _, l := range []desired.Link{old, fresh} {
		if err := h.Check(ctx, l); err != nil {
			t.Errorf("before Complete: %v", err)
		}
	}
	if err := h.Complete(ctx); err != nil {
		t.Fatal(err)
	}
	for _, l := range []desired.Link{old, fresh} {
		if out := show(t, h.ns, l.Name); groups(l) != "" || strings.Contains(out, "fe80::1") {
			t.Errorf("after Complete:\n%s%s", out, groups(l))
		}
		if err := h.Check(ctx, l); err != nil {
			t.Errorf("after Complete: %v", err)
		}
	}
	netnstest.Run(t, h.ns, "ip -6 addr add 2001:db8::1/128 dev lo")
	netnstest.Run(t, ep, "ping -6 -c5 -i0.2 -W30 "+old.Addrs[0].String())
	// One of them: the kernel has the route to a new address a moment later (addrconf_dad_work).
	netnstest.Run(t, ep, "ping -6 -c5 -i0.2 -W30 2001:db8::1")
	if out, _ := netnstest.Try(ep, "ping -6 -c1 -W30 -t1 "+old.Addrs[0].String()); !strings.Contains(out, "2001:db8::1") { // RFC 4443 2.2: an error has a source that can be reached
		t.Errorf("the host's answer to a hop limit that ended is not from its own address:\n%s", out)
	}

	netnstest.Run(t, h.ns, "ip -6 addr add fe80::1/128 dev "+fresh.Name+" nodad")
	if err := h.Check(ctx, fresh); err == nil || !strings.Contains(err.Error(), "fe80::1") {
		t.Errorf("Check of a link with an address too many: %v", err)
	}
	plain, err := Open(h.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.Check(ctx, old); err == nil || !strings.Contains(err.Error(), "fe80::1") {
		t.Errorf("Check by an agent without programs: %v", err)
	}
	if err := plain.Ensure(ctx, old); err != nil {
		t.Fatal(err)
	}
	if out := show(t, h.ns, old.Name); groups(old) == "" || !strings.Contains(out, "fe80::1/128") {
		t.Errorf("repaired by an agent without programs:\n%s%s", out, groups(old))
	}
}
