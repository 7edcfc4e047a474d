package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
)

func TestPeerInAnotherNamespace(t *testing.T) {
	h, old, ep := newHost(t), netnstest.New(t), netnstest.New(t)
	l, r, n := endpoint(1, old, "eth0")
	if err := h.add(l, r, n); err != nil {
		t.Fatal(err)
	}
	l.NetNS = ep.Path()
	if err := h.Check(context.Background(), l); err == nil {
		t.Error("Check does not see that the peer is elsewhere")
	}
	if err := h.add(l, r, n); err != nil {
		t.Fatal(err)
	}
	checkGoldens(t, h, ep, l)
	if _, err := netnstest.Try(old, "ip link show dev eth0"); err == nil {
		t.Error("the old peer is still there")
	}
}

func TestForeignLinksStayUntouched(t *testing.T) {
	h, ep := newHost(t), netnstest.New(t)
	l, r, n := endpoint(1, ep, "eth0")
	ctx := context.Background()
	netnstest.Run(t, h.ns, "ip link add "+l.Name+" type bridge")
	netnstest.Run(t, h.ns, "ip link add hxforeign type veth peer name hxforeign2")
	before := netnstest.Run(t, h.ns, "ip link")
	err := h.add(l, r, n)
	if err == nil || !strings.Contains(err.Error(), "a bridge of that name exists") {
		t.Errorf("Ensure: %v", err)
	}
	if err := h.Retire(ctx, l.Key); err == nil {
		t.Error("Retire takes a foreign link")
	}
	if _, err := h.Reconcile(ctx, []desired.Link{l}); err == nil {
		t.Error("Reconcile takes a foreign link")
	}
	if delta, err := h.Reconcile(ctx, nil); err != nil || !delta.Empty() {
		t.Errorf("Reconcile to nothing: %v, %v", delta, err)
	}
	if err := h.Reap(ctx); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(before, netnstest.Run(t, h.ns, "ip link")); d != "" {
		t.Errorf("foreign links changed:\n%s", d)
	}
}

func TestInterfaceOfAnotherProgramInside(t *testing.T) {
	h, ep := newHost(t), netnstest.New(t)
	l, r, n := endpoint(1, ep, "eth0")
	netnstest.Run(t, ep, "ip link add eth0 type bridge")
	err := h.add(l, r, n)
	if err == nil || !strings.Contains(err.Error(), "interface eth0 exists in") {
		t.Errorf("Ensure: %v", err)
	}
	if out := netnstest.Run(t, h.ns, "ip -o link"); strings.Contains(out, l.Name) {
		t.Errorf("a half link is left:\n%s", out)
	}
}

func TestMissingThings(t *testing.T) {
	h, ep := newHost(t), netnstest.New(t)
	ctx := context.Background()
	l, r, n := endpoint(1, ep, "eth0")
	if err := h.Retire(ctx, l.Key); err != nil {
		t.Errorf("Retire of nothing: %v", err)
	}
	if err := h.Reap(ctx); err != nil {
		t.Errorf("Reap of nothing: %v", err)
	}
	l.NetNS = "/run/netns/does-not-exist"
	if err := h.add(l, r, n); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Ensure without a namespace: %v, want fs.ErrNotExist", err)
	}
	if err := h.Check(ctx, l); err == nil {
		t.Error("Check of a missing link is content")
	}
}

func TestReconcileGoesOnAfterAFailure(t *testing.T) {
	h, ep := newHost(t), netnstest.New(t)
	bad, _, _ := endpoint(1, ep, "eth0")
	bad.NetNS = "/run/netns/does-not-exist"
	good, _, _ := endpoint(2, ep, "eth0")
	delta, err := h.Reconcile(context.Background(), []desired.Link{bad, good})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "c1/eth0") {
		t.Errorf("error: %v", err)
	}
	if d := cmp.Diff([]string{good.Name}, delta.Add); d != "" {
		t.Errorf("added (-want +have):\n%s", d)
	}
}

func TestLimits(t *testing.T) {
	h, ep := newHost(t), netnstest.New(t)
	for _, tc := range []struct {
		name  string
		fails bool
		set   func(*desired.Link)
	}{
		{"name of 15", false, func(l *desired.Link) { l.Name = strings.Repeat("h", 15) }},
		{"name of 16", true, func(l *desired.Link) { l.Name = strings.Repeat("h", 16) }},
		{"alias of 255", false, func(l *desired.Link) { l.Key.Container = strings.Repeat("c", 255-len("hexapod:/eth0")) }},
		{"alias of 256", true, func(l *desired.Link) { l.Key.Container = strings.Repeat("c", 256-len("hexapod:/eth0")) }},
		{"interface of 15", false, func(l *desired.Link) { l.Key.Interface = strings.Repeat("e", 15) }},
		{"interface of 16", true, func(l *desired.Link) { l.Key.Interface = strings.Repeat("e", 16) }},
		{"IPv4", true, func(l *desired.Link) { l.Addrs = []netip.Addr{netip.MustParseAddr("192.0.2.1")} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, _, _ := endpoint(1, ep, "eth0")
			tc.set(&l)
			err := h.Ensure(context.Background(), l)
			if (err != nil) != tc.fails {
				t.Fatalf("Ensure: %v", err)
			}
			if err == nil {
				if err := h.Check(context.Background(), l); err != nil {
					t.Error(err)
				}
				h.reconcile(t, nil, nil, nil)
			}
		})
	}
}

func TestRetireAndReapGroup(t *testing.T) {
	h, ep := newHost(t), netnstest.New(t)
	ctx := context.Background()
	var links []desired.Link
	for i := range 5 {
		l, r, n := endpoint(i, ep, fmt.Sprintf("eth%d", i))
		if err := h.add(l, r, n); err != nil {
			t.Fatal(err)
		}
		links = append(links, l)
	}
	for _, l := range links[1:] {
		if err := h.Retire(ctx, l.Key, h.routes.Removal(netip.PrefixFrom(l.Addrs[0], 128))); err != nil {
			t.Fatal(err)
		}
	}
	if out := netnstest.Run(t, h.ns, "ip -6 route show proto 206"); strings.Count(out, "\n") != 1 {
		t.Errorf("routes after Retire:\n%s", out)
	}
	seen, err := h.Observe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	retired := 0
	for _, o := range seen {
		if o.Retired != (o.Key != links[0].Key) {
			t.Errorf("%+v", o)
		}
		if o.Retired {
			retired++
		}
	}
	if retired != 4 {
		t.Errorf("%d links retired, want 4", retired)
	}
	if err := h.Reap(ctx); err != nil {
		t.Fatal(err)
	}
	if seen, err = h.Observe(ctx); err != nil || len(seen) != 1 || seen[0].Key != links[0].Key {
		t.Errorf("after Reap: %v, %v", seen, err)
	}
}

func TestRetiredLinkIsTakenBack(t *testing.T) {
	h, ep := newHost(t), netnstest.New(t)
	l, r, n := endpoint(1, ep, "eth0")
	ctx := context.Background()
	if err := h.add(l, r, n); err != nil {
		t.Fatal(err)
	}
	if err := h.Retire(ctx, l.Key, h.routes.Removal(r.Dst)); err != nil {
		t.Fatal(err)
	}
	if err := h.add(l, r, n); err != nil {
		t.Fatal(err)
	}
	if err := h.Reap(ctx); err != nil {
		t.Fatal(err)
	}
	checkGoldens(t, h, ep, l)
}
