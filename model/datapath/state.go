package datapath

import (
	"net/netip"

	"hexapod.dev/model/desired"
)

// Endpoint is one address of an endpoint of this host (map endpoints).
type Endpoint struct {
	Link     uint32      // index of the host side of its link
	MAC      desired.MAC // inside the endpoint
	HostMAC  desired.MAC // of the host side: the next hop of the endpoint
	Identity uint32      // who it is; 0: not known yet
}

// Kin is an address and another link of the endpoint that has it: which link a packet takes is the choice of its routes (map kin).
type Kin struct {
	Addr netip.Addr
	Link uint32
}

// LinkFlags say what lies behind an uplink (map links).
type LinkFlags uint32

// What may lie behind an uplink.
const (
	Uplink  LinkFlags = 1 << iota // a link the programs hang on
	Outside                       // the outside: no inside source comes from there
	Flat                          // a segment on which hosts are known by their MAC
	Gateway                       // a router on that segment brings inside sources of other segments
)

// InsideFlags say what an inside prefix is (map inside).
type InsideFlags uint32

// What an inside prefix may be.
const (
	Own     InsideFlags = 1 << iota // of this host: nothing from there arrives from elsewhere
	KnownBy                         // its host is on a flat segment and sends from the MAC
	Located                         // prefixes inside have a segment routing locator where the identity would stand
	Self                            // an address of this host itself
)

// Inside is an inside prefix: a source in it is believed where it can come from.
type Inside struct {
	Flags InsideFlags
	Link  uint32      // of KnownBy: the uplink on the segment
	MAC   desired.MAC // of KnownBy
}

// Pair is what the deny list forbids: packets that the first one begins to send to the second (map denied).
type Pair struct{ From, To netip.Addr }

// Settings are what all programs share (map settings).
type Settings struct {
	Fast       bool   // hand packets on directly instead of to the kernel
	Generation uint32 // of policy: a flow of an older one is judged anew
	Seed       uint64 // of the flow table's hash
	Services   bool   // lead packets to services
}

// Fate is what becomes of a packet.
type Fate uint8

// What may become of a packet.
const (
	Pass   Fate = iota // to the kernel
	Drop               // the end
	ToPeer             // into the endpoint behind link Out
	ToNext             // out of link Out to the neighbour Next
	Back               // back to where it came from, by link Out
)

// Packet is a frame where a program meets it.
type Packet struct {
	Place Place
	Frame []byte // Ethernet header first, as long as the buffer: a super-packet has its 256 KB
	Link  uint32 // of the program
	Came  uint32 // by which link it came into the host; 0: the host itself sends it
	Mark  uint32
	Now   uint32 // seconds of 2^30 ns since the kernel booted

	Segment int // of a super-packet, how much of its data goes out in one; else 0

	door door
}

// Outcome is what a program makes of a frame.
type Outcome struct {
	Fate  Fate
	Why   Why
	Frame []byte
	Mark  uint32
	Out   uint32
}

// The mark by which the guard and the programs know that a packet was judged. Other bits are somebody else's.
const (
	MarkMask = 0x0f000000
	MarkSet  = 0x06000000
	// MarkService is on what was judged and still has to be shown as the service's where it is handed to an endpoint.
	MarkService = 0x07000000
	// MarkBelieved is on what comes over an uplink to the host itself from an inside source that was proved there. The host may turn it into
	// a packet to an endpoint (NodePort): then its flow is judged, and its source no more.
	MarkBelieved = 0x05000000
)

// Route is what the kernel's routing table says (bpf_fib_lookup of bpf-helpers(7)).
type Route struct {
	Known        bool // a next hop on a link; else the kernel has to look itself
	Link         uint32
	MTU          int         // of the path, in bytes
	MAC, LinkMAC desired.MAC // of the next hop and of the link; zeroes while the next hop is not known by its MAC
}

// State is everything the programs of one host know. The zero maps are empty.
type State struct {
	Settings  Settings
	Endpoints map[netip.Addr]Endpoint
	Kin       map[Kin]Endpoint // what else may send from an address: the other links of its endpoint
	Links     map[uint32]LinkFlags
	Inside    map[netip.Prefix]Inside
	Denied    map[Pair]bool
	Policy    *Policy // nil: no policies are in force
	Flows     *Flows
	Fragments map[FragmentKey]Fragment
	Errors    Bucket
	Services  Services

	// What the kernel knows and the programs ask it.
	Route func(in uint32, p Header) Route
	MTU   func(link uint32) int
}

// inside is the longest inside prefix with a.
func (s *State) inside(a netip.Addr) (Inside, bool) {
	best, found := netip.Prefix{}, false
	for p := range s.Inside {
		if p.Contains(a) && (!found || p.Bits() > best.Bits()) {
			best, found = p, true
		}
	}
	return s.Inside[best], found
}
