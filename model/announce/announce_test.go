package announce_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/prefix"
)

var opaque = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestForHost(t *testing.T) {
	host := announce.Host{
		Own:   []netip.Prefix{pfx("2001:db8:a000:c12::/64"), pfx("2001:db8:a000:c12::/64")},
		Pools: []netip.Prefix{pfx("2001:db8:a000:3::/64")},
		Held:  slices.Values(addrs("2001:db8:a000:3::80", "2001:db8:a000:c12:1a7::3", "2001:db8:ffff::1", "2001:db8:a000:3::7")),
	}
	own, seven, eighty, stray := pfx("2001:db8:a000:c12::/64"), pfx("2001:db8:a000:3::7/128"), pfx("2001:db8:a000:3::80/128"), pfx("2001:db8:ffff::1/128")
	translator := []announce.Route{{Prefix: pfx("64:ff9b::/96"), Purpose: announce.PurposeNAT64}, {Prefix: pfx("45.66.0.1/32"), Purpose: announce.PurposeNAT64, Path: []uint32{64512}}}
	for _, c := range []struct {
		name     string
		with     func(*announce.Host)
		routes   []announce.Route
		withheld []announce.Withheld
	}{
		{"in service: its prefix once, fixed addresses, no others", func(*announce.Host) {},
			[]announce.Route{{Prefix: seven, Purpose: announce.PurposeFixed}, {Prefix: eighty, Purpose: announce.PurposeFixed}, {Prefix: own, Purpose: announce.PurposeHost}},
			[]announce.Withheld{{stray, announce.WhyNoPool}}},
		{"services leave first", func(h *announce.Host) { h.Drain = announce.ServicesLeaving },
			[]announce.Route{{Prefix: seven, Purpose: announce.PurposeFixed, Leaving: true}, {Prefix: eighty, Purpose: announce.PurposeFixed, Leaving: true}, {Prefix: own, Purpose: announce.PurposeHost}},
			[]announce.Withheld{{stray, announce.WhyNoPool}}},
		{"then everything", func(h *announce.Host) { h.Drain = announce.Leaving }, nil,
			[]announce.Withheld{{seven, announce.WhyDraining}, {eighty, announce.WhyDraining}, {own, announce.WhyDraining}, {stray, announce.WhyNoPool}}},
		{"retired", func(h *announce.Host) { h.Retired = true }, nil,
			[]announce.Withheld{{seven, announce.WhyHostGone}, {eighty, announce.WhyHostGone}, {own, announce.WhyHostGone}, {stray, announce.WhyNoPool}}},
		{"nothing held", func(h *announce.Host) { h.Held = nil }, []announce.Route{{Prefix: own, Purpose: announce.PurposeHost}}, nil},
		{"a prefix of the link: nothing of it, and nothing said of each endpoint",
			func(h *announce.Host) { h.OnLink, h.Own = h.Own[:1], nil },
			[]announce.Route{{Prefix: seven, Purpose: announce.PurposeFixed}, {Prefix: eighty, Purpose: announce.PurposeFixed}},
			[]announce.Withheld{{own, announce.WhyOnLink}, {stray, announce.WhyNoPool}}},
		{"a translator", func(h *announce.Host) {
			h.Held, h.NAT64 = nil, translator
		},
			[]announce.Route{{Prefix: pfx("45.66.0.1/32"), Purpose: announce.PurposeNAT64, Path: []uint32{64512}}, {Prefix: pfx("64:ff9b::/96"), Purpose: announce.PurposeNAT64}, {Prefix: own, Purpose: announce.PurposeHost}}, nil},
		{"a translator leaves before its host", func(h *announce.Host) {
			h.Held, h.NAT64, h.Drain = nil, translator, announce.ServicesLeaving
		},
			[]announce.Route{{Prefix: own, Purpose: announce.PurposeHost}},
			[]announce.Withheld{{pfx("45.66.0.1/32"), announce.WhyDraining}, {pfx("64:ff9b::/96"), announce.WhyDraining}}},
		{"no prefix", func(h *announce.Host) { h.Own, h.Held = []netip.Prefix{{}}, nil }, nil, nil},
	} {
		h := host
		c.with(&h)
		routes, withheld := announce.ForHost(h)
		if d := cmp.Diff(c.routes, routes, opaque); d != "" {
			t.Errorf("%s: announced: -want +got\n%s", c.name, d)
		}
		if d := cmp.Diff(c.withheld, withheld, opaque); d != "" {
			t.Errorf("%s: withheld: -want +got\n%s", c.name, d)
		}
	}
}

