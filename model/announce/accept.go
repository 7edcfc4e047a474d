package announce

import (
	"net/netip"
	"slices"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/prefix"
)

// Why this host does not take a prefix that a peer offers.
const (
	WhyOwn         Why = "it is this host's own"
	WhyInsideOwn   Why = "it lies inside a prefix of this host"
	WhyDefault     Why = "a default route, and the peer may not give one (allowDefault)"
	WhyNotAccepted Why = "it lies in nothing that is accepted from this peer (accept)"
	WhyLoop        Why = "the AS number of this host is in its path"
	WhyNextHop     Why = "its next hop is not an address of a neighbour"
	WhyIPv4Only    Why = "an IPv4 prefix with an IPv4 next hop: this network carries IPv6 alone (RFC 8950)"
)

// Offer is one prefix as a peer told it.
type Offer struct {
	Prefix  netip.Prefix
	NextHop desired.NextHop // the link may be empty where the next hop is not link-local
	ASPath  []uint32        // from the peer's own number to the origin's
	Origin  uint8           // RFC 4271 4.3: 0 IGP, 1 EGP, 2 incomplete
}

// Import is what this host takes from peers. Nothing is taken that is not named: the zero value refuses everything (RFC 8212).
type Import struct {
	ASN uint32     // of this host
	Own prefix.Set // prefixes it announces and has
}

// Terms are what one peer may give.
type Terms struct {
	Accept       []prefix.Match // a prefix that one of them means is taken
	AllowDefault bool
}

func (t Terms) accepts(p netip.Prefix) bool {
	return slices.ContainsFunc(t.Accept, func(m prefix.Match) bool { return m.Has(p) })
}

// Decide returns why an offer is not taken; empty when it is.
func (im Import) Decide(t Terms, o Offer) Why {
	switch {
	case slices.Contains(o.ASPath, im.ASN) && im.ASN != 0: // RFC 4271 9.1.2
		return WhyLoop
	case o.Prefix.Bits() == 0:
		if !t.AllowDefault {
			return WhyDefault
		}
	case im.Own.Covers(o.Prefix):
		return im.whichOwn(o.Prefix)
	case !t.accepts(o.Prefix):
		return WhyNotAccepted
	}
	return checkNextHop(o)
}

func (im Import) whichOwn(p netip.Prefix) Why {
	if slices.Contains(im.Own.Prefixes(), p) {
		return WhyOwn
	}
	return WhyInsideOwn
}

// checkNextHop: RFC 4271 6.3 wants a next hop that is an address of a host.
func checkNextHop(o Offer) Why {
	n := o.NextHop.Via
	switch {
	case o.Prefix.Addr().Is4() && n.Is4():
		return WhyIPv4Only
	case !n.Is6() || n.Is4In6() || n.IsUnspecified() || n.IsMulticast() || n.IsLoopback():
		return WhyNextHop
	case n.IsLinkLocalUnicast() && o.NextHop.Link == "":
		return WhyNextHop
	}
	return ""
}
