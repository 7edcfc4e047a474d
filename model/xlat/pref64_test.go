package xlat

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func pref(t testing.TB, s string) Pref64 {
	t.Helper()
	p, err := NewPref64(netip.MustParsePrefix(s))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A4: the table of RFC 6052 2.4.
func TestRFC6052_2_4(t *testing.T) {
	four := netip.MustParseAddr("192.0.2.33")
	for prefix, want := range map[string]string{
		"2001:db8::/32":         "2001:db8:c000:221::",
		"2001:db8:100::/40":     "2001:db8:1c0:2:21::",
		"2001:db8:122::/48":     "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
		"2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
		"64:ff9b::/96":          "64:ff9b::192.0.2.33",
	} {
		p := pref(t, prefix)
		if got := p.Embed(four); got != netip.MustParseAddr(want) {
			t.Errorf("%s in %s: %s, want %s", four, prefix, got, want)
		}
		if got, ok := p.Extract(netip.MustParseAddr(want)); !ok || got != four {
			t.Errorf("%s: carries %s, %v", want, got, ok)
		}
	}
}

// A1, A2: lengths other than six are refused, and prefixes with bits 64 to 71 set.
func TestRFC6052_2_2_Refuses(t *testing.T) {
	for _, s := range []string{"2001:db8::/31", "2001:db8::/33", "2001:db8::/72", "2001:db8::/95", "2001:db8::/97", "2001:db8::/128", "192.0.2.0/24", "::ffff:0:0/96", "2001:db8:0:0:100::/96"} {
		if p, err := NewPref64(netip.MustParsePrefix(s)); err == nil {
			t.Errorf("%s is taken as %s", s, p.Prefix())
		}
	}
	if _, err := NewPref64(netip.MustParsePrefix("2001:db8::1/96")); err == nil {
		t.Error("bits behind the length: no error")
	}
}

// A2, A3, A4: what goes in comes out, bits 64 to 71 and the suffix are zero on write, and the suffix is ignored on read.
func TestRFC6052_2_2_RoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, s := range []string{"2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56", "2001:db8:122:344::/64", "64:ff9b::/96"} {
		p := pref(t, s)
		end := p.Prefix().Bits()/8 + 4
		if p.Prefix().Bits() < 96 && end >= 8 {
			end++
		}
		for range 200_000 {
			four := netip.AddrFrom4([4]byte{byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())})
			six := p.Embed(four)
			b := six.As16()
			if b[8] != 0 {
				t.Fatalf("%s in %s: %s has bits 64 to 71 set", four, s, six)
			}
			for i := end; i < 16; i++ {
				if b[i] != 0 {
					t.Fatalf("%s in %s: %s has a suffix", four, s, six)
				}
				b[i] = byte(rnd.Uint32())
			}
			if got, ok := p.Extract(netip.AddrFrom16(b)); !ok || got != four {
				t.Fatalf("%s in %s: %s comes out", four, s, got)
			}
		}
	}
}

// A5: the well-known prefix carries global addresses alone (RFC 6052 3.1); some are carried by none.
func TestRFC6052_3_1_May(t *testing.T) {
	own := pref(t, "2001:db8:64::/96")
	for _, c := range []struct {
		addr              string
		wellKnown, anyway bool
	}{
		{"8.8.8.8", true, true}, {"192.0.1.0", true, true}, {"223.255.255.255", true, true},
		{"10.0.0.1", false, true}, {"172.31.0.1", false, true}, {"172.32.0.1", true, true}, {"192.168.1.1", false, true},
		{"100.64.0.1", false, true}, {"192.0.2.1", false, true}, {"198.51.100.1", false, true}, {"203.0.113.1", false, true},
		{"198.19.0.1", false, true}, {"192.0.0.8", false, true}, {"240.0.0.1", false, true},
		{"0.0.0.0", false, false}, {"127.0.0.1", false, false}, {"169.254.169.254", false, false}, {"224.0.0.1", false, false}, {"255.255.255.255", false, false},
	} {
		a := netip.MustParseAddr(c.addr)
		if got := WellKnown.May(a); got != c.wellKnown {
			t.Errorf("%s in 64:ff9b::/96: %v, want %v", a, got, c.wellKnown)
		}
		if got := own.May(a); got != c.anyway {
			t.Errorf("%s in an own prefix: %v, want %v", a, got, c.anyway)
		}
	}
}

// A8: RFC 7757 3.2: longest prefix on both sides, suffixes of different lengths, one entry inside another.
func TestRFC7757_3_EAM(t *testing.T) {
	var e EAM
	add := func(four, six string) error { return e.Add(netip.MustParsePrefix(four), netip.MustParsePrefix(six)) }
	for four, six := range map[string]string{
		"192.0.2.1/32": "2001:db8:aaaa::/128", "192.0.2.2/32": "2001:db8:bbbb::b/128", "192.0.2.16/28": "2001:db8:cccc::/124",
		"192.0.2.128/26": "2001:db8:dddd::/64", "192.0.2.192/29": "2001:db8:eeee:8::/62", "192.0.2.224/31": "64:ff9b::/127", "192.0.2.20/32": "2001:db8:ffff::1/128",
	} {
		if err := add(four, six); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ four, six string }{
		{"192.0.2.1", "2001:db8:aaaa::"}, {"192.0.2.2", "2001:db8:bbbb::b"}, {"192.0.2.16", "2001:db8:cccc::"}, {"192.0.2.24", "2001:db8:cccc::8"},
		{"192.0.2.31", "2001:db8:cccc::f"}, {"192.0.2.128", "2001:db8:dddd::"}, {"192.0.2.152", "2001:db8:dddd:0:6000::"}, {"192.0.2.183", "2001:db8:dddd:0:dc00::"},
		{"192.0.2.191", "2001:db8:dddd:0:fc00::"}, {"192.0.2.193", "2001:db8:eeee:8:8000::"}, {"192.0.2.199", "2001:db8:eeee:b:8000::"},
		{"192.0.2.225", "64:ff9b::1"}, {"192.0.2.20", "2001:db8:ffff::1"}, // the longer entry
	} {
		four, six := netip.MustParseAddr(c.four), netip.MustParseAddr(c.six)
		if got, ok := e.To6(four); !ok || got != six {
			t.Errorf("%s: %s %v, want %s", four, got, ok, six)
		}
		if got, ok := e.To4(six); !ok || got != four {
			t.Errorf("%s: %s %v, want %s", six, got, ok, four)
		}
	}
	if got, ok := e.To6(netip.MustParseAddr("192.0.2.3")); ok {
		t.Errorf("an address of no entry: %s", got)
	}
	if got, ok := e.To4(netip.MustParseAddr("2001:db8:dddd:0:6000::77")); !ok || got != netip.MustParseAddr("192.0.2.152") {
		t.Errorf("bits behind the suffix: %s %v", got, ok)
	}
	if err := add("192.0.2.0/24", "2001:db8::/121"); err == nil {
		t.Error("an IPv4 suffix longer than the IPv6 one: no error")
	}
}

func BenchmarkEmbedExtract(b *testing.B) {
	four := netip.MustParseAddr("192.0.2.33")
	b.ReportAllocs()
	for b.Loop() {
		WellKnown.Extract(WellKnown.Embed(four))
	}
}
