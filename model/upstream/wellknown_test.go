package upstream

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/xlat"
)

func addrs(text ...string) (out []netip.Addr) {
	for _, s := range text {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// Each of the six places of RFC 6052 2.2 is looked at, for both well-known addresses.
func TestRFC7050_3_SixPlaces(t *testing.T) {
	for _, text := range []string{"2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56", "2001:db8:122:344::/64", "2001:db8:122:344::/96", "64:ff9b::/96"} {
		p, err := xlat.NewPref64(netip.MustParsePrefix(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range [][]netip.Addr{{p.Embed(wellKnown[0])}, {p.Embed(wellKnown[1])}, {p.Embed(wellKnown[1]), p.Embed(wellKnown[0])}} {
			if got, misread := FromAddrs(list); len(got) != 1 || got[0] != p.Prefix() || misread != nil {
				t.Errorf("%s by %v: found %v, misread %v", text, list, got, misread)
			}
		}
	}
}

func TestRFC7050_3_Answers(t *testing.T) {
	for _, tc := range []struct {
		name    string
		addrs   []netip.Addr
		found   []string
		misread []desired.Why
	}{
		{"no DNS64", nil, nil, nil},
		{"several prefixes", addrs("64:ff9b::c000:aa", "64:ff9b::c000:ab", "2001:db8:64::c000:aa", "2001:db8:64::c000:ab"), []string{"64:ff9b::/96", "2001:db8:64::/96"}, nil},
		{"a portal that answers everything with itself", addrs("2001:db8::80"), nil, []desired.Why{NoWellKnown}},
		{"another IPv4 address", addrs("64:ff9b::c000:201"), nil, []desired.Why{NoWellKnown}},
		{"mapped", addrs("::ffff:192.0.0.170"), nil, []desired.Why{NoWellKnown}},
		{"IPv4", addrs("192.0.0.170"), nil, []desired.Why{NoWellKnown}},
		{"bits 64 to 71 are not zero", addrs("2001:db8:c000:aa:100::"), nil, []desired.Why{NoWellKnown}},
		// 2001:db8:c000:aa::/96 and 2001:db8::/32 would both make the first address.
		{"in two places, one alone", addrs("2001:db8:c000:aa::c000:aa"), nil, []desired.Why{Ambiguous}},
		{"in two places, the other one decides", addrs("2001:db8:c000:aa::c000:aa", "2001:db8:c000:aa::c000:ab"), []string{"2001:db8:c000:aa::/96"}, nil},
		{"one good and one bad", addrs("2001:db8::80", "64:ff9b::c000:ab"), []string{"64:ff9b::/96"}, []desired.Why{NoWellKnown}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found, misread := FromAddrs(tc.addrs)
			var got []string
			for _, p := range found {
				got = append(got, p.String())
			}
			var why []desired.Why
			for _, m := range misread {
				why = append(why, m.Why)
			}
			if d := cmp.Diff(tc.found, got); d != "" {
				t.Errorf("found (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.misread, why); d != "" {
				t.Errorf("misread (-want +got):\n%s", d)
			}
		})
	}
}

// A prefix that is found would have made the address that it was found in, and every address is told of.
func FuzzFromAddrs(f *testing.F) {
	for _, a := range addrs("64:ff9b::c000:aa", "2001:db8:c000:aa::c000:aa", "2001:db8:122:344:c0:0:ab00::") {
		b := a.As16()
		f.Add(append(b[:], b[:]...))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var list []netip.Addr
		for ; len(raw) >= 16; raw = raw[16:] {
			list = append(list, netip.AddrFrom16([16]byte(raw)))
		}
		found, misread := FromAddrs(list)
		for _, p := range found {
			x, err := xlat.NewPref64(p)
			if err != nil {
				t.Fatalf("%v was found: %v", p, err)
			}
			if !slices.ContainsFunc(list, func(a netip.Addr) bool { four, ok := x.Extract(a); return ok && slices.Contains(wellKnown[:], four) }) {
				t.Errorf("%v made none of %v", p, list)
			}
		}
		if len(misread) > len(list) || len(list) > 0 && len(found)+len(misread) == 0 {
			t.Errorf("of %v: found %v, misread %v", list, found, misread)
		}
	})
}

func TestRFC7050_3_Times(t *testing.T) {
	var a Asking
	if !a.Due(0) {
		t.Error("nothing is asked at the begin")
	}
	if until := a.Found(100, 600); until != 700 || a.Next != 690 {
		t.Errorf("600 s: counts until %d, asked again at %d; want 700 and ten seconds before", until, a.Next)
	}
	if until := a.Found(100, 3); until <= a.Next || a.Next != 130 {
		t.Errorf("3 s: counts until %d, asked again at %d; want 130, and to count until then", until, a.Next)
	}
	if a.Found(100, 1<<31); a.Next != 100+latest {
		t.Errorf("68 years: asked again at %d, want a day later", a.Next)
	}
	var waits []int64
	now := int64(1000)
	for range 11 {
		a.Failed(now)
		waits = append(waits, a.Next-now)
		now = a.Next
	}
	if d := cmp.Diff([]int64{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}, waits); d != "" {
		t.Errorf("waits after failures (-want +got):\n%s", d)
	}
	a.None(now)
	if a.Next != now+noneFor || a.Due(now) {
		t.Errorf("no DNS64: asked again at %d, want %d", a.Next, now+noneFor)
	}
	if a.Failed(now); a.Next != now+firstTry {
		t.Errorf("a failure after an answer: asked again after %d s, want %d", a.Next-now, firstTry)
	}
}
