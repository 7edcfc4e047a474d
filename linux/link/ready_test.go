package link

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
)

func TestEnsureReturnsWhenTheAddressAnswers(t *testing.T) {
	h := newHost(t)
	for i := range 20 {
		ep := netnstest.New(t)
		l, r, n := endpoint(i, ep, "eth0")
		if err := h.add(l, r, n); err != nil {
			t.Fatal(err)
		}
		want := "local " + l.Addrs[0].String() + " dev eth0"
		if out := netnstest.Run(t, ep, "ip -6 route show table local"); !strings.Contains(out, want) {
			t.Fatalf("%q is missing:\n%s", want, out)
		}
	}
}

func TestListeningEndsWithItsContext(t *testing.T) {
	in, events, err := rtnl.DialSubscribed(netnstest.New(t), rtnl.Routes)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer events.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	never := netip.MustParseAddr("2001:db8::1")
	if err := listening(ctx, in, events, []netip.Addr{never}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), never.String()) {
		t.Errorf("waiting for an address that nobody sets: %v", err)
	}
}
