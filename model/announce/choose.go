package announce

import (
	"cmp"
	"net/netip"
	"slices"

	"hexapod.dev/model/desired"
)

// NextHops returns the next hops of the best of the offers for one prefix, sorted and each once: of those with the shortest AS
// path (RFC 4271 9.1.2.2 a) the ones with the lowest origin (b). All that are left share the packets; the AS numbers of their
// paths may differ, as the routers of a rack do.
func NextHops(offers []Offer) []desired.NextHop {
	if len(offers) == 0 {
		return nil
	}
	rank := func(a, b Offer) int {
		return cmp.Or(cmp.Compare(len(a.ASPath), len(b.ASPath)), cmp.Compare(a.Origin, b.Origin))
	}
	best := slices.MinFunc(offers, rank)
	var hops []desired.NextHop
	for _, o := range offers {
		if rank(o, best) == 0 {
			hops = append(hops, o.NextHop)
		}
	}
	slices.SortFunc(hops, compareHops)
	return slices.Compact(hops)
}

func compareHops(a, b desired.NextHop) int {
	return cmp.Or(a.Via.Compare(b.Via), cmp.Compare(a.Link, b.Link))
}

// Learned is the next hops of one prefix. None: the prefix is not reached any more.
type Learned struct {
	Prefix netip.Prefix
	Hops   []desired.NextHop
}
