package desired_test

import (
	"net/netip"
	"slices"
	"testing"

	"hexapod.dev/model/desired"
)

func TestSizes(t *testing.T) {
	const big = 262144
	for name, c := range map[string]struct {
		on    bool
		facts desired.Facts
		want  desired.Sizes
		route int
		why   []desired.Why
	}{
		"off":                  {false, desired.Facts{"a": {Up: true, MTU: 1500, Segments: big}}, desired.Sizes{MTU: 1500, Segments: desired.PlainSegments}, 0, nil},
		"on":                   {true, desired.Facts{"a": {Up: true, MTU: 1500, Segments: big}}, desired.Sizes{MTU: 1500, Segments: big}, 1492, nil},
		"the smallest":         {true, desired.Facts{"a": {Up: true, MTU: 1500, Segments: 2 * big}, "b": {Up: true, MTU: 1500, Segments: big}}, desired.Sizes{MTU: 1500, Segments: big}, 1492, nil},
		"one cannot":           {true, desired.Facts{"a": {Up: true, MTU: 1500, Segments: big}, "b": {Up: true, MTU: 1500, Segments: desired.PlainSegments}}, desired.Sizes{MTU: 1500, Segments: desired.PlainSegments}, 0, []desired.Why{desired.UplinkPlain}},
		"room for a byte":      {true, desired.Facts{"a": {Up: true, MTU: 1288, Segments: big}}, desired.Sizes{MTU: 1288, Segments: big}, 1280, nil},
		"no room (RFC 8200 5)": {true, desired.Facts{"a": {Up: true, MTU: 1287, Segments: big}}, desired.Sizes{MTU: 1287, Segments: desired.PlainSegments}, 0, []desired.Why{desired.UplinkNoRoom}},
		"nothing is known":     {true, desired.Facts{}, desired.Sizes{Segments: desired.PlainSegments}, 0, []desired.Why{desired.UplinkMissing}},
	} {
		s := desired.Snapshot{Config: desired.Config{BigTCP: c.on}, Facts: c.facts}
		for _, link := range []string{"a", "b"} {
			if _, there := c.facts[link]; there || link == "a" {
				s.Config.Self.Uplinks = append(s.Config.Self.Uplinks, desired.Uplink{Name: link})
			}
		}
		if have := s.Sizes(); have != c.want || have.RouteMTU() != c.route {
			t.Errorf("%s: %+v, routes with %d; want %+v, %d", name, have, have.RouteMTU(), c.want, c.route)
		}
		var why []desired.Why
		for _, u := range desired.For(s).Undone {
			if u.Kind == "uplink" {
				why = append(why, u.Why)
			}
		}
		if !slices.Equal(why, c.why) {
			t.Errorf("%s: not done because of %q, want %q", name, why, c.why)
		}
	}
}

// With largeMTU what stays on the host may be larger: links are wide, and every way out says how much the uplinks take.
func TestNearSizes(t *testing.T) {
	const big = 262144
	own, drained := netip.MustParsePrefix("2001:db8:0:1::/64"), netip.MustParsePrefix("2001:db8:0:2::/64")
	up := desired.Facts{"a": {Up: true, MTU: 1500, Segments: big}}
	type mtus struct{ Link, Route, Home int }
	for name, c := range map[string]struct {
		config    desired.Config
		facts     desired.Facts
		delegated desired.Delegated
		want      mtus
		home      netip.Prefix
		why       bool
	}{
		"off":           {desired.Config{Self: desired.Host{Prefix: own}}, up, desired.Delegated{}, mtus{1500, 0, 0}, netip.Prefix{}, false},
		"on":            {desired.Config{LargeMTU: true, Self: desired.Host{Prefix: own}}, up, desired.Delegated{}, mtus{65535, 1500, 0}, own, false},
		"with bigTCP":   {desired.Config{LargeMTU: true, BigTCP: true, Self: desired.Host{Prefix: own}}, up, desired.Delegated{}, mtus{65535, 1492, 65527}, own, false},
		"delegated":     {desired.Config{LargeMTU: true}, up, desired.Delegated{Prefix: own, Draining: []netip.Prefix{drained}}, mtus{65535, 1500, 0}, own, false},
		"no prefix yet": {desired.Config{LargeMTU: true}, up, desired.Delegated{}, mtus{1500, 0, 0}, netip.Prefix{}, true},
		"no MTU known":  {desired.Config{LargeMTU: true, Self: desired.Host{Prefix: own}}, nil, desired.Delegated{}, mtus{0, 0, 0}, netip.Prefix{}, true},
		"shared on a link": {desired.Config{LargeMTU: true, Self: desired.Host{Prefix: own, Uplinks: []desired.Uplink{{Name: "a", Shared: true}}}}, up, desired.Delegated{},
			mtus{1500, 0, 0}, netip.Prefix{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := desired.Snapshot{Config: c.config, Facts: c.facts, Delegated: c.delegated}
			if len(s.Config.Self.Uplinks) == 0 {
				s.Config.Self.Uplinks = []desired.Uplink{{Name: "a"}}
			}
			sizes := s.Sizes()
			have := mtus{sizes.LinkMTU(), sizes.RouteMTU(), 0}
			if sizes.Near != 0 {
				have.Home = sizes.HomeMTU()
			}
			if have != c.want || sizes.Home != c.home {
				t.Errorf("have %+v to %v, want %+v to %v", have, sizes.Home, c.want, c.home)
			}
			if why := slices.Contains(desired.For(s).Undone, desired.Undone{Kind: "care", Name: "mtu", Why: desired.NoLargeMTU}); why != c.why {
				t.Errorf("not done: %v, want %v", why, c.why)
			}
		})
	}
}
