package prefix

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// Set and Overlaps are compared with the obvious loops over the same prefixes.
func TestSetAgainstLoop(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func() netip.Prefix {
		raw := [16]byte{0x20, byte(r.IntN(2)), byte(r.IntN(3)), byte(r.IntN(256))}
		return netip.PrefixFrom(netip.AddrFrom16(raw), 8+r.IntN(26)).Masked()
	}
	for range 300 {
		list := make([]netip.Prefix, r.IntN(12))
		for i := range list {
			list[i] = random()
		}
		s := NewSet(list...)
		for range 20 {
			p := random()
			var contains, covers bool
			for _, q := range list {
				contains = contains || q.Contains(p.Addr())
				covers = covers || ContainsPrefix(q, p)
			}
			if got := s.Contains(p.Addr()); got != contains {
				t.Fatalf("%v contains %s: %v, loop says %v", list, p.Addr(), got, contains)
			}
			if got := s.Covers(p); got != covers {
				t.Fatalf("%v covers %s: %v, loop says %v", list, p, got, covers)
			}
		}
		want := 0
		for i := range list {
			for j := range i {
				if list[i].Overlaps(list[j]) {
					want++
				}
			}
		}
		got := Overlaps(list)
		if len(got) != want {
			t.Fatalf("Overlaps(%v) has %d pairs, loop %d", list, len(got), want)
		}
		for _, pair := range got {
			if !ContainsPrefix(list[pair[0]], list[pair[1]]) {
				t.Fatalf("pair %v of %v: the first does not contain the second", pair, list)
			}
		}
	}
}

func TestSetMatchIsLongest(t *testing.T) {
	s := NewSet(pfx("2001:db8::/32"), pfx("2001:db8:1::/48"), netip.Prefix{}, pfx("10.0.0.0/8"))
	for a, want := range map[string]string{"2001:db8::1": "2001:db8::/32", "2001:db8:1::1": "2001:db8:1::/48", "10.1.1.1": "10.0.0.0/8"} {
		if got, ok := s.Match(addr(a)); !ok || got != pfx(want) {
			t.Errorf("Match(%s) = %s, %v, want %s", a, got, ok, want)
		}
	}
	if got, ok := s.Match(addr("2001:db9::1")); ok {
		t.Errorf("Match found %s for an address outside", got)
	}
	if n := len(s.Prefixes()); n != 3 {
		t.Errorf("%d members, want 3: the invalid prefix is left out", n)
	}
}
