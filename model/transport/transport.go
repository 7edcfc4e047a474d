// Package transport names the protocols that have ports, by their IANA numbers.
package transport

import "fmt"

// Protocol is an IP protocol number.
type Protocol uint8

// The protocols that services and the rules of policies can name, and the one that neither can.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132

	ICMP Protocol = 58 // of IPv6: it has no ports, and only rules without ports match it
)

func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	case ICMP:
		return "ICMP"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// MarshalText writes the name of the protocol.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the name of a protocol with ports.
func (p *Protocol) UnmarshalText(text []byte) error {
	known := false
	if *p, known = Parse(string(text)); !known {
		return fmt.Errorf("protocol %q: want TCP, UDP or SCTP", text)
	}
	return nil
}

// Parse reads TCP, UDP or SCTP. Nothing is TCP, as Kubernetes has it.
func Parse(s string) (Protocol, bool) {
	switch s {
	case "", "TCP":
		return TCP, true
	case "UDP":
		return UDP, true
	case "SCTP":
		return SCTP, true
	}
	return 0, false
}
