package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sync/errgroup"

	"hexapod.dev/linux/netns/netnstest"
)

var loopback = netip.IPv6Loopback()

// inside is a namespace of the test's own with lo up.
func inside(t *testing.T) Inside {
	t.Helper()
	ns := netnstest.New(t)
	netnstest.Run(t, ns, "ip link set lo up")
	return ns.Do
}

func pinger(t *testing.T, in Inside) *Pinger {
	t.Helper()
	p, err := NewPinger(in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestRFC4443_4_1_Echo(t *testing.T) {
	in := inside(t)
	p, other := pinger(t, in), pinger(t, in)
	for range 3 {
		// Both sockets see all answers; each takes its own.
		for _, p := range []*Pinger{p, other} {
			r, err := p.Ping(loopback, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if r.From != loopback || r.HopLimit == 0 || r.RTT <= 0 {
				t.Errorf("reply %+v", r)
			}
		}
	}
}

func TestNoAnswerIsLost(t *testing.T) {
	ns := netnstest.New(t)
	netnstest.Run(t, ns, "ip link set lo up")
	netnstest.Run(t, ns, "ip -6 route add blackhole 2001:db8::/32")
	netnstest.Run(t, ns, "ip link add name left type veth peer name right")
	netnstest.Run(t, ns, "ip link set left up")
	netnstest.Run(t, ns, "ip link set right up")
	netnstest.Run(t, ns, "ip -6 addr add 3fff::1/64 dev left nodad")
	p := pinger(t, ns.Do)
	if _, err := p.Ping(netip.MustParseAddr("3fff::2"), 50*time.Millisecond); !errors.Is(err, ErrLost) {
		t.Errorf("ping of nobody: %v, want %v", err, ErrLost)
	}
	if _, err := p.Ping(netip.MustParseAddr("2001:db8::1"), 50*time.Millisecond); err == nil {
		t.Error("ping of a discarded address worked")
	}
	tally, err := Stream{Dst: netip.MustParseAddr("3fff::2"), Interval: time.Millisecond, Count: 4, Patience: 10 * time.Millisecond}.Run(t.Context(), p)
	if err != nil || tally.Sent != 4 || tally.Lost != 4 {
		t.Errorf("stream to nobody: %+v, %v; want 4 of 4 lost", tally, err)
	}
}

func TestStreamCounts(t *testing.T) {
	p := pinger(t, inside(t))
	tally, err := Stream{Dst: loopback, Interval: time.Millisecond, Count: 50, Patience: 5 * time.Second}.Run(t.Context(), p)
	if err != nil || tally.Sent != 50 || tally.Lost != 0 || tally.Min <= 0 || tally.Min > tally.Mean() || tally.Mean() > tally.Max {
		t.Errorf("50 requests: %+v, %v", tally, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	answers := 0
	tally, err = Stream{Dst: loopback, Interval: time.Millisecond, Patience: 100 * time.Millisecond, Each: func(Reply) {
		if answers++; answers == 10 {
			stop()
		}
	}}.Run(ctx, p)
	if err != nil || tally.Sent < 10 || tally.Lost != 0 {
		t.Errorf("until stopped: %+v, %v", tally, err)
	}
	if _, err := (Stream{Dst: loopback, Interval: time.Millisecond, Count: maxStream + 1}).Run(t.Context(), p); err == nil {
		t.Error("more requests than sequence numbers: no error")
	}
}

func TestGetSeesWhoAsked(t *testing.T) {
	in := inside(t)
	l, err := Listen(in, Port)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var serving errgroup.Group
	serving.Go(func() error { return Serve(ctx, l, "server") })
	a, err := Get(t.Context(), in, netip.AddrPortFrom(loopback, Port))
	if want := (Answer{"server", loopback}); err != nil || a != want {
		t.Errorf("answer %+v, %v; want %+v", a, err, want)
	}
	stop()
	if err := serving.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := Get(t.Context(), in, netip.AddrPortFrom(loopback, Port)); err == nil {
		t.Error("a server that was stopped answers")
	}
}

// A port is free as soon as its server has ended, also while a program that is just being started has a copy of the socket.
func TestPortIsFreeAfterTheServer(t *testing.T) {
	in := inside(t)
	for _, serve := range []func(context.Context, net.Listener, string) error{Serve, Greet} {
		l, err := Listen(in, Port)
		if err != nil {
			t.Fatal(err)
		}
		copied, err := l.(listener).File() // as between fork(2) and execve(2)
		if err != nil {
			t.Fatal(err)
		}
		defer copied.Close()
		ctx, stop := context.WithCancel(t.Context())
		var serving errgroup.Group
		serving.Go(func() error { return serve(ctx, l, "server") })
		stop()
		if err := serving.Wait(); err != nil {
			t.Error(err)
		}
		again, err := Listen(in, Port)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzAbout: whatever arrives, no request is found in a packet too short to quote one.
func FuzzAbout(f *testing.F) {
	reply, err := (&icmp.Message{Type: ipv6.ICMPTypeEchoReply, Body: &icmp.Echo{ID: 7, Seq: 9, Data: make([]byte, echoSize)}}).Marshal(nil)
	if err != nil {
		f.Fatal(err)
	}
	quoted := append(make([]byte, ipv6.HeaderLen), reply...)
	exceeded, err := (&icmp.Message{Type: ipv6.ICMPTypeTimeExceeded, Body: &icmp.TimeExceeded{Data: quoted}}).Marshal(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply)
	f.Add(exceeded)
	f.Add(exceeded[:30])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := icmp.ParseMessage(58, b)
		if err != nil {
			return
		}
		id, seq, ok := about(m)
		if ok && len(b) < 8 {
			t.Errorf("%x: found request %d/%d in %d bytes", b, id, seq, len(b))
		}
	})
}

func TestRFC4443_3_3_QuotedRequest(t *testing.T) {
	request := []byte{128, 0, 0, 0, 0x12, 0x34, 0x00, 0x09}
	quoted := append(make([]byte, ipv6.HeaderLen), request...)
	for _, c := range []struct {
		body icmp.MessageBody
		ok   bool
	}{
		{&icmp.TimeExceeded{Data: quoted}, true},
		{&icmp.DstUnreach{Data: quoted}, true},
		{&icmp.TimeExceeded{Data: quoted[:len(quoted)-1]}, false},
		{&icmp.PacketTooBig{Data: quoted}, false},
	} {
		id, seq, ok := about(&icmp.Message{Body: c.body})
		if ok != c.ok || (ok && (id != 0x1234 || seq != 9)) {
			t.Errorf("%T: %#x %d %v", c.body, id, seq, ok)
		}
	}
}
