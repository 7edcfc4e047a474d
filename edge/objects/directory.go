package objects

import (
	"net/netip"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/ipam"
	"hexapod.dev/model/policy"
)

// Believed returns who has which address: the living hosts of the plan and the peers that the plan calls identity-bearing by the
// bits of their addresses, hosts by those of their own. The rest of the fabric, of peers and of pools is inside and says
// nothing. Exact entries of endpoints are for the caller to add. seal is the fabric's, nil where host parts are readable.
func Believed(s v1alpha1.Set, m Model, seal *ipam.Seal) (policy.Believed, error) {
	b := policy.Believed{Trust: m.Trust, Exact: map[netip.Addr]identity.Number{}, Regions: map[netip.Prefix]policy.Form{}, Seal: seal}
	if m.Plan.Prefix.IsValid() {
		b.Regions[m.Plan.Prefix] = policy.Silent
	}
	if m.Plan.IPv4.Prefix.IsValid() {
		b.Regions[m.Plan.IPv4.Prefix] = policy.Silent
	}
	for _, p := range s.Pools {
		b.Regions[p.Spec.Prefix.Prefix] = policy.Silent
	}
	for _, p := range s.Plan.Spec.Peers {
		b.Regions[p.Prefix.Prefix] = policy.Silent
		if p.IdentityBearing { // its hosts have /64 and readable host parts
			b.Regions[p.Prefix.Prefix] = policy.Wide
		}
	}
	for _, h := range living(m.Plan) {
		l, err := m.Plan.LayoutOf(h, seal)
		if err != nil {
			return policy.Believed{}, err
		}
		r, err := policy.RegionOf(l)
		if err != nil {
			return policy.Believed{}, err
		}
		b.Regions[l.Prefix()] = policy.Silent // also what lies around the host parts
		b.Regions[r.Prefix] = r.Form
	}
	for _, h := range s.Hosts {
		for _, a := range addressesOf(h) {
			b.Exact[a] = identity.Host
		}
	}
	return b, nil
}

// addressesOf lists the addresses that a living host is known to send from, besides its router address, whose bits say so.
func addressesOf(h *v1alpha1.Host) (out []netip.Addr) {
	if !h.Living() {
		return nil
	}
	for _, a := range h.Spec.Addresses {
		out = append(out, a.Addr)
	}
	for _, u := range h.Spec.Uplinks {
		if a := u.Address.Addr; a.IsValid() && !a.IsLinkLocalUnicast() {
			out = append(out, a)
		}
	}
	return out
}

// routerAddr returns the address of a host prefix itself.
func routerAddr(p netip.Prefix) []netip.Addr {
	if a := desired.RouterAddr(p); a.IsValid() {
		return []netip.Addr{a}
	}
	return nil
}
