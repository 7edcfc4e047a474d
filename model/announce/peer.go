package announce

import (
	"net/netip"

	"hexapod.dev/model/prefix"
)

// Peer is one neighbour that routes are exchanged with, as configured.
type Peer struct {
	Name      string
	Addr      netip.Addr // of the peer; invalid: whoever advertises itself on Interface
	Interface string     // link of an unnumbered peer, or of a link-local Addr
	ASN       uint32     // the peer's; 0: any but our own
	LocalASN  uint32     // ours towards this peer; 0: the speaker's

	Password    string      // TCP MD5 signature (RFC 2385); empty: none
	GTSM        bool        // only packets with hop limit 255 count (RFC 5082)
	MaxPrefixes uint32      // more offered: the session ends
	Communities []uint32    // on every route to this peer (RFC 1997)
	Large       [][3]uint32 // likewise (RFC 8092)
	Terms       Terms
	Tell        []prefix.Match // what of the announced routes this peer is told; nil: all

	HoldSeconds      uint32 // without a word the session ends (RFC 4271 4.2)
	KeepaliveSeconds uint32
	Passive          bool // wait for the peer to connect

	Restart RestartTimes
	BFD     *BFD // nil: none
}

// RestartTimes are those of graceful restart (RFC 4724).
type RestartTimes struct {
	Off     bool
	Seconds uint32 // how long the peer keeps our routes when the session breaks; at most 4095
	// Silence ends our routes: the peer keeps them when the connection breaks, and not when nothing was heard for the hold time. Else it keeps them
	// then, too (the N bit of RFC 8538).
	Silence bool
}

// BFD is bidirectional forwarding detection with the peer (RFC 5880, RFC 5881).
type BFD struct {
	IntervalMillis uint32
	Multiplier     uint32
}

// Unnumbered reports whether the address of the peer is found on its link.
func (p Peer) Unnumbered() bool { return !p.Addr.IsValid() }

// Speaker is what one host says of itself and with whom it speaks.
type Speaker struct {
	ASN      uint32
	RouterID netip.Addr // four octets (RFC 4271 4.2, RFC 6286)
	Peers    []Peer
}

// DefaultAccept is what a peer may give where nothing is named: the fabric, the fabrics it knows, and the pools of fixed
// addresses.
func DefaultAccept(fabric netip.Prefix, others, pools []netip.Prefix) []prefix.Match {
	all := append([]netip.Prefix{fabric}, others...)
	return Within(prefix.NewSet(append(all, pools...)...).Prefixes()...)
}

// Within accepts each of the ranges with everything in it.
func Within(ranges ...netip.Prefix) []prefix.Match {
	var all []prefix.Match
	for _, r := range ranges {
		all = append(all, prefix.Within(r))
	}
	return all
}
