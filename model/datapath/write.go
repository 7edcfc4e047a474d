package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"hexapod.dev/model/desired"
)

// Description is a packet as a person describes it.
type Description struct {
	From, To         netip.Addr
	Proto            string // tcp: the first packet of a connection; udp; icmp: an echo request
	FromPort, ToPort uint16 // of icmp: FromPort is the identifier
}

// Write writes a described packet as a frame. Checksums are left out: nobody on the way looks at them.
func Write(src, dst desired.MAC, d Description) ([]byte, error) {
	if !d.From.Is6() || !d.To.Is6() || d.From.Is4In6() || d.To.Is4In6() {
		return nil, fmt.Errorf("packet from %s to %s: both have to be IPv6 addresses", d.From, d.To)
	}
	var upper []byte
	var proto byte
	switch d.Proto {
	case "tcp":
		proto, upper = protoTCP, make([]byte, 20)
		upper[12], upper[13] = 5<<4, tcpSYN
	case "udp":
		proto, upper = protoUDP, make([]byte, 8)
		binary.BigEndian.PutUint16(upper[4:], 8)
	case "icmp":
		proto, upper = protoICMP, make([]byte, 8)
		upper[0] = echoRequest
		binary.BigEndian.PutUint16(upper[4:], d.FromPort)
	default:
		return nil, fmt.Errorf("protocol %q: want tcp, udp or icmp", d.Proto)
	}
	if d.Proto != "icmp" {
		binary.BigEndian.PutUint16(upper, d.FromPort)
		binary.BigEndian.PutUint16(upper[2:], d.ToPort)
	}
	b := make([]byte, etherLen+ipv6Len, etherLen+ipv6Len+len(upper))
	copy(b, dst[:])
	copy(b[6:], src[:])
	binary.BigEndian.PutUint16(b[12:], etherTypeIPv6)
	const hops = 64
	b[14], b[20], b[21] = 6<<4, proto, hops
	binary.BigEndian.PutUint16(b[18:], uint16(len(upper)))
	from, to := d.From.As16(), d.To.As16()
	copy(b[22:], from[:])
	copy(b[38:], to[:])
	return append(b, upper...), nil
}
