package prefix_test

import (
	"net/netip"
	"testing"

	"hexapod.dev/model/prefix"
)

func TestMatch(t *testing.T) {
	rack, host, addr := netip.MustParsePrefix("2001:db8:0:400::/54"), netip.MustParsePrefix("2001:db8:0:401::/64"), netip.MustParsePrefix("2001:db8:0:401::1/128")
	all := netip.MustParsePrefix("::/0")
	for _, c := range []struct {
		name string
		m    prefix.Match
		p    netip.Prefix
		want bool
	}{
		{"exactly", prefix.Exactly(rack)[0], rack, true},
		{"exactly, inside", prefix.Exactly(rack)[0], host, false},
		{"exactly the default", prefix.Exactly(all)[0], all, true},
		{"the default is not everything", prefix.Exactly(all)[0], rack, false},
		{"within, itself", prefix.Within(rack), rack, true},
		{"within, an address", prefix.Within(rack), addr, true},
		{"within, wider", prefix.Within(host), rack, false},
		{"everything", prefix.Within(all), host, true},
		{"addresses alone", prefix.Match{Prefix: rack, Min: 128, Max: 128}, addr, true},
		{"addresses alone, a prefix", prefix.Match{Prefix: rack, Min: 128, Max: 128}, host, false},
		{"elsewhere", prefix.Within(host), netip.MustParsePrefix("2001:db8::/64"), false},
	} {
		if got := c.m.Has(c.p); got != c.want {
			t.Errorf("%s: %v has %s: %t, want %t", c.name, c.m, c.p, got, c.want)
		}
	}
}
