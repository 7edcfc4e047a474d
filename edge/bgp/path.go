package bgp

import (
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
)

// toPath writes an announced route in the server's words. The next hop "unspecified" becomes the address of each session.
func toPath(r announce.Route) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(r.Prefix)
	if err != nil {
		return nil, err
	}
	f := familyOf(r.Prefix)
	reach, err := bgp.NewPathAttributeMpReachNLRI(f, []bgp.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
	if err != nil {
		return nil, err
	}
	attrs := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP), reach}
	if len(r.Path) > 0 {
		segment := bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, r.Path)
		attrs = append(attrs, bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{segment}))
	}
	if r.Leaving {
		attrs = append(attrs, bgp.NewPathAttributeCommunities([]uint32{uint32(bgp.COMMUNITY_PLANNED_SHUT), uint32(bgp.COMMUNITY_NO_ADVERTISE)}))
	}
	return &apiutil.Path{Family: f, Nlri: nlri, Attrs: attrs}, nil
}

func familyOf(p netip.Prefix) bgp.Family {
	if p.Addr().Is4() {
		return bgp.RF_IPv4_UC
	}
	return bgp.RF_IPv6_UC
}

// prefixOf returns what a path is about.
func prefixOf(p *apiutil.Path) (netip.Prefix, bool) {
	n, ok := p.Nlri.(*bgp.IPAddrPrefix)
	if !ok {
		return netip.Prefix{}, false
	}
	return n.Prefix.Masked(), n.Prefix.IsValid()
}

// attrs are what the prefixes of one update have in common.
type attrs struct {
	hop    desired.NextHop
	path   []uint32
	origin uint8
	near   bool // to be told to nobody else (NO_ADVERTISE, RFC 1997)
}

// attrsOf reads the attributes of a path from the peer at from.
func attrsOf(list []bgp.PathAttributeInterface, from netip.Addr) *attrs {
	a := &attrs{}
	for _, attr := range list {
		switch v := attr.(type) {
		case *bgp.PathAttributeOrigin:
			a.origin = v.Value
		case *bgp.PathAttributeAsPath:
			for _, segment := range v.Value {
				a.path = append(a.path, segment.GetAS()...)
			}
		case *bgp.PathAttributeCommunities:
			a.near = slices.Contains(v.Value, uint32(bgp.COMMUNITY_NO_ADVERTISE))
		case *bgp.PathAttributeNextHop:
			a.hop = nextHop(v.Value, netip.Addr{}, from)
		case *bgp.PathAttributeMpReachNLRI:
			a.hop = nextHop(v.Nexthop, v.LinkLocalNexthop, from)
		}
	}
	return a
}

// nextHop chooses the address to send to. Over an unnumbered session it is the link-local one, which every router gives some
// way: alone, second after a global one (RFC 2545 section 3), or in the place of the global one. A next hop that is not given
// in any of them is the peer itself.
func nextHop(first, second, from netip.Addr) desired.NextHop {
	link := from.Zone()
	switch {
	case link == "":
		return desired.NextHop{Via: first.WithZone("")}
	case second.IsLinkLocalUnicast():
		return desired.NextHop{Via: second.WithZone(""), Link: link}
	case first.IsLinkLocalUnicast():
		return desired.NextHop{Via: first.WithZone(""), Link: link}
	case first.IsUnspecified():
		return desired.NextHop{Via: from.WithZone(""), Link: link}
	}
	return desired.NextHop{Via: first.WithZone(""), Link: link}
}

func (a *attrs) offer(p netip.Prefix) announce.Offer {
	return announce.Offer{Prefix: p, NextHop: a.hop, ASPath: a.path, Origin: a.origin}
}
