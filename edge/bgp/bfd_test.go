package bgp_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/model/announce"
)

// A path that goes dead without a word is found by BFD (RFC 5880 6.8.4, RFC 5881), with a hold time that would take a minute and a
// half: both sides let go of the other's routes. When the path is back, so is the session.
func TestRFC5881_DeadPath(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name   string
		peer   announce.Peer
		router func(*testing.T, place) (up func() bool)
	}{
		{"FRR", numbered("tor"), frrWithBFD("2001:db8:f::1")},
		{"FRR unnumbered", unnumbered("tor", "eth0"), frrWithBFD("swp1")},
		{"BIRD", numbered("tor"), birdWithBFD("neighbor 2001:db8:f::1 as 4200000101;")},
		{"BIRD unnumbered", unnumbered("tor", "eth0"), birdWithBFD("neighbor fe80::a%swp1 as 4200000101;")},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			host, router := link(t)
			if way.peer.Unnumbered() {
				advertise(t, host, "eth0")
			}
			up := way.router(t, router)
			s := start(t, host)
			p := way.peer
			p.HoldSeconds, p.KeepaliveSeconds = 90, 30
			p.BFD = &announce.BFD{IntervalMillis: 300, Multiplier: 5}
			s.tell(order{Config: config(p), Heard: map[string]netip.Addr{"eth0": netip.MustParseAddr("fe80::1")}})
			s.established("tor")
			taken := func() int { return len(s.tell(order{All: true}).Learned) }
			eventually(t, "routes taken", func() bool { return taken() == 2 })
			eventually(t, "BFD up on the router's side", up)
			looks := 0
			eventually(t, "a session that BFD does not break", func() bool {
				if looks++; s.peer("tor").State != bgp.Established {
					looks = 0
				}
				return looks == 20 && taken() == 2
			})
			start := time.Now()
			cut(router)
			eventually(t, "our side without its routes", func() bool { return taken() == 0 })
			t.Logf("routes gone %v after the path", time.Since(start).Round(time.Millisecond))
			eventually(t, "the router's side without ours", func() bool {
				return !strings.Contains(router.run("ip -6 route show"), "2001:db8:a000:c12::/64")
			})
			router.run("nft delete table inet cut")
			s.established("tor")
			eventually(t, "routes taken again", func() bool { return taken() == 2 })
		})
	}
}

// cut drops everything in both directions, the links stay up.
func cut(ns place) {
	ns.run("nft add table inet cut")
	ns.run("nft add chain inet cut in { type filter hook prerouting priority -300 ; policy drop ; }")
	ns.run("nft add chain inet cut out { type filter hook output priority -300 ; policy drop ; }")
}

func frrWithBFD(neighbor string) func(*testing.T, place) func() bool {
	return func(t *testing.T, router place) func() bool {
		text := strings.Replace(frrConfig(neighbor, ""), " no bgp default ipv4-unicast\n",
			" no bgp default ipv4-unicast\n bgp timers 30 90\n", 1)
		text = strings.Replace(text, " address-family ipv6 unicast\n", " neighbor "+neighbor+" bfd\n address-family ipv6 unicast\n", 1)
		f := startFRR(t, router, text, "bfdd")
		return func() bool { return strings.Contains(f.show("show bfd peers"), "Status: up") }
	}
}

func birdWithBFD(neighbor string) func(*testing.T, place) func() bool {
	return func(t *testing.T, router place) func() bool {
		b := startBIRD(t, router, birdConfig(neighbor+" bfd on; hold time 90; error wait time 1, 2; connect delay time 1; connect retry time 1;")+
			"protocol bfd { interface \"swp1\" { interval 300 ms; multiplier 5; }; }\n")
		return func() bool { return strings.Contains(b.show("show bfd sessions"), "Up") }
	}
}
