package addressplan_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

// Three packages know the parts of a host prefix: the plan, who gives out addresses, and what a host should hold. They must
// mean the same addresses.
func TestPartsAgreeWithLayoutsAndHosts(t *testing.T) {
	for bits := 48; bits <= 126; bits++ {
		host := netip.PrefixFrom(netip.MustParseAddr("2001:db8:aaaa:5555:aaaa:5555:aaaa:5555"), bits).Masked()
		parts, err := addressplan.PartsOf(host)
		if err != nil {
			t.Fatal(err)
		}
		if a := desired.RouterAddr(host); a != parts.Router {
			t.Errorf("%s: the host has router address %s, the plan says %s", host, a, parts.Router)
		}
		layout, err := ipam.NewLayout(host, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := layout.Encode(ipam.Fields{Identity: ipam.IdentityHost, Sequence: 1, Counter: 1}); err != nil || a != parts.Router {
			t.Errorf("%s: the first address of identity 1 is %s, %v, the plan says %s", host, a, err, parts.Router)
		}
	}
}

// What can be given to an endpoint is an endpoint's for Locate, in every layout, readable and sealed.
func TestAllocationsAreEndpoints(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	key := make([]byte, ipam.SealKeySize)
	seal, err := ipam.NewSeal(key)
	if err != nil {
		t.Fatal(err)
	}
	lengths := addressplan.DefaultLengths()
	for _, c := range []struct {
		bits int
		seal *ipam.Seal
	}{{64, nil}, {64, seal}, {72, nil}, {80, nil}, {96, nil}, {112, nil}, {120, nil}} {
		lengths.Rack, lengths.Host = max(54, c.bits-20), c.bits
		p := addressplan.Plan{Name: "p", Prefix: netip.MustParsePrefix("2001:db8:a000::/37"), Lengths: lengths}
		host, err := p.HostPrefix(addressplan.Cluster{Number: 1}, 3, 7)
		if err != nil {
			t.Fatal(err)
		}
		layout, err := ipam.NewLayout(host, c.seal)
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		for range 20000 {
			f := ipam.Fields{Identity: 0x100 + uint16(r.UintN(0xff00)), Born: ipam.Seconds(r.Uint64N(1 << 31)), Sequence: uint16(r.Uint32()), Twin: r.IntN(2) == 1}
			switch {
			case c.bits > 80:
				f = ipam.Fields{Counter: r.Uint64N(1<<min(128-c.bits, 63)-2) + 2} // 0 and 1 are the host's
			case c.bits > 64:
				f = ipam.Fields{Identity: f.Identity, Twin: f.Twin, Counter: r.Uint64N(1 << 31)}
			}
			a, err := layout.Encode(f)
			if err != nil {
				continue
			}
			done++
			if l := p.Locate(a); l.Role != addressplan.RoleEndpoint || l.Host.Number != 7 {
				t.Fatalf("%s, sealed %v: allocation %s of %+v is located as %+v", host, c.seal != nil, a, f, l)
			}
		}
		if done < 15000 {
			t.Errorf("%s: only %d of 20000 could be encoded", host, done)
		}
	}
}
