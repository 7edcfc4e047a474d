package nat64

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/gateway"
	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// otherAddr is a second endpoint.
var otherAddr = netip.MustParseAddr("2001:db8:1::6")

// try opens a flow of an endpoint and wants eight bytes back. An ICMPv6 error 1/1 is unix.EACCES (icmpv6_err_convert).
func (b *bed) try(t *testing.T, network string, from netip.Addr, port uint16) (net.Conn, error) {
	t.Helper()
	var c net.Conn
	var err error
	netnstest.Do(t, b.endpoint, func() error {
		d := net.Dialer{Timeout: time.Minute}
		if d.LocalAddr = net.Addr(net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))); network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
		c, err = d.Dial(network+"6", six(port).String())
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return c, said(c)
}

// said says something and wants it back.
func said(c net.Conn) error {
	got := make([]byte, 8)
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("hexapod.")); err != nil {
		return err
	}
	if n, err := c.Read(got); err != nil || string(got[:n]) != "hexapod." {
		return fmt.Errorf("%q came back: %w", got[:n], err)
	}
	return nil
}

// refused wants new flows of an endpoint refused with ICMPv6 1/1, and counted by the reason.
func (b *bed) refused(t *testing.T, from netip.Addr, why nat64.Shortage, networks ...string) {
	t.Helper()
	before := b.translator.Status(0).Counts.Refused[why.String()]
	for _, network := range networks {
		if _, err := b.try(t, network, from, 7); !errors.Is(err, unix.EACCES) {
			t.Errorf("%s: one more flow: %v, want it prohibited", network, err)
		}
	}
	if n := b.translator.Status(0).Counts.Refused[why.String()]; n < before+uint64(len(networks)) {
		t.Errorf("refused because of %q: %d, after %d before", why, n, before)
	}
}

// A table that is full: flows that exist go on, all of them, and new ones are refused with ICMPv6 1/1 (RFC 6888 REQ-11, RFC 4443 3.1).
func TestRFC6888_REQ11_FullTable(t *testing.T) {
	for _, way := range []string{"slow", "early"} {
		t.Run(way, func(t *testing.T) {
			c := config()
			c.Bindings = 40
			b := newBedOf(t, way, c)
			b.listen(t, "tcp", 7)
			b.listen(t, "udp", 7)
			var old []net.Conn
			for i := range c.Bindings {
				conn, err := b.try(t, []string{"tcp", "udp"}[i%2], endpointAddr, 7)
				if err != nil {
					t.Fatalf("flow %d: %v", i, err)
				}
				old = append(old, conn)
			}
			for range 3 {
				b.refused(t, endpointAddr, nat64.TableFull, "tcp", "udp")
				for i, conn := range old {
					if err := said(conn); err != nil {
						t.Errorf("flow %d of those before: %v", i, err)
					}
				}
			}
		})
	}
}

// An endpoint at its quota harms no other: it is refused with ICMPv6 1/1, its own flows go on, and every flow of another one begins (RFC 6888 REQ-4).
func TestRFC6888_REQ4_QuotaHarmsNoOther(t *testing.T) {
	for _, way := range []string{"slow", "early"} {
		t.Run(way, func(t *testing.T) {
			c := config()
			c.Blocks = 1
			b := newBedOf(t, way, c)
			b.listen(t, "tcp", 7)
			b.listen(t, "udp", 7)
			netnstest.Run(t, b.endpoint, fmt.Sprintf("ip -6 addr add %s/64 dev eth0 nodad", otherAddr))
			var old []net.Conn
			for i := range nat64.BlockSize {
				conn, err := b.try(t, "udp", endpointAddr, 7)
				if err != nil {
					t.Fatalf("flow %d: %v", i, err)
				}
				old = append(old, conn)
			}
			b.refused(t, endpointAddr, nat64.AtQuota, "udp")
			for i := range 100 {
				if _, err := b.try(t, []string{"tcp", "udp"}[i%2], otherAddr, 7); err != nil {
					t.Errorf("flow %d of the other endpoint: %v", i, err)
				}
			}
			b.refused(t, endpointAddr, nat64.AtQuota, "udp")
			for i, conn := range old {
				if err := said(conn); err != nil {
					t.Errorf("flow %d of those before: %v", i, err)
				}
			}
		})
	}
}

// Who gave its addresses away has no block any more: a flow that another gateway hands to it, because that has not heard so yet, is not refused. The
// endpoint hears nothing, and its next segment finds the owner.
func TestWhoLeftRefusesNobody(t *testing.T) {
	f := newFabric(t)
	left, from := members[1], members[0]
	g := f.gates[left.At]
	c := g.config
	c.Leaving = true
	if err := g.Configure(c); err != nil {
		t.Fatal(err)
	}
	await(t, "it owns nothing any more", func() []*Translator { return []*Translator{g.Translator} }, func(list []*Together) bool { return list[0].Owns == 0 })
	for n := range end(endpoints) {
		raw, err := g.tun.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) { _, _ = unix.Write(int(fd), gateway.Wrap(from.At, left.At, flowSegment(n, syn))) }); err != nil {
			t.Fatal(err)
		}
	}
	want := xlat.Refused.String()
	await(t, "all are refused", func() []*Translator { return []*Translator{g.Translator} }, func([]*Together) bool { return g.Status(0).Counts.To4[want] == endpoints })
	if n := g.Status(0).Counts.Answers; n > 0 {
		t.Errorf("%d of %d endpoints are told", n, endpoints)
	}
	if got := f.reach(endpoints, syn, time.Minute); len(got) != endpoints {
		t.Errorf("%d of %d flows begin when their endpoints say it again", len(got), endpoints)
	}
}
