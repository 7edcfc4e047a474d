package desired

import "net/netip"

// Sizes are how large the packets of endpoints may be, in bytes.
type Sizes struct {
	MTU      int // 0: the kernel's default
	Segments int // of super-packets, which a device cuts into segments when they leave; 0 leaves links as they are

	Near int          // of packets that stay on this host, where they may be larger than others; 0: as others
	Home netip.Prefix // of Near: what is in it is on this host
}

// NearMTU is the largest packet between endpoints of one host: what a veth takes (ETH_MAX_MTU), and the length in an IPv6 header tells.
const NearMTU = 65535

// PlainSegments is what links have that nobody set (GSO_LEGACY_MAX_SIZE): the most that the length in an IPv6 header tells.
const PlainSegments = 65536

// jumboHeader is what a larger super-packet has more (RFC 2675). The kernel takes it for a part of each segment when it compares with
// the MTU of a route.
const jumboHeader = 8

// Big tells whether super-packets may be larger than the length in an IPv6 header tells (BIG TCP).
func (s Sizes) Big() bool { return s.Segments > PlainSegments }

// LinkMTU is the MTU of endpoints' links; 0: the kernel's default.
func (s Sizes) LinkMTU() int { return max(s.MTU, s.Near) }

// RouteMTU is the MTU of endpoints' default routes; 0: that of the link.
func (s Sizes) RouteMTU() int {
	switch {
	case s.Big():
		return s.MTU - jumboHeader
	case s.Near != 0:
		return s.MTU
	}
	return 0
}

// HomeMTU is the MTU of endpoints' routes to Home; 0: that of the link. It means nothing without Near.
func (s Sizes) HomeMTU() int {
	if !s.Big() {
		return 0
	}
	return s.Near - jumboHeader
}

// Sizes returns the sizes of endpoints: the smallest of the uplinks, for a larger packet would come back as an error on the first
// use of every path, and a larger super-packet would be cut by the CPU.
func (s Snapshot) Sizes() Sizes {
	out := Sizes{Segments: PlainSegments}
	most := 0
	for _, u := range s.Uplinks() {
		f, ok := s.Facts[u.Name]
		if !ok {
			continue
		}
		if f.MTU >= minMTU && (out.MTU == 0 || f.MTU < out.MTU) {
			out.MTU = f.MTU
		}
		if most == 0 || f.Segments < most {
			most = f.Segments
		}
	}
	if s.Config.BigTCP && most > PlainSegments && out.MTU-jumboHeader >= minMTU {
		out.Segments = most
	}
	// Without the MTU of an uplink nothing would tell large packets that they cannot leave.
	if own := s.Own(); s.Config.LargeMTU && out.MTU != 0 && len(own) > 0 {
		out.Near, out.Home = NearMTU, own[0].Masked()
	}
	return out
}

// minMTU is the least an IPv6 link carries (RFC 8200, section 5).
const minMTU = 1280
