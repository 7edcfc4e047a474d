package xlat

import (
	"encoding/binary"
	"net/netip"
)

// Mapper says who the ends of a packet are in the other family.
type Mapper interface {
	// To4 names the ends of an IPv6 packet in IPv4.
	To4(Query) (Ends, Why)
	// To6 names the ends of an IPv4 packet in IPv6.
	To6(Query) (Ends, Why)
}

// Query is what a Mapper is asked.
type Query struct {
	Protocol uint8 // TCP, UDP, or ICMP as IPv4 numbers it; others as they are
	Ends     Ends
	Quoted   bool   // the packet inside an ICMP error, which went the other way
	Error    bool   // an ICMP error: its source may be a router that nobody has mapped
	Payload  []byte // from the transport header on; of a fragment, its data
	Offset   int    // of the fragment in bytes
	More     bool   // fragments follow
	ID       uint32 // of the fragment
}

// Inner is the question about the packet that an ICMP error quotes; false if it quotes none that can be read.
func (q Query) Inner() (Query, bool) {
	if !q.Error || len(q.Payload) < icmpHeader {
		return Query{}, false
	}
	var p packet
	var why Why
	if q.Ends.Dst.Is4() {
		p, why, _ = parse4(q.Payload[icmpHeader:], true)
	} else {
		p, why, _ = parse6(q.Payload[icmpHeader:], true)
	}
	return p.query(protocol4(p.protocol), true, false), why == Translated
}

// Translator translates packets. Its fields are not changed while it is used.
type Translator struct {
	Mapper Mapper

	MTU4, MTU6 int  // of the links on either side, in bytes; 0 means no limit is known
	LowestMTU6 int  // packets that may be cut are cut to this size (RFC 7915 4, lowest-ipv6-mtu); 0 means 1280
	ClearClass bool // write traffic class and TOS as 0 (RFC 7915 4.1, 5.1: an option)
	// Carried says that a router brings packets here and another takes them on, each counting one hop, and all three are one host: then
	// one of the two is taken back, so that the host is one hop, and the first router has told of hop limits that are used up.
	Carried bool

	// ID makes identifications for IPv4 packets that may be cut (RFC 7915 5.1). It must not repeat for a pair of ends within the life of a fragment.
	ID func() uint16
	// Self4 and Self6 are the sources of ICMP errors that the Translator makes itself.
	Self4, Self6 netip.Addr
}

// Packets is a caller's buffer: what came out of one packet.
type Packets struct {
	buffer [bufferSize]byte
	ends   []int
	starts []int
	// Answer tells that the packets are not the translation but an ICMP error for the sender, in the sender's family.
	Answer bool
}

const (
	maxPacket  = 65535 + header6 + fragment
	bufferSize = 2*maxPacket + 60*(header6+fragment) // a packet of 64 KiB, and behind it the same cut to 1280 bytes
)

// Len is the number of packets.
func (o *Packets) Len() int { return len(o.ends) }

// At returns a packet. It is valid until the next translation.
func (o *Packets) At(i int) []byte { return o.buffer[o.starts[i]:o.ends[i]] }

func (o *Packets) reset() { o.ends, o.starts, o.Answer = o.ends[:0], o.starts[:0], false }

// room is what is left of the buffer.
func (o *Packets) room() []byte {
	if len(o.ends) == 0 {
		return o.buffer[:]
	}
	return o.buffer[o.ends[len(o.ends)-1]:]
}

// hop is the hop limit a packet goes on with.
func (t *Translator) hop(hops uint8) uint8 {
	switch {
	case !t.Carried:
		return hops - 1
	case hops == 255:
		return hops
	}
	return hops + 1
}

// usedUp reports whether a packet has no hop left.
func (t *Translator) usedUp(hops uint8) bool { return hops == 0 || hops == 1 && !t.Carried }

// add takes the next n bytes of room as a packet.
func (o *Packets) add(n int) {
	start := 0
	if len(o.ends) > 0 {
		start = o.ends[len(o.ends)-1]
	}
	o.starts, o.ends = append(o.starts, start), append(o.ends, start+n)
}

// query is what the mapper is asked about a packet.
func (p *packet) query(protocol uint8, quoted, isError bool) Query {
	return Query{Protocol: protocol, Ends: p.ends, Quoted: quoted, Error: isError, Payload: p.payload, Offset: p.offset, More: p.more, ID: p.id}
}

// transport copies the payload behind a header and writes what changes in it: ports, identifiers and the checksum. from and to are the
// ends before and after. Checksums are updated and not made anew, so a wrong one stays wrong (RFC 7915 4.5, 5.5).
func transport(b []byte, p *packet, from, to Ends) {
	copy(b, p.payload)
	if !p.first() {
		return
	}
	switch p.protocol {
	case protoTCP, protoUDP:
		binary.BigEndian.PutUint16(b, to.SrcPort)
		binary.BigEndian.PutUint16(b[2:], to.DstPort)
		at := 16
		if p.protocol == protoUDP {
			at = 6
		}
		if len(p.payload) < at+2 {
			return // a quoted packet that was cut before it
		}
		check := binary.BigEndian.Uint16(b[at:])
		if p.protocol == protoUDP && check == 0 {
			return // a quoted one without checksum
		}
		check = update(check, sum(0).ends(from), sum(0).ends(to))
		if p.protocol == protoUDP && check == 0 {
			check = 0xffff // zero would mean none (RFC 768)
		}
		binary.BigEndian.PutUint16(b[at:], check)
	}
}
