package desired_test

import (
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
