package desired

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// Uplinks returns the uplinks of this host: those that the configuration names, or else the links that have one of the addresses it
// tells of this host, by name.
func (s Snapshot) Uplinks() []Uplink {
	self := s.Config.Self
	if len(self.Uplinks) > 0 {
		return self.Uplinks
	}
	var found []Uplink
	for _, name := range slices.Sorted(maps.Keys(s.Facts)) {
		for _, a := range s.Facts[name].Addrs {
			if slices.Contains(self.Addrs, a.Addr()) {
				found = append(found, Uplink{Name: name, Address: a.Addr()})
				break
			}
		}
	}
	return found
}

// onLink finds the uplink on whose own prefix one of addrs lies, and that address. The longest prefix wins, as in the kernel.
func (s Snapshot) onLink(addrs []netip.Addr) (via netip.Addr, link string, found bool) {
	type way struct {
		via  netip.Addr
		link string
		bits int
	}
	var ways []way
	for _, u := range s.Uplinks() {
		for _, own := range s.Facts[u.Name].Addrs {
			for _, a := range addrs {
				if !own.IsSingleIP() && own.Contains(a) {
					ways = append(ways, way{a, u.Name, own.Bits()})
				}
			}
		}
	}
	if len(ways) == 0 {
		return netip.Addr{}, "", false
	}
	best := slices.MinFunc(ways, func(a, b way) int {
		return cmp.Or(cmp.Compare(b.bits, a.bits), cmp.Compare(a.link, b.link), a.via.Compare(b.via))
	})
	return best.via, best.link, true
}
