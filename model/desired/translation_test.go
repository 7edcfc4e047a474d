package desired_test

import (
	"net/netip"
	"testing"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/gateway"
)

// What the translator of a host translates is led to it; of several gateways each is led what belongs to the others, too.
func TestTranslationIsLed(t *testing.T) {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	alone := desired.Translation{Name: "internet", Prefixes: []netip.Prefix{p("64:ff9b::/96")}, Pool: []netip.Addr{a("45.66.0.1")}}
	together := alone
	together.Pool = append(together.Pool, a("45.66.0.2"))
	together.Group = &desired.Gateways{Members: []gateway.Member{{Name: "g1", At: a("2001:db8:1:0:3::1")}, {Name: "g2", At: a("2001:db8:2:0:3::1")}},
		Self: a("2001:db8:1:0:3::1"), Ranks: []int{0, 1}}
	for _, tc := range []struct {
		name        string
		translation desired.Translation
		translating bool
		want        []string
	}{
		{"alone", alone, true, []string{"64:ff9b::/96", "45.66.0.1/32"}},
		{"no translator yet", alone, false, nil},
		{"together", together, true, []string{"64:ff9b::/96", "45.66.0.1/32", "45.66.0.2/32", "2001:db8:1:0:3::1/128"}},
	} {
		s := desired.Snapshot{Translating: tc.translating, Config: desired.Config{Translation: &tc.translation}}
		led := map[netip.Prefix]bool{}
		for dst, r := range desired.For(s).Routes {
			if r.Link == desired.TranslationLink {
				led[dst] = true
			}
		}
		for _, want := range tc.want {
			if !led[p(want)] {
				t.Errorf("%s: %s is not led to the translator", tc.name, want)
			}
		}
		if len(led) != len(tc.want) {
			t.Errorf("%s: led are %v, want %v", tc.name, led, tc.want)
		}
	}
}
