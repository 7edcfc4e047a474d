package nat64

import "strings"

// Paragraphs by which ours is right where tayga does something else.
const (
	byTransports = "RFC 6146 3.5: a stateful NAT64 translates TCP, UDP and ICMP"
	byThisHost   = "RFC 1122 3.2.1.3: no such address is on a wire"
	byPointers6  = "RFC 7915 5.2: parameter problems are translated"
	byPointers4  = "RFC 7915 4.2: parameter problems are translated"
	byUpdated    = "RFC 7915 4.2, 5.2: the checksum is updated, a wrong one stays wrong and its receiver drops it"
	byLowest     = "RFC 7915 4, 4.1: what may be cut is cut to the least MTU of the IPv6 side, which is configured; here it is that of the fabric"
)

// taygaDiffers are the cases in which the two differ, by the beginning of their names, and the paragraph by which ours is right.
var taygaDiffers = map[string]string{
	smallest:                                    "RFC 7915 5.1: up to 1260 bytes DF is 0; it is the same with each smaller packet below",
	"echo request with a wrong checksum":        byUpdated,
	"echo reply from IPv4 with a wrong":         byUpdated,
	"echo request with code 1":                  "RFC 4443 4.1: the code of an echo is 0",
	"routing header, segments left":             "RFC 7915 5.1: it is not translated, and the sender is told where",
	"fragments of IPv6, the second first":       "RFC 6146 3.4: ports come with the first fragment, the others wait for it",
	"options behind a fragment header":          "RFC 7915 5.1.1: the next header of a fragment is that of a transport",
	"SCTP":                                      byTransports,
	"GRE":                                       byTransports,
	"ESP":                                       byTransports,
	"to 127.0.0.1":                              byThisHost,
	"to 0.0.0.1":                                byThisHost,
	"to 169.254.169.254":                        "RFC 3927 2.7: it is never forwarded",
	"to 224.0.0.1":                              "RFC 6146 1: unicast alone is translated",
	"to 255.255.255.255":                        "RFC 919 7: it is never forwarded",
	"to 10.0.0.1, which nobody named":           "RFC 6146 5.2: private networks are reached only if they are named",
	"from inside the prefix":                    "RFC 6146 3.5: sources inside the prefix are dropped",
	"from a stranger":                           "RFC 6146 5.3: state is kept for nobody but its clients, and others get no answer",
	"ICMPv6 1/3":                                "RFC 7915 5.2: 1/3 becomes 3/1",
	"ICMPv6 4/0, parameter problem":             byPointers6,
	"UDP of IPv4 without checksum":              "RFC 6146 3.4: the checksum is computed",
	"options: loose source route, not":          "RFC 7915 4.1: it is not translated, and the sender is told",
	"1500 bytes without DF":                     byLowest,
	"1480 bytes without DF":                     byLowest,
	"UDP to a port that nobody has":             "RFC 6146 3.5.1: without a binding it is dropped; tayga has no ports",
	"ICMPv4 12/0":                               byPointers4,
	"ICMPv4 12/2":                               byPointers4,
	"ICMPv4 error with an extension (RFC 4884)": "RFC 7915 4.3, RFC 4884 5.1: the extension is kept, and its place told",
}

// unmapped ends the names of cases of a pointer at what the other family has not: both drop them.
const unmapped = ", no counterpart"

// by is the paragraph of a difference, empty where there is none.
func (c taygaCase) by() string {
	for begin, by := range taygaDiffers {
		if strings.HasPrefix(c.what, begin) && !strings.HasSuffix(c.what, unmapped) {
			return by
		}
	}
	return ""
}
