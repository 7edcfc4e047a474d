package link

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"hexapod.dev/linux/netns/netnstest"
)

func TestReadyMeansThatTheAddressAnswers(t *testing.T) {
	h := newHost(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for i := range 20 {
		ep := netnstest.New(t)
		l, r, n := endpoint(i, ep, "eth0")
		if err := h.add(l, r, n); err != nil {
			t.Fatal(err)
		}
		if err := h.Ready(ctx, l); err != nil {
			t.Fatal(err)
		}
		want := "local " + l.Addrs[0].String() + " dev eth0"
		if out := netnstest.Run(t, ep, "ip -6 route show table local"); !strings.Contains(out, want) {
			t.Fatalf("%q is missing:\n%s", want, out)
		}
	}
}

func TestReadyEndsWithItsContext(t *testing.T) {
	h, ep := newHost(t), netnstest.New(t)
	l, _, _ := endpoint(1, ep, "eth0")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := h.Ready(ctx, l); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "c1/eth0") {
		t.Errorf("Ready of an endpoint without an address: %v", err)
	}
}

// BenchmarkReady is how long after Ensure an endpoint answers.
func BenchmarkReady(b *testing.B) {
	h := newHost(b)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		l, r, n := endpoint(i, netnstest.New(b), "eth0")
		if err := h.add(l, r, n); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := h.Ready(context.Background(), l); err != nil {
			b.Fatal(err)
		}
	}
}
