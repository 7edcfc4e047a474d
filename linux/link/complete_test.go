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
