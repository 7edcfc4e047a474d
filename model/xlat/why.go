package xlat

// Why says what became of a packet. Every value but Translated means that the packet itself went nowhere; Answered ones
// have an ICMP error for its sender in the buffer.
type Why uint8

// What can become of a packet.
const (
	Translated          Why = iota
	Malformed               // shorter than its headers say, or a header that contradicts itself
	BadChecksum             // of the IPv4 header, or of an ICMP error, which would be made anew and hide it
	NoMapping               // nobody on the other side has one of its addresses
	Forbidden               // an address that must not be translated (RFC 6052 3.1, RFC 6146 3.5)
	HopsUsedUp              // RFC 7915 4.1, 5.1: the sender is told in its own family
	SourceRoute             // IPv4 with a source route that is not used up (RFC 7915 4.1)
	RoutingHeader           // IPv6 with segments left (RFC 7915 5.1)
	HeaderAfterFragment     // an extension header behind a fragment header
	FragmentedICMP          // RFC 7915 1.2: not translated
	NoChecksum              // UDP without one in a fragment (RFC 7915 4.5), or in IPv6
	TooBig                  // for the link on the other side; the sender is told
	ICMPUnknown             // a type, code or pointer without a counterpart (RFC 7915 4.2, 5.2)
	ICMPNested              // an ICMP error about an ICMP error (RFC 7915 4.3, 5.3)
	Jumbogram               // RFC 2675
	Refused                 // the mapper has no room: quota or table full (RFC 6888 REQ-4)
	Waiting                 // the mapper keeps the packet until it knows more: a fragment before its first
)

var whyNames = [...]string{"translated", "malformed", "bad checksum", "no mapping", "forbidden address", "hop limit used up", "source route",
	"routing header with segments left", "extension header behind a fragment header", "fragmented ICMP", "UDP without checksum", "too big",
	"ICMP without counterpart", "ICMP error about an ICMP error", "jumbogram", "refused", "waiting"}

func (w Why) String() string { return whyNames[w] }
