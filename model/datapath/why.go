package datapath

// Why tells what became of a packet and for what reason. Its number is an index of the programs' counters
// (bpf/include/why.h), its word the label in metrics, status and command line.
type Why uint8

// Reasons for which a packet goes on. All others are drops.
const (
	NotOurs    Why = iota // neither from nor to an endpoint
	Local                 // handed to an endpoint of this host directly
	Remote                // handed to the next hop directly
	KernelPath            // the kernel forwards: the direct path is switched off
	ToHost                // the kernel's routes decide: the host itself, another link, no route
	HopLimit              // the kernel answers that its hop limit ends here
	TooBig                // the kernel answers that it is too big for the next link
	Neighbour             // neighbour discovery between an endpoint and the host
	Judged                // was judged where it came in
	FromHost              // the host itself sends it
	OtherWay              // came another way than an uplink and was judged at the endpoint's link
	IPv4                  // IPv4 of an endpoint that has an address of it: the kernel forwards
	Refused               // nobody answers for the service: its sender is told
	Answered              // asks for the gateway or for an echo of it: its sender is told
)

// Reasons for which a packet is dropped.
const (
	NotIPv6             Why = iota + 16 // neither IPv6 nor IPv4 of an endpoint that has an address of it, or a VLAN tag
	Truncated                           // shorter than its headers say
	Malformed                           // headers that no sender may write
	TooManyHeaders                      // more extension headers than are looked at
	RoutingHeader                       // a routing header from or to an endpoint
	SpoofedSource                       // a source address that is not the endpoint's
	SpoofedMAC                          // a source MAC that is not the endpoint's
	ForeignMAC                          // to a MAC that is not the host's
	SpoofedNeighbour                    // neighbour discovery about somebody else, or off its link
	RouterAdvertisement                 // an endpoint is no router
	Redirect                            // an endpoint is no router
	Multicast                           // multicast is not forwarded
	Locator                             // to the segment routing locator of a host
	ForgedInside                        // an inside source where none can come from
	WrongHostMAC                        // an inside source from another MAC than its host's
	UnrelatedError                      // an ICMPv6 error about no flow of the endpoint
	ErrorRate                           // more packet-too-big messages about unknown flows than are let through
	ICMPType                            // an ICMPv6 message that endpoints have no use for
	FragmentTiny                        // a first fragment without the whole header chain (RFC 7112)
	FragmentOverlap                     // fragments that overlap (RFC 5722)
	FragmentUnknown                     // a fragment whose first one was not seen
	Denied                              // policy
	FlowTableFull                       // no room for another flow of this endpoint
	NotItsAddress                       // delivered to a link whose endpoint has another address
	NoBackend                           // nobody answers for the service, and the packet is none that can be answered

	whyEnd
)

// Whys is how many numbers reasons take, unused ones included: the size of the programs' counters per place.
const Whys = int(whyEnd)

// Drop tells whether a packet with this reason ends here.
func (w Why) Drop() bool { return w >= NotIPv6 }

var words = map[Why]string{
	NotOurs: "not-ours", Local: "local", Remote: "remote", KernelPath: "kernel-path", ToHost: "to-host", HopLimit: "hop-limit",
	TooBig: "too-big", Neighbour: "neighbour", Judged: "judged", FromHost: "from-host", OtherWay: "other-way", IPv4: "ipv4",
	Refused: "refused", Answered: "answered",

	NotIPv6: "not-ipv6", Truncated: "truncated", Malformed: "malformed", TooManyHeaders: "too-many-headers",
	RoutingHeader: "routing-header", SpoofedSource: "spoofed-source", SpoofedMAC: "spoofed-mac", ForeignMAC: "foreign-mac",
	SpoofedNeighbour: "spoofed-neighbour", RouterAdvertisement: "router-advertisement", Redirect: "redirect",
	Multicast: "multicast", Locator: "locator", ForgedInside: "forged-inside", WrongHostMAC: "wrong-host-mac",
	UnrelatedError: "unrelated-error", ErrorRate: "error-rate", ICMPType: "icmp-type", FragmentTiny: "fragment-tiny",
	FragmentOverlap: "fragment-overlap", FragmentUnknown: "fragment-unknown", Denied: "denied",
	FlowTableFull: "flow-table-full", NotItsAddress: "not-its-address", NoBackend: "no-backend",
}

// String is the word of the reason; empty for a number without a meaning.
func (w Why) String() string { return words[w] }

// AllWhys lists the reasons by number.
func AllWhys() []Why {
	var all []Why
	for w := range whyEnd {
		if words[w] != "" {
			all = append(all, w)
		}
	}
	return all
}

// Place is where a packet is met (bpf/include/slot.h).
type Place uint8

// The places where programs hang.
const (
	FromEndpoint Place = iota // ingress of the host side of an endpoint's link: what the endpoint sends
	FromUplink                // ingress of an uplink: what arrives
	ToEndpoint                // egress of the host side of an endpoint's link: what the kernel delivers

	Places int = iota
)

func (p Place) String() string {
	return [...]string{"from-endpoint", "from-uplink", "to-endpoint"}[p]
}
