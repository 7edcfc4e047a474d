package prefix

import "net/netip"

// Match is one line of a prefix list: a range, and the lengths from Min to Max of the prefixes in it that are meant. Both zero:
// the range itself alone.
type Match struct {
	Prefix   netip.Prefix
	Min, Max int
}

// Exactly returns a match for each of ps and for nothing inside of it.
func Exactly(ps ...netip.Prefix) []Match {
	var ms []Match
	for _, p := range ps {
		ms = append(ms, Match{Prefix: p})
	}
	return ms
}

// Within matches p and every prefix in it.
func Within(p netip.Prefix) Match { return Match{p, p.Bits(), p.Addr().BitLen()} }

// Has reports whether p is meant.
func (m Match) Has(p netip.Prefix) bool {
	if m.Min == 0 && m.Max == 0 {
		return p == m.Prefix
	}
	return p.Bits() >= m.Min && p.Bits() <= m.Max && ContainsPrefix(m.Prefix, p)
}
