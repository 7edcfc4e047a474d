package agent_test

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/cni"
	"hexapod.dev/model/desired"
)

// TestKernelDrops follows drops and sends datagrams to closed ports of two endpoints: one was there before, the other is made meanwhile. The
// kernel's reason is told, and behind which link. Nothing is told of the namespace of an endpoint that was deleted.
func TestKernelDrops(t *testing.T) {
	h := newHost(t)
	h.configure(plan)
	a := h.start()
	before, meanwhile := h.endpoint("before"), h.endpoint("meanwhile")
	for _, q := range []cni.Request{before, meanwhile} { // as a runtime does
		within(t, q.NetNS, func() error { return exec.Command("ip", "link", "set", "lo", "up").Run() })
	}
	given, err := a.Add(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan local.Drop, 1)
	following, enough := context.WithTimeout(t.Context(), time.Minute)
	defer enough()
	go func() {
		_ = h.client().FollowDrops(following, func(d local.Drop) error { // ends with following
			if d.Place == "kernel" && d.To.Port() >= 4240 && d.To.Port() < 4250 {
				told <- d
			}
			return nil
		})
	}()
	send := func(path string, to netip.AddrPort) {
		within(t, path, func() error {
			c, err := net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(to))
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte("hello"))
			return err
		})
	}
	hear := func(path string, to netip.AddrPort) local.Drop {
		for {
			send(path, to) // again, until somebody listens
			select {
			case d := <-told:
				if d.To.Port() == 4242 {
					t.Errorf("of an endpoint that is gone: %+v", d)
				}
				if d.To == to {
					return d
				}
			case <-time.After(100 * time.Millisecond):
			case <-following.Done():
				t.Fatalf("the drop of a datagram to %s was not told", to)
			}
		}
	}

	d := hear(before.NetNS, netip.AddrPortFrom(given.Addrs[0], 4240))
	if d.Why != "NO_SOCKET" || d.Function == "" || d.Link != desired.LinkName(before.Key) || d.Proto != 17 {
		t.Errorf("of an endpoint that was there: %+v", d)
	}
	if given, err = a.Add(t.Context(), meanwhile); err != nil {
		t.Fatal(err)
	}
	d = hear(meanwhile.NetNS, netip.AddrPortFrom(given.Addrs[0], 4241))
	if d.Link != desired.LinkName(meanwhile.Key) {
		t.Errorf("of an endpoint that was made meanwhile: %+v", d)
	}
	if err := a.Del(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	send(before.NetNS, netip.AddrPortFrom(netip.IPv6Loopback(), 4242))
	hear(meanwhile.NetNS, netip.AddrPortFrom(given.Addrs[0], 4243))
}
