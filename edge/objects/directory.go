package objects

import (
	"net/netip"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/ipam"
)

// Directory returns who is believed by their bits: the hosts of the plan that are living, and the peers that the plan calls
// identity-bearing. Exact and prefix entries are for the caller to add. seal is the fabric's, nil where host parts are readable.
func Directory(s v1alpha1.Set, m Model, seal *ipam.Seal) (*identity.Directory, error) {
	d := identity.NewDirectory(m.Trust)
	for _, h := range living(m.Plan) {
		l, err := m.Plan.LayoutOf(h, seal)
		if err != nil {
			return nil, err
		}
		if l.IdentityBearing() {
			d = d.WithBearing(l.Prefix(), bitsOf(l))
		}
	}
	for _, p := range s.Plan.Spec.Peers {
		if p.IdentityBearing {
			d = d.WithBearing(p.Prefix.Prefix, peerBits)
		}
	}
	return d, nil
}

func bitsOf(l ipam.Layout) identity.Decode {
	return func(a netip.Addr) (identity.Number, bool) {
		f, err := l.Decode(a)
		return identity.Number(f.Identity), err == nil
	}
}

// peerBits reads an address of another fabric, whose hosts have /64 and readable host parts.
func peerBits(a netip.Addr) (identity.Number, bool) {
	host, err := a.Prefix(64)
	if err != nil {
		return identity.Unknown, false
	}
	l, err := ipam.NewLayout(host, nil)
	if err != nil {
		return identity.Unknown, false
	}
	return bitsOf(l)(a)
}
