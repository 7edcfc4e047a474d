package objects

import (
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/identity"
)

// Entries returns who has the addresses that slices name, and the highest revision among these. Of two slices that name an address, as
// while it moves from host to host, the one with the higher revision holds; of equal ones the later name.
func Entries(s v1alpha1.Set) (exact map[netip.Addr]identity.Number, revision int64) {
	exact = map[netip.Addr]identity.Number{}
	by := map[netip.Addr]int64{}
	for _, slice := range s.Slices {
		revision = max(revision, slice.Spec.Revision)
		for _, e := range slice.Spec.Entries {
			for _, a := range e.Addresses {
				if before, twice := by[a.Addr]; twice && before > slice.Spec.Revision {
					continue
				}
				by[a.Addr], exact[a.Addr] = slice.Spec.Revision, identity.Number(e.Identity)
			}
		}
	}
	return exact, revision
}

// EntriesOf packs addresses with their numbers as slices have them.
func EntriesOf(exact map[netip.Addr]identity.Number) []v1alpha1.AddressEntry {
	by := map[identity.Number][]v1alpha1.Addr{}
	for a, n := range exact {
		by[n] = append(by[n], v1alpha1.AddrFrom(a))
	}
	var out []v1alpha1.AddressEntry
	for _, n := range slices.Sorted(maps.Keys(by)) {
		slices.SortFunc(by[n], func(a, b v1alpha1.Addr) int { return a.Compare(b.Addr) })
		out = append(out, v1alpha1.AddressEntry{Identity: uint32(n), Addresses: by[n]})
	}
	return out
}
