package addressplan

import (
	"fmt"
	"net/netip"

	"hexapod.dev/model/ipam"
)

// LayoutOf returns how the addresses of h are written. seal is the fabric's, nil where host parts are readable.
func (p Plan) LayoutOf(h Host, seal *ipam.Seal) (ipam.Layout, error) {
	q, err := p.PrefixOf(h)
	if err != nil {
		return ipam.Layout{}, err
	}
	l, err := layout(q, h.Name, h.Shared, seal)
	if err != nil {
		return ipam.Layout{}, fmt.Errorf("host %s: %w", h.Name, err)
	}
	return l, nil
}

// Layout returns how the addresses of the host prefix are written that the address lies in.
func (l Location) Layout(seal *ipam.Seal) (ipam.Layout, error) {
	return layout(l.Host.Prefix, l.Host.Name, l.Shared, seal)
}

func layout(p netip.Prefix, host string, shared bool, seal *ipam.Seal) (ipam.Layout, error) {
	switch {
	case shared:
		return ipam.NewOnLink(p, ipam.GroupOf(host))
	case p.Bits() > 64: // too short a host part to seal
		seal = nil
	}
	return ipam.NewLayout(p, seal)
}
