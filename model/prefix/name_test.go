package prefix

import (
	"net/netip"
	"testing"
)

func TestNames(t *testing.T) {
	if got := Name(pfx("2001:db8:a000:c12::/64")); got != "20010db8a0000c120000000000000000-64" {
		t.Errorf("Name = %q", got)
	}
	if got := AddrName(addr("2001:db8::1")); got != "20010db8000000000000000000000001" {
		t.Errorf("AddrName = %q", got)
	}
	for _, bad := range []string{"", "20010db8000000000000000000000001", "20010DB8000000000000000000000000-64", "20010db8000000000000000000000000-064",
		"20010db8000000000000000000000000-129", "20010db8000000000000000000000001-64", "2001:db8::-32", "20010db800000000000000000000000g-64", "20010db8000000000000000000000000-+4"} {
		if p, err := ParseName(bad); err == nil {
			t.Errorf("ParseName(%q) = %s, want an error", bad, p)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("20010db8a0000c120000000000000000-64")
	f.Add("00000000000000000000000000000000-0")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseName(s)
		if err == nil && Name(p) != s {
			t.Errorf("ParseName(%q) = %s, whose name is %q", s, p, Name(p))
		}
	})
}

func TestRFC3596_2_5_ReverseZones(t *testing.T) {
	for p, want := range map[string]int{"2001:db8::/37": 8, "2001:db8::/54": 4, "2001:db8::/44": 1, "2001:db8::/64": 1, "10.0.0.0/12": 16, "10.0.0.0/24": 1} {
		zones, err := ReverseZones(pfx(p))
		if err != nil || len(zones) != want {
			t.Errorf("ReverseZones(%s) = %v, %v, want %d zones", p, zones, err, want)
		}
		for _, z := range zones {
			if _, err := ReverseName(z); err != nil || !ContainsPrefix(pfx(p), z) {
				t.Errorf("zone %s of %s: %v", z, p, err)
			}
		}
	}
	for p, want := range map[string]string{
		"2001:db8:8000::/36":   "8.8.b.d.0.1.0.0.2.ip6.arpa.",
		"2001:db8:567:89::/64": "9.8.0.0.7.6.5.0.8.b.d.0.1.0.0.2.ip6.arpa.",
		"10.1.0.0/16":          "1.10.in-addr.arpa.",
	} {
		if got, err := ReverseName(pfx(p)); err != nil || got != want {
			t.Errorf("ReverseName(%s) = %q, %v, want %q", p, got, err, want)
		}
	}
	if _, err := ReverseName(pfx("2001:db8::/37")); err == nil {
		t.Error("a /37 got one reverse zone")
	}
	if _, err := ReverseZones(netip.MustParsePrefix("::/0")); err == nil {
		t.Error("the whole tree got a reverse zone")
	}
}

func TestWellKnown(t *testing.T) {
	for p, want := range map[string]struct {
		name string
		use  Use
	}{
		"2001:db8:a000::/37": {"a documentation prefix", LabOnly}, "3fff:0:1::/48": {"a documentation prefix", LabOnly},
		"2e00:1:2::/48": {"global unicast space", Fit}, "fd12:3456:789a::/48": {"unique local space", Fit}, "fec0::/48": {"the deprecated site-local range", Unfit},
		"64:ff9b::/96": {"the well-known NAT64 prefix", Unfit}, "2002:101:101::/48": {"the 6to4 range", Unfit},
	} {
		r, ok := inWellKnown(pfx(p))
		if !ok || r.Name != want.name || r.Plan != want.use {
			t.Errorf("range of %s: %+v, %v, want %+v", p, r, ok, want)
		}
	}
	if r, ok := inWellKnown(pfx("4000::/32")); ok {
		t.Errorf("4000::/32 is said to be %s", r.Name)
	}
}

// inWellKnown returns the most specific well-known range that p lies in.
func inWellKnown(p netip.Prefix) (Range, bool) {
	var best Range
	found := false
	for _, r := range WellKnown() {
		if ContainsPrefix(r.Prefix, p) && (!found || r.Prefix.Bits() > best.Prefix.Bits()) {
			best, found = r, true
		}
	}
	return best, found
}
