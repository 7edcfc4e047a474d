package route

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func TestDest(t *testing.T) {
	for text, good := range map[string]bool{
		"::/0": true, "8000::/1": true, "3fff:0:0:a::/64": true, "3fff:0:0:a:8000::/65": true, "3fff::1/128": true,
		"3fff:0:0:b::/63": false, "3fff:0:0:a:8000::/64": false, "3fff::1/127": false, "::1/0": false,
		"192.0.2.0/24": false, "::ffff:192.0.2.0/120": true,
	} {
		p := netip.MustParsePrefix(text)
		d, ok := destOf(p)
		if ok != good || ok && d.prefix() != p {
			t.Errorf("%s: %t and back %s, want %t", text, ok, d, good)
		}
	}
	if _, ok := destOf(netip.Prefix{}); ok {
		t.Error("no prefix at all is taken for one")
	}
}

// The radix sort against the plain one.
func TestInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, mask := range []dest{{high: ^uint64(0)}, {high: 0xffff << 8, low: 3}, {low: ^uint64(0)}, {high: 1 << 63, low: 1}, {}} {
		for _, n := range []int{0, 1, 2, 1000} {
			steps := make([]step, n)
			for i := range steps {
				steps[i].dst = dest{high: r.Uint64() & mask.high, low: r.Uint64() & mask.low, bits: 128}
			}
			want := slices.Clone(steps)
			slices.SortStableFunc(want, func(a, b step) int { return a.dst.prefix().Addr().Compare(b.dst.prefix().Addr()) })
			if got := inOrder(steps); !slices.Equal(got, want) {
				t.Errorf("%d steps that differ in %x: not in order", n, mask)
			}
		}
	}
}
