// Package desired derives, from a snapshot of all sources, everything one host should hold.
//
// The values here are what the linux shelf makes true: links of endpoints, routes, neighbours and sysctls, each under the
// key by which it is compared with the kernel.
package desired

import (
	"fmt"
	"net/netip"
)

// MAC is an Ethernet address.
type MAC [6]byte

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// EndpointKey names one interface of one endpoint: the CNI container id and interface name.
type EndpointKey struct {
	Container string `json:"container"`
	Interface string `json:"interface"`
}

func (k EndpointKey) String() string { return k.Container + "/" + k.Interface }

// Link is the veth pair of an endpoint (design: the peer is born inside the endpoint's namespace).
type Link struct {
	Key     EndpointKey
	Name    string       // host side, at most 15 bytes, starts with "hx"
	NetNS   string       // path of the endpoint's network namespace
	HostMAC MAC          // host side
	MAC     MAC          // inside the endpoint
	Addrs   []netip.Addr // each becomes a /128 without DAD inside the endpoint, or a /32
	Sizes

	Bandwidth Bandwidth
}

// Bandwidth bounds what an endpoint receives and sends. A zero rate is no bound.
type Bandwidth struct {
	Ingress Rate `json:"ingress,omitzero"` // towards the endpoint
	Egress  Rate `json:"egress,omitzero"`  // from it
}

// Rate is one bound.
type Rate struct {
	Bits  uint64 `json:"bits"`            // a second
	Burst uint64 `json:"burst,omitempty"` // bits that may come at once; 0: what suits the rate
}

// Route is one route of the main table, known by its destination. One to an IPv4 prefix has an IPv6 next hop all the same, as RFC
// 8950 has it for BGP: no host and no link needs an IPv4 address then, and nobody ARP.
type Route struct {
	Dst     netip.Prefix
	Via     netip.Addr // IPv6; invalid: on-link
	Link    string     // output link; empty for a discard route
	Discard bool       // an unused address of an owned prefix must not bounce between router and host
}

// NextHop is one way onward of a learned route: a router on a link. Several of one route weigh the same.
type NextHop struct {
	Via  netip.Addr // without zone; link-local where the session is unnumbered
	Link string
}

func (n NextHop) String() string { return n.Via.String() + " dev " + n.Link }

// Neighbour is a permanent neighbour entry, known by link and address.
type Neighbour struct {
	Link string
	Addr netip.Addr
	MAC  MAC
}
