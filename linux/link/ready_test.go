package link

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
)

func TestEnsureReturnsWhenTheAddressAnswers(t *testing.T) {
	h := newHost(t)
	for i := range 20 {
		ep := netnstest.New(t)
		in, err := rtnl.Dial(ep) // before, so that the look comes right after Ensure
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		l, r, n := endpoint(i, ep, "eth0")
		if err := h.add(l, r, n); err != nil {
			t.Fatal(err)
		}
		local, err := in.Routes(unix.RT_TABLE_LOCAL, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !listens(local, l.Addrs) {
			t.Fatalf("endpoint %d does not answer under %v after Ensure", i, l.Addrs)
		}
	}
}

// The first packet in either direction arrives, also while the kernel is busy with other links.
func TestFirstPacketArrives(t *testing.T) {
	h := newHost(t)
	links, routes, neighs := crowd(t, 1000, 20)
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	busy.Go(func() {
		for ctx.Err() == nil {
			for i := range links {
				_ = h.add(links[i], routes[i], neighs[i])
				_ = h.Retire(context.Background(), links[i].Key)
			}
			_ = h.Reap(context.Background())
		}
	})
	defer busy.Wait()
	defer cancel()
	for i := range 40 {
		ep := netnstest.New(t)
		l, r, n := endpoint(i, ep, "eth0")
		if err := h.add(l, r, n); err != nil {
			t.Fatal(err)
		}
		have, err := h.conn.Links() // a list shows a link as it is; asking for one would set it right
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(have, func(o rtnl.Link) bool { return o.Name == l.Name && o.Running }) {
			t.Fatalf("%s drops what it is given after Ensure number %d", l.Name, i)
		}
		netnstest.Run(t, h.ns, "ping -6 -c1 -W2 "+l.Addrs[0].String())
	}
}

func TestListeningEndsWithItsContext(t *testing.T) {
	in, err := rtnl.Dial(netnstest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	never := netip.MustParseAddr("2001:db8::1")
	if err := listening(ctx, in, []netip.Addr{never}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), never.String()) {
		t.Errorf("waiting for an address that nobody sets: %v", err)
	}
}
