package bgp_test

import (
	"net/netip"
	"strings"
	"testing"
)

// birdConfig is a BIRD of AS 65538 that offers two prefixes and knows the host as neighbor says.
func birdConfig(neighbor string) string {
	return `router id 192.0.2.1;
protocol device { scan time 1; }
protocol static { ipv6; route 2001:db8:a000:d01::/64 blackhole; route 2001:db8:a000:d02::/64 blackhole; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
protocol bgp host {
	local as 65538;
	graceful restart on;
	` + neighbor + `
	ipv6 { import all; export where source = RTS_STATIC; };
}
`
}

// Sessions with BIRD: over link-local addresses, and signed (RFC 2385) with packets from far away refused (RFC 5082).
func TestBIRD(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name, neighbor string
		config         func() order
		hop            string
	}{
		{"unnumbered", `neighbor fe80::a%swp1 as 4200000101;`, func() order {
			return order{Config: config(unnumbered("tor", "eth0")), Heard: map[string]netip.Addr{"eth0": netip.MustParseAddr("fe80::1")}}
		}, "fe80::1 dev eth0"},
		{"RFC2385_RFC5082", `neighbor 2001:db8:f::1 as 4200000101; password "open sesame"; ttl security on;`, func() order {
			c := config(numbered("tor"))
			c.Peers[0].Password, c.Peers[0].GTSM = "open sesame", true
			return order{Config: c}
		}, "2001:db8:f::2 dev "},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			host, router := link(t)
			b := startBIRD(t, router, birdConfig(way.neighbor))
			s := start(t, host)
			s.tell(way.config())
			s.established("tor")
			eventually(t, "our prefix in BIRD", func() bool { return strings.Contains(b.show("show route"), "2001:db8:a000:c12::/64") })
			eventually(t, "routes heard, by "+way.hop, func() bool {
				hop := s.tell(order{All: true}).Routes[pfx("2001:db8:a000:d01::/64")]
				return s.peer("tor").Accepted == 2 && len(hop) == 1 && hop[0].String() == way.hop
			})
			s.kill()
			eventually(t, "BIRD helping", func() bool {
				return strings.Contains(b.show("show protocols all host"), "LLGR") || !strings.Contains(b.show("show protocols host"), "Established")
			})
			if out := b.show("show route"); !strings.Contains(out, "2001:db8:a000:c12::/64") {
				t.Errorf("a killed speaker's route is gone: %s", out)
			}
		})
	}
}
