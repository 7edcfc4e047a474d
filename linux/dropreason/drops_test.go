package dropreason_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"hexapod.dev/linux/dropreason"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// behind is what the tests call the link that leads to a namespace; no packet is needed for it.
const behind = 77

// heard follows the drops of namespaces until one is wanted, and returns it.
func heard(t *testing.T, e *dropreason.Ears, cause func(), wanted func(dropreason.Drop) bool) dropreason.Drop {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	found := errors.New("found")
	var got dropreason.Drop
	done := make(chan error, 1)
	go func() {
		done <- e.Follow(ctx, func(d dropreason.Drop) error {
			t.Log(d)
			if wanted(d) {
				got = d
				return found
			}
			return nil
		})
	}()
	cause()
	if err := <-done; !errors.Is(err, found) {
		t.Fatalf("the drop was not told: %v", err)
	}
	return got
}

func open(t *testing.T) *dropreason.Ears {
	t.Helper()
	e, err := dropreason.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// space makes a namespace whose loopback has addr, and has it listened to.
func space(t *testing.T, e *dropreason.Ears) *netns.NS {
	t.Helper()
	ns := netnstest.New(t)
	netnstest.Run(t, ns, "ip link set lo up")
	id, err := ns.ID()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Add(id, behind); err != nil {
		t.Fatal(err)
	}
	return ns
}

// send sends one datagram from the loopback address to port of it.
func send(t *testing.T, ns *netns.NS, port uint16) {
	t.Helper()
	netnstest.Do(t, ns, func() error {
		c, err := net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), port)))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(make([]byte, 100))
		return err
	})
}

func TestReasonOfAClosedPort(t *testing.T) {
	netnstest.Root(t)
	e := open(t)
	ns := space(t, e)
	d := heard(t, e, func() { send(t, ns, 4242) }, func(d dropreason.Drop) bool { return d.DstPort == 4242 })
	if d.Reason != "NO_SOCKET" || d.Function == "" || d.Link != behind || d.Proto != 17 || d.Src != netip.IPv6Loopback() || d.Dst != netip.IPv6Loopback() || d.Length < 100 {
		t.Errorf("told of a datagram to a closed port: %+v", d)
	}
}

func TestReasonOfAFilter(t *testing.T) {
	netnstest.Root(t)
	e := open(t)
	ns := space(t, e)
	netnstest.Run(t, ns, "nft add table inet t ; add chain inet t in { type filter hook input priority 0 ; } ; add rule inet t in udp dport 4243 drop")
	d := heard(t, e, func() { send(t, ns, 4243) }, func(d dropreason.Drop) bool { return d.DstPort == 4243 })
	if d.Reason != "NETFILTER_DROP" {
		t.Errorf("told of a datagram that a filter dropped: %+v", d)
	}
}

// TestOtherNamespacesAreNotTold has one namespace drop what nobody asked about, and the one that was removed, before the one that is listened to.
func TestOtherNamespacesAreNotTold(t *testing.T) {
	netnstest.Root(t)
	e := open(t)
	removed := space(t, e)
	if err := e.Remove(behind); err != nil {
		t.Fatal(err)
	}
	ns, other := space(t, e), netnstest.New(t)
	netnstest.Run(t, other, "ip link set lo up")
	d := heard(t, e, func() {
		send(t, other, 4244)
		send(t, removed, 4245)
		send(t, ns, 4246)
	}, func(dropreason.Drop) bool { return true })
	if d.DstPort != 4246 {
		t.Errorf("told of a namespace that is not listened to: %+v", d)
	}
}