func TestForAggregate(t *testing.T) {
	rack, one, two := pfx("2001:db8:a000:c00::/54"), pfx("2001:db8:a000:c01::/64"), pfx("2001:db8:a000:c02::/64")
	members := func(reached ...bool) []announce.Member {
		return []announce.Member{{one, reached[0]}, {two, reached[1]}}
	}
	whole := announce.Route{Prefix: rack, Purpose: announce.PurposeAggregate}
	part := func(p netip.Prefix) announce.Route { return announce.Route{Prefix: p, Purpose: announce.PurposeMember} }
	for _, c := range []struct {
		name     string
		a        announce.Aggregate
		routes   []announce.Route
		withheld []announce.Withheld
	}{
		{"one route for the rack", announce.Aggregate{Members: members(true, true)}, []announce.Route{whole}, nil},
		{"alone: a lost host is lost anyway", announce.Aggregate{Members: members(true, false)}, []announce.Route{whole}, nil},
		{"nothing reached", announce.Aggregate{Members: members(false, false)}, nil, []announce.Withheld{{rack, announce.WhyNoMembers}}},
		{"two ToRs, all reached", announce.Aggregate{Members: members(true, true), Shared: true}, []announce.Route{whole}, nil},
		{"two ToRs, one host lost here", announce.Aggregate{Members: members(true, false), Shared: true},
			[]announce.Route{part(one)}, []announce.Withheld{{rack, announce.WhyMemberLost}}},
		{"two ToRs, one host lost, the other ToR announces its /64", announce.Aggregate{Members: members(true, false), Shared: true, Specifics: true},
			[]announce.Route{whole, part(one)}, nil},
		{"no members", announce.Aggregate{}, nil, []announce.Withheld{{rack, announce.WhyNoMembers}}},
	} {
		c.a.Prefix = rack
		routes, withheld := announce.ForAggregate(c.a)
		if d := cmp.Diff(c.routes, routes, opaque); d != "" {
			t.Errorf("%s: announced: -want +got\n%s", c.name, d)
		}
		if d := cmp.Diff(c.withheld, withheld, opaque); d != "" {
			t.Errorf("%s: withheld: -want +got\n%s", c.name, d)
		}
		for _, r := range routes {
			if r.Discard() != (r.Prefix == rack) {
				t.Errorf("%s: discard route under %s: %t", c.name, r.Prefix, r.Discard())
			}
		}
	}
}

// A drain withdraws in steps and never brings a route back.
func TestDrainOnlyTakesAway(t *testing.T) {
	h := announce.Host{Own: []netip.Prefix{pfx("2001:db8:a000:c12::/64")}, Pools: []netip.Prefix{pfx("2001:db8:a000:3::/64")},
		Held: slices.Values(addrs("2001:db8:a000:3::7", "2001:db8:a000:3::8"))}
	before, _ := announce.ForHost(h)
	for _, d := range []announce.Drain{announce.ServicesLeaving, announce.Leaving} {
		h.Drain = d
		now, _ := announce.ForHost(h)
		for _, r := range now {
			if !slices.ContainsFunc(before, func(b announce.Route) bool { r := r; r.Leaving = b.Leaving; return r.Equal(b) }) {
				t.Errorf("step %d announces %s anew", d, r.Prefix)
			}
		}
		if len(inFull(now)) >= len(inFull(before)) {
			t.Errorf("step %d takes nothing away", d)
		}
		before = now
	}
}

// inFull is what is told without reserve.
func inFull(routes []announce.Route) []announce.Route {
	return slices.DeleteFunc(slices.Clone(routes), func(r announce.Route) bool { return r.Leaving })
}

