package prefix

import (
	"cmp"
	"net/netip"
	"slices"
)

// Set is a set of prefixes that answers containment and overlap. The zero value is empty. A Set does not change after
// [NewSet]; it may be read by many.
type Set struct {
	sorted []netip.Prefix // by address, then the shorter first: what contains a prefix stands before it
}

// Compare orders prefixes by family, address and length, shorter first.
func Compare(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// NewSet makes a set of prefixes; host bits are dropped, invalid ones left out.
func NewSet(prefixes ...netip.Prefix) Set {
	var s Set
	for _, p := range prefixes {
		if p.IsValid() {
			s.sorted = append(s.sorted, p.Masked())
		}
	}
	slices.SortFunc(s.sorted, Compare)
	s.sorted = slices.Compact(s.sorted)
	return s
}

// Prefixes returns the members, sorted.
func (s Set) Prefixes() []netip.Prefix { return slices.Clone(s.sorted) }

// Match returns the longest member that contains a.
func (s Set) Match(a netip.Addr) (netip.Prefix, bool) {
	return s.covering(netip.PrefixFrom(a, a.BitLen()))
}

// Contains reports whether a member contains a.
func (s Set) Contains(a netip.Addr) bool { _, ok := s.Match(a); return ok }

// Covers reports whether one member contains the whole of p.
func (s Set) Covers(p netip.Prefix) bool { _, ok := s.covering(p); return ok }

func (s Set) covering(p netip.Prefix) (netip.Prefix, bool) {
	if !p.IsValid() {
		return netip.Prefix{}, false
	}
	for bits := p.Bits(); bits >= 0; bits-- {
		q, err := p.Addr().Prefix(bits)
		if err != nil {
			return netip.Prefix{}, false
		}
		if _, ok := slices.BinarySearchFunc(s.sorted, q, Compare); ok {
			return q, true
		}
	}
	return netip.Prefix{}, false
}

// Overlaps returns every pair of prefixes that share an address, as indices into prefixes, each pair once and the one
// that contains the other first. Invalid prefixes overlap nothing.
func Overlaps(prefixes []netip.Prefix) [][2]int {
	order := make([]int, 0, len(prefixes))
	for i, p := range prefixes {
		if p.IsValid() {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return Compare(prefixes[a], prefixes[b]) })
	var pairs [][2]int
	var open []int // prefixes that may still contain the next one, outermost first
	for _, i := range order {
		for len(open) > 0 && !ContainsPrefix(prefixes[open[len(open)-1]], prefixes[i]) {
			open = open[:len(open)-1]
		}
		for _, o := range open {
			pairs = append(pairs, [2]int{o, i})
		}
		open = append(open, i)
	}
	return pairs
}
