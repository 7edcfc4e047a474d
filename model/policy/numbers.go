package policy

import (
	"iter"
	"math/bits"

	"hexapod.dev/model/identity"
)

// Numbers is a set of identity numbers. Datapaths hold those that fit into addresses as they are, the first NarrowWords of it: 64-bit
// words, number 0 in the lowest bit of the first.
type Numbers [(int(identity.LastWide) + 64) / 64]uint64

// NarrowWords is how many words of Numbers hold the numbers that fit into addresses.
const NarrowWords = (int(identity.LastWorkload) + 1) / 64

// Has reports whether n is in the set. A number behind the last that is given is in none.
func (s *Numbers) Has(n identity.Number) bool {
	return n <= identity.LastWide && s[n/64]&(1<<(n%64)) != 0
}

// Add puts n in.
func (s *Numbers) Add(n identity.Number) {
	if n <= identity.LastWide {
		s[n/64] |= 1 << (n % 64)
	}
}

// Remove takes n out.
func (s *Numbers) Remove(n identity.Number) {
	if n <= identity.LastWide {
		s[n/64] &^= 1 << (n % 64)
	}
}

// All are the numbers of the set, in order.
func (s *Numbers) All() iter.Seq[identity.Number] {
	return func(yield func(identity.Number) bool) {
		for i, w := range s {
			for ; w != 0; w &= w - 1 {
				if !yield(identity.Number(i*64 + bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}

// Seen is n as policy sees it: Unknown, if its labels are not known here. Without a set all are.
func (s *Numbers) Seen(n identity.Number) identity.Number {
	if s != nil && !s.Has(n) {
		return identity.Unknown
	}
	return n
}

// Known is the set of the numbers that a world knows what to think of: those whose labels it has, and those of hosts.
func (w *World) Known() *Numbers {
	s := &Numbers{}
	s.Add(identity.Host)
	s.Add(identity.Locator)
	for n := range w.Identities {
		s.Add(n)
	}
	return s
}