func TestDecide(t *testing.T) {
	im := announce.Import{ASN: 65001, Own: prefix.NewSet(pfx("2001:db8:a000:c12::/64"), pfx("2001:db8:a000:3::7/128"))}
	fabric := announce.Terms{Accept: announce.DefaultAccept(pfx("2001:db8:a000::/37"), []netip.Prefix{pfx("3fff:e::/48")}, []netip.Prefix{{}})}
	trusted := fabric
	trusted.AllowDefault = true
	hop := desired.NextHop{Via: netip.MustParseAddr("fe80::1"), Link: "eth0"}
	for _, c := range []struct {
		name, offer string
		terms       announce.Terms
		hop         desired.NextHop
		path        []uint32
		want        announce.Why
	}{
		{"a host of the fabric", "2001:db8:a000:c13::/64", fabric, hop, []uint32{65002}, ""},
		{"the fabric itself", "2001:db8:a000::/37", fabric, hop, nil, ""},
		{"a fabric known by the plan", "3fff:e:0:1::/64", fabric, hop, nil, ""},
		{"around our own", "2001:db8:a000:c00::/54", fabric, hop, nil, ""},
		{"our own", "2001:db8:a000:c12::/64", fabric, hop, nil, announce.WhyOwn},
		{"inside our own", "2001:db8:a000:c12:1a7::3/128", fabric, hop, nil, announce.WhyInsideOwn},
		{"our fixed address", "2001:db8:a000:3::7/128", fabric, hop, nil, announce.WhyOwn},
		{"the fixed address of another", "2001:db8:a000:3::8/128", fabric, hop, nil, ""},
		{"default", "::/0", fabric, hop, nil, announce.WhyDefault},
		{"default of a named peer", "::/0", trusted, hop, nil, ""},
		{"default of IPv4", "0.0.0.0/0", fabric, hop, nil, announce.WhyDefault},
		{"half of the default", "::/1", trusted, hop, nil, announce.WhyNotAccepted},
		{"somebody's", "2001:db8:ffff::/64", fabric, hop, nil, announce.WhyNotAccepted},
		{"wider than the fabric", "2001:db8:8000::/33", fabric, hop, nil, announce.WhyNotAccepted},
		{"RFC 8212: nothing without terms", "2001:db8:a000:c13::/64", announce.Terms{}, hop, nil, announce.WhyNotAccepted},
		{"RFC 4271 9.1.2: a loop", "2001:db8:a000:c13::/64", fabric, hop, []uint32{65002, 65001}, announce.WhyLoop},
		{"next hop unspecified", "2001:db8:a000:c13::/64", fabric, desired.NextHop{Via: netip.IPv6Unspecified()}, nil, announce.WhyNextHop},
		{"next hop multicast", "2001:db8:a000:c13::/64", fabric, desired.NextHop{Via: netip.MustParseAddr("ff02::1")}, nil, announce.WhyNextHop},
		{"next hop without link", "2001:db8:a000:c13::/64", fabric, desired.NextHop{Via: hop.Via}, nil, announce.WhyNextHop},
		{"no next hop", "2001:db8:a000:c13::/64", fabric, desired.NextHop{}, nil, announce.WhyNextHop},
		{"RFC 8950: IPv4 over IPv6", "203.0.113.10/32", announce.Terms{Accept: announce.Within(pfx("203.0.113.0/24"))}, hop, nil, ""},
		{"IPv4 over IPv4", "203.0.113.10/32", announce.Terms{Accept: announce.Within(pfx("203.0.113.0/24"))},
			desired.NextHop{Via: netip.MustParseAddr("192.0.2.1")}, nil, announce.WhyIPv4Only},
	} {
		got := im.Decide(c.terms, announce.Offer{Prefix: pfx(c.offer), NextHop: c.hop, ASPath: c.path})
		if got != c.want {
			t.Errorf("%s: %s: %q, want %q", c.name, c.offer, got, c.want)
		}
	}
	if why := (announce.Import{}).Decide(announce.Terms{}, announce.Offer{Prefix: pfx("2001:db8::/64"), NextHop: hop}); why == "" {
		t.Error("the zero value takes a prefix")
	}
}

func TestNextHops(t *testing.T) {
	hop := func(a, l string) desired.NextHop { return desired.NextHop{Via: netip.MustParseAddr(a), Link: l} }
	a, b, c := hop("fe80::1", "eth0"), hop("fe80::1", "eth1"), hop("2001:db8::1", "")
	offer := func(h desired.NextHop, origin uint8, path ...uint32) announce.Offer {
		return announce.Offer{NextHop: h, Origin: origin, ASPath: path}
	}
	for _, x := range []struct {
		name   string
		offers []announce.Offer
		want   []desired.NextHop
	}{
		{"none", nil, nil},
		{"two ToRs with AS numbers of their own share", []announce.Offer{offer(b, 0, 1, 9), offer(a, 0, 2, 9)}, []desired.NextHop{a, b}},
		{"RFC 4271 9.1.2.2 a: the shorter path", []announce.Offer{offer(b, 0, 1, 9), offer(a, 0, 9)}, []desired.NextHop{a}},
		{"RFC 4271 9.1.2.2 b: the lower origin", []announce.Offer{offer(c, 0, 1), offer(a, 2, 1)}, []desired.NextHop{c}},
		{"the same next hop twice", []announce.Offer{offer(a, 0, 1), offer(a, 0, 2)}, []desired.NextHop{a}},
	} {
		if d := cmp.Diff(x.want, announce.NextHops(x.offers), opaque); d != "" {
			t.Errorf("%s: -want +got\n%s", x.name, d)
		}
	}
}
