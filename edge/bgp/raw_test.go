package bgp_test

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/edge/bgp/bgptest"
	"hexapod.dev/model/announce"
)

// openRaw connects from ns as a router with the identifier 192.0.2.id.
func openRaw(t *testing.T, ns place, to string, id byte) net.Conn {
	t.Helper()
	var conn net.Conn
	eventually(t, "connected", func() (ok bool) {
		var err error
		conn, err = bgptest.Dial(t.Context(), ns.do, to, id)
		return err == nil
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

// passive is a peer at an address that is waited for.
func passive(name, addr string) announce.Peer {
	p := numbered(name)
	p.Addr, p.Passive, p.HoldSeconds, p.KeepaliveSeconds = netip.MustParseAddr(addr), true, 90, 30
	return p
}

// twoRouters is a host with two routers on one cable: one that behaves and one that does what the test wants.
func twoRouters(t *testing.T) (s *speaker, good, bad net.Conn, host, router place) {
	t.Helper()
	host, router = link(t)
	s = start(t, host)
	c := config(passive("bad", "2001:db8:f::2"), passive("good", "fe80::1"))
	c.Peers[1].Interface = "eth0"
	if r := s.tell(order{Config: c}); r.Err != "" {
		t.Fatal(r.Err)
	}
	bad, good = openRaw(t, router, "2001:db8:f::1", 2), openRaw(t, router, "fe80::a%swp1", 3)
	s.established("bad", "good")
	send(t, good, bgptest.Announce(netip.MustParseAddr("fe80::1"), pfx("2001:db8:a000:d01::/64")))
	eventually(t, "the good router's route taken", func() bool { return s.peer("good").Accepted == 1 })
	return s, good, bad, host, router
}

// unharmed proves that the good router's session and route are as they were.
func unharmed(t *testing.T, s *speaker, since time.Time) {
	t.Helper()
	r := s.tell(order{All: true})
	for _, p := range r.Peers {
		if p.Name == "good" && (p.State != bgp.Established || !p.Since.Equal(since)) {
			t.Errorf("the other peer was harmed: %+v", p)
		}
	}
	if hops := r.Routes[pfx("2001:db8:a000:d01::/64")]; len(hops) != 1 {
		t.Errorf("the other peer's route: %v", hops)
	}
}

// A peer that offers a million routes loses its session at the limit, and memory stays bounded.
func TestMillionRoutes(t *testing.T) {
	s, _, bad, _, _ := twoRouters(t)
	since := s.peer("good").Since
	before := s.tell(order{}).RSS
	hop := netip.MustParseAddr("2001:db8:f::2")
	bgptest.Many(bad, hop, pfx("2001:db8:a100::/40"), 1_000_000)
	eventually(t, "the session ended", func() bool { return s.peer("bad").State != bgp.Established })
	if p := s.peer("bad"); !strings.Contains(p.Why, "more than 1000 prefixes (maxPrefixes)") || p.Received != 0 {
		t.Errorf("%+v: want why, and nothing kept", p)
	}
	if p := s.peer("bad"); p.Ends[bgp.EndTooMany] != 1 {
		t.Errorf("ends of sessions %v, want one of too many prefixes", p.Ends)
	}
	unharmed(t, s, since)
	if grown := s.tell(order{}).RSS - before; grown > 40_000 {
		t.Errorf("memory grew by %d kB", grown)
	}
}

// RFC 7606: whatever bytes a peer sends, others go on, and what was wrong is shown.
func TestRFC7606_MalformedUpdates(t *testing.T) {
	t.Parallel()
	s, _, bad, _, router := twoRouters(t)
	since := s.peer("good").Since
	send(t, bad, bgptest.Malformed())
	eventually(t, "the error shown", func() bool { return s.peer("bad").LastError != "" })
	seed := rand.New(rand.NewPCG(1, 2)) // the same bytes in each run
	good := bgptest.Announce(netip.MustParseAddr("2001:db8:f::2"), pfx("2001:db8:a000:d02::/64"))
	for range 4 {
		bad.Close()
		bad = openRaw(t, router, "2001:db8:f::1", 2)
		for range 60 {
			if _, err := bad.Write(bgptest.Damage(good, seed)); err != nil {
				break
			}
		}
		unharmed(t, s, since)
	}
}
