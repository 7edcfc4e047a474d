// Package ndp speaks neighbour discovery: it answers for addresses that nobody routes to this host, and finds routers on its links.
//
// Three layers: Parse and Packet.Bytes know the bytes; machines decide what to do with a packet at a moment they are told, and
// know no socket and no clock; ports read and write packets of one link and drive a machine. The two bodies are Responder,
// which answers for addresses, and Routers, which finds the router at the other end of a cable and lets itself be found.
package ndp

import (
	"net/netip"
	"time"

	"hexapod.dev/model/desired"
)

// MAC is an Ethernet address; the zero value stands for none.
type MAC = desired.MAC

// Packet is a neighbour discovery message with what carried it.
type Packet struct {
	Src, Dst       netip.Addr
	SrcMAC, DstMAC MAC // of the frame
	Message        Message
}

// Message is a *Solicitation, *Advertisement, *RouterSolicitation or *RouterAdvertisement.
type Message interface{ icmpType() byte }

// Solicitation asks for the MAC of Target (RFC 4861 4.3). From the unspecified address it asks whether anybody has Target at
// all (RFC 4862 5.4).
type Solicitation struct {
	Target netip.Addr
	MAC    MAC    // source link-layer address; zero when absent
	Nonce  []byte // RFC 3971 5.3.2, for RFC 7527: tells an own probe that came back from that of another; nil when absent
}

// Advertisement says which MAC has Target (RFC 4861 4.4).
type Advertisement struct {
	Target    netip.Addr
	Router    bool
	Solicited bool
	Override  bool
	MAC       MAC // target link-layer address; zero when absent
}

// RouterSolicitation asks routers to advertise (RFC 4861 4.1).
type RouterSolicitation struct {
	MAC MAC // source link-layer address; zero when absent
}

// RouterAdvertisement is what a router says of itself and its link (RFC 4861 4.2).
type RouterAdvertisement struct {
	Lifetime time.Duration // as default router, in seconds; 0: it is none
	Managed  bool
	Other    bool
	MAC      MAC    // source link-layer address; zero when absent
	MTU      uint32 // 0 when absent
	Prefixes []PrefixInformation
	Pref64   []Pref64
}

// PrefixInformation is one prefix of a link (RFC 4861 4.6.2).
type PrefixInformation struct {
	Prefix     netip.Prefix
	OnLink     bool
	Autonomous bool
	// Delegate is the P flag (RFC 9762 4): ask for a prefix of your own by DHCPv6 rather than taking addresses out of this one.
	Delegate         bool
	Valid, Preferred time.Duration // in seconds
}

// Pref64 is a prefix for NAT64 (RFC 8781).
type Pref64 struct {
	Prefix   netip.Prefix
	Lifetime time.Duration // in steps of 8 seconds; 0: not to be used any more
	Reserved bool          // the length code is none that is known (RFC 8781 4): Prefix is the 96 bits that came, and is none
}

func (*Solicitation) icmpType() byte        { return typeSolicitation }
func (*Advertisement) icmpType() byte       { return typeAdvertisement }
func (*RouterSolicitation) icmpType() byte  { return typeRouterSolicitation }
func (*RouterAdvertisement) icmpType() byte { return typeRouterAdvertisement }

// ICMPv6 types (RFC 4861 4).
const (
	typeRouterSolicitation  = 133
	typeRouterAdvertisement = 134
	typeSolicitation        = 135
	typeAdvertisement       = 136
)

// Options (RFC 4861 4.6, RFC 3971 5.3.2, RFC 8781 4).
const (
	optionSourceMAC = 1
	optionTargetMAC = 2
	optionPrefix    = 3
	optionMTU       = 5
	optionNonce     = 14
	optionPref64    = 38
)

const (
	headerLen  = 40  // of IPv6
	hopLimit   = 255 // of every message: it shows that no router forwarded it (RFC 4861 3.1)
	nextICMPv6 = 58
	naRouter   = 0x80
	naSolicit  = 0x40
	naOverride = 0x20
)

// Multicast groups of a link (RFC 4291 2.7.1).
var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
	anywhere   = netip.IPv6Unspecified()
)

// Group returns the solicited-node group of addr: every address with the same low 24 bits has the same one (RFC 4291 2.7.1).
func Group(addr netip.Addr) netip.Addr {
	a := addr.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
}

// groupMAC is the Ethernet address of a multicast group (RFC 2464 7).
func groupMAC(group netip.Addr) MAC {
	a := group.As16()
	return MAC{0x33, 0x33, a[12], a[13], a[14], a[15]}
}

// isSolicitedNode reports whether group is somebody's solicited-node group.
func isSolicitedNode(group netip.Addr) bool {
	return netip.PrefixFrom(group, 104).Masked() == netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff, 0x02, 11: 1, 12: 0xff}), 104)
}
