// Package service decides who answers for a service address: which backends a VIP has on one host, and which of them a new
// connection gets.
//
// Services and their slices go in, frontends come out (For); a frontend's backends become a Maglev table that is the same on
// every host (Table). Translator is the twin of what the kernel's hooks do with the tables (bpf/connect.c).
package service

import (
	"cmp"
	"net/netip"

	"hexapod.dev/model/transport"
)

// Name names a service or a slice of one.
type Name struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func (n Name) String() string {
	if n.Namespace == "" {
		return n.Name
	}
	return n.Namespace + "/" + n.Name
}

// Service is what a user says about one service.
type Service struct {
	Name     Name
	VIPs     []netip.Addr // of either family, in any order; none: headless
	External bool         // a name elsewhere (type ExternalName): nothing is translated
	Proxy    string       // another proxy is named to serve it (label service.kubernetes.io/service-proxy-name)
	Ports    []Port

	AffinitySeconds uint32 // a client keeps its backend until it was silent that long; 0: every connection is on its own
	LocalOnly       bool   // internalTrafficPolicy: Local
	Distribution    Distribution
	NotReadyToo     bool // publishNotReadyAddresses

	Here map[uint16]netip.AddrPort // by port: who on this host answers instead of any endpoint, for addresses of its family
}

// Port is one port of a service.
type Port struct {
	Name     string
	Protocol transport.Protocol
	Port     uint16
}

// Distribution says which backends a host prefers.
type Distribution string

// The values of trafficDistribution. PreferClose is the older word for PreferSameZone.
const (
	Anywhere       Distribution = ""
	PreferClose    Distribution = "PreferClose"
	PreferSameZone Distribution = "PreferSameZone"
	PreferSameNode Distribution = "PreferSameNode"
)

// Slice is a part of the endpoints of one service, all of one family.
type Slice struct {
	Name      string // unique in the namespace of the service
	Ports     []SlicePort
	Endpoints []Endpoint
}

// SlicePort is where the endpoints of a slice listen for one port of the service, matched by name and protocol. Port 0 means
// none is given; nothing is translated to it.
type SlicePort struct {
	Name     string
	Protocol transport.Protocol
	Port     uint16
}

// Endpoint is one that may answer.
type Endpoint struct {
	Addr  netip.Addr
	State State
	Node  string // the host it lives on; empty when not known
	Zone  string // where that host stands; empty when not known
	// Hints are the hosts and zones that should use this endpoint, where somebody planned it.
	HintNodes, HintZones []string
}

// State is what is known of an endpoint.
type State uint8

// The conditions of an EndpointSlice.
const (
	Ready State = 1 << iota
	Serving
	Terminating
)

// Is reports whether s has the condition c.
func (s State) Is(c State) bool { return s&c != 0 }

// Source is a service with its slices: all that For needs to know of it.
type Source struct {
	Service Service
	Slices  []Slice
}

// Place is the host for which frontends are made.
type Place struct {
	Node string
	Zone string
}

func compareNames(a, b Name) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
