package bgp_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/prefix"
)

// A numbered session with AS 65538 (RFC 6793): routes both ways, IPv4 with IPv6 next hops (RFC 8950), our own and others' kept out.
func TestFRRNumbered(t *testing.T) {
	t.Parallel()
	host, router := link(t)
	f := startFRR(t, router, frrConfig("2001:db8:f::1", "  network ::/0\n  network 2001:db8:a000:c99::/64\n  network 2001:db8:ffff::/64"))
	s := start(t, host)
	if s.tell(order{}).Settled {
		t.Error("settled before anybody said who the peers are: routes of before would go")
	}
	c := config(numbered("tor"))
	c.Peers[0].Terms.Accept = append(c.Peers[0].Terms.Accept, prefix.Within(pfx("203.0.113.0/24")))
	c.Peers[0].Communities = []uint32{65001<<16 | 100}
	c.Peers[0].Large = [][3]uint32{{4200000001, 1, 2}}
	c.Own = []netip.Prefix{pfx("2001:db8:a000:c99::/64")}
	c.Announce = append(c.Announce, announce.Route{Prefix: pfx("203.0.113.10/32"), Purpose: announce.PurposeFixed})
	if r := s.tell(order{Config: c}); r.Err != "" {
		t.Fatal(r.Err)
	}
	s.established("tor")
	eventually(t, "our prefix in FRR's kernel", func() bool {
		return strings.Contains(f.kernel(), "2001:db8:a000:c12::/64 via fe80::a") || strings.Contains(f.kernel(), "2001:db8:a000:c12::/64")
	})
	eventually(t, "our IPv4 address in FRR", func() bool { return strings.Contains(f.show("show bgp ipv4 unicast"), "203.0.113.10/32") })
	if out := f.show("show bgp ipv6 unicast 2001:db8:a000:c12::/64 json"); !strings.Contains(out, "65001:100") || !strings.Contains(out, "4200000001:1:2") {
		t.Errorf("communities are missing: %s", out)
	}
	eventually(t, "all offers heard", func() bool { return s.peer("tor").Received == 8 })
	want := map[string]announce.Why{
		"::/0": announce.WhyDefault, "2001:db8:a000:c99::/64": announce.WhyOwn, "2001:db8:ffff::/64": announce.WhyNotAccepted,
		"2001:db8:a000:d01::/64": "", "2001:db8:a000:d02::/64": "", "203.0.113.0/24": "",
		"2001:db8:a000:c12::/64": announce.WhyLoop, "203.0.113.10/32": announce.WhyLoop, // FRR tells them back to whom it has them from
	}
	r := s.tell(order{All: true})
	for _, o := range r.Offers {
		if why, ok := want[o.Prefix.String()]; !ok || o.Why != why || o.Used != (why == "") {
			t.Errorf("%s: %q, used %t; want %q", o.Prefix, o.Why, o.Used, why)
		}
	}
	eventually(t, "3 accepted, 5 rejected, 2 sent", func() bool { p := s.peer("tor"); return p.Accepted == 3 && p.Rejected == 5 && p.Sent == 2 })
	eventually(t, "3 routes told", func() bool { r = s.tell(order{All: true}); return len(r.Routes) == 3 && len(r.Learned) == 3 })
	if hop := r.Routes[pfx("2001:db8:a000:d01::/64")]; len(hop) != 1 || hop[0].Via != netip.MustParseAddr("2001:db8:f::2") {
		t.Errorf("routes %v", r.Routes)
	}
	eventually(t, "settled", func() bool { return s.tell(order{}).Settled })

	// What may come changes without a new session.
	since := s.peer("tor").Since
	c.Peers[0].Terms.AllowDefault = true
	s.tell(order{Config: c})
	eventually(t, "the default taken", func() bool { r := s.tell(order{All: true}); return len(r.Learned[pfx("::/0")]) == 1 })
	eventually(t, "the default counted", func() bool { return s.peer("tor").Accepted == 4 })
	if p := s.peer("tor"); p.Since != since {
		t.Errorf("%+v: the session was broken", p)
	}

	// Leaving: nothing is announced, then Cease. The router forgets at once.
	c.Announce = nil
	s.tell(order{Config: c})
	eventually(t, "withdrawn", func() bool {
		return !strings.Contains(f.show("show bgp ipv6 unicast"), "c12::/64 2001:db8:f::1") && f.kernel() == ""
	})
	s.tell(order{Config: &bgp.Config{}})
	eventually(t, "FRR told", func() bool {
		return strings.Contains(f.show("show bgp neighbor 2001:db8:f::1"), "Notification received (Cease")
	})
	if r := s.tell(order{All: true}); len(r.Peers) != 0 || len(r.Routes) != 0 {
		t.Errorf("after leaving: %+v", r)
	}
	eventually(t, "all learned routes told gone", func() bool { return len(s.tell(order{All: true}).Learned) == 0 })
}

// Each of two routers gets its own communities (RFC 1997, RFC 8092), which change without a new session.
func TestFRRCommunitiesOfEachPeer(t *testing.T) {
	t.Parallel()
	host, routers := newPlace(t), []place{newPlace(t), newPlace(t)}
	var shows []func() string
	for i, ns := range routers {
		cable(t, host, ns, fmt.Sprintf("eth%d", i), "swp1", i)
		f := startFRR(t, ns, frrConfig(fmt.Sprintf("2001:db8:f:%d::1", i), ""))
		shows = append(shows, func() string { return f.show("show bgp ipv6 unicast 2001:db8:a000:c12::/64") })
	}
	s := start(t, host)
	c := config(numbered("a"), numbered("b"))
	c.Peers[1].Addr = netip.MustParseAddr("2001:db8:f:1::2")
	c.Peers[0].Communities, c.Peers[1].Large = []uint32{65001<<16 | 100}, [][3]uint32{{4200000001, 1, 2}}
	s.tell(order{Config: c})
	s.established("a", "b")
	const one, two, other = "Community: 65001:100", "Large Community: 4200000001:1:2", "Community: 65001:7"
	got := func(i int, has, hasNot string) func() bool {
		return func() bool { out := shows[i](); return strings.Contains(out, has) && !strings.Contains(out, hasNot) }
	}
	eventually(t, "the first has the community", got(0, one, two))
	eventually(t, "the second has the large one", got(1, two, one))

	since := s.peer("a").Since
	c.Peers[0].Communities = []uint32{65001<<16 | 7}
	s.tell(order{Config: c})
	eventually(t, "the first has the new community", got(0, other, one))
	eventually(t, "the second has what it had", got(1, two, other))
	if p := s.peer("a"); p.Since != since {
		t.Errorf("%+v: the session was broken", p)
	}
}

// RFC 4724: a killed speaker's routes stay; when it comes back with half of them, the other half goes.
func TestFRRGracefulRestart(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"killed", "ended"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			host, router := link(t)
			f := startFRR(t, router, frrConfig("2001:db8:f::1", ""))
			s := start(t, host)
			c := config(numbered("tor"))
			c.Announce = hosts(10)
			s.tell(order{Config: c})
			s.established("tor")
			count := func() int { return strings.Count(f.kernel(), "2001:db8:a000:c") }
			eventually(t, "10 routes in the kernel", func() bool { return count() == 10 })
			if way == "killed" {
				s.kill()
			} else {
				s.end()
			}
			eventually(t, "FRR helping", func() bool {
				return strings.Contains(f.show("show bgp ipv6 unicast"), "S ") || strings.Contains(f.show("show bgp ipv6 unicast"), "S*")
			})
			if n := count(); n != 10 {
				t.Fatalf("%d routes kept, want 10", n)
			}
			again := start(t, host)
			c.Announce = hosts(5)
			again.tell(order{Config: c})
			least := 10
			eventually(t, "the stale half gone", func() bool { n := count(); least = min(least, n); return n == 5 })
			if least != 5 {
				t.Errorf("at one moment only %d routes were there", least)
			}
		})
	}
}

// Sessions over link-local addresses: the router finds us by our advertisements, which another daemon sends here.
func TestFRRUnnumbered(t *testing.T) {
	t.Parallel()
	host, router := link(t)
	host.run("ip addr del 2001:db8:f::1/64 dev eth0")
	router.run("ip addr del 2001:db8:f::2/64 dev swp1")
	advertise(t, host, "eth0")
	f := startFRR(t, router, frrConfig("swp1", ""))
	s := start(t, host)
	eventually(t, "a word that the peer is not heard", func() bool { // it is remembered, and no error, until the speaker runs
		r := s.tell(order{Config: config(unnumbered("tor", "eth0"))})
		return strings.Contains(r.Err, "peer tor: no router advertisement is heard on eth0") && r.Peers[0].State == bgp.Searching
	})
	s.tell(order{Heard: map[string]netip.Addr{"eth0": netip.MustParseAddr("fe80::1")}})
	s.established("tor")
	// Both sides connect, and one of two sessions at the same time ends (RFC 4271 6.8): what is there may go once more.
	eventually(t, "our prefix in FRR's kernel, by our link-local address", func() bool {
		return strings.Contains(f.kernel(), "2001:db8:a000:c12::/64 ") && strings.Contains(f.kernel(), "via fe80::a dev swp1")
	})
	eventually(t, "routes heard, by the router's link-local address", func() bool {
		hop := s.tell(order{All: true}).Routes[pfx("2001:db8:a000:d01::/64")]
		return s.peer("tor").Accepted == 2 && len(hop) == 1 && hop[0].String() == "fe80::1 dev eth0"
	})

	// The router's address changes: the session heals to the new one.
	router.run("ip addr del fe80::1/64 dev swp1")
	router.run("ip addr add fe80::2/64 dev swp1 nodad")
	s.tell(order{Heard: map[string]netip.Addr{"eth0": netip.MustParseAddr("fe80::2")}})
	eventually(t, "healed", func() bool {
		r := s.tell(order{All: true})
		hop := r.Routes[pfx("2001:db8:a000:d01::/64")]
		return len(hop) == 1 && hop[0].Via == netip.MustParseAddr("fe80::2")
	})
}
