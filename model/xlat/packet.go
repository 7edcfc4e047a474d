package xlat

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers and header types that translation knows.
const (
	protoHopByHop    = 0
	protoICMP        = 1
	protoTCP         = 6
	protoUDP         = 17
	protoRouting     = 43
	protoFragment    = 44
	protoICMPv6      = 58
	protoDestination = 60
)

const (
	header4  = 20 // bytes of an IPv4 header without options
	header6  = 40
	fragment = 8 // bytes of an IPv6 fragment header
)

// Ends are the two ends of a packet in one family. Ports are those of TCP and UDP; an ICMP query has its identifier in both. They are zero
// where a packet shows none: fragments behind the first, other protocols.
type Ends struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
}

// packet is what a header says, in the words of neither family.
type packet struct {
	ends     Ends
	protocol uint8 // as its own family numbers it
	class    uint8 // TOS or traffic class
	hops     uint8 // TTL or hop limit
	df       bool  // IPv4 alone

	cut    bool   // a fragment that is not the whole
	atomic bool   // IPv6 with a fragment header that is the whole (RFC 6946)
	offset int    // in bytes
	more   bool   // fragments follow
	id     uint32 // of the fragment

	length  int    // of what is behind the headers, as they say
	payload []byte // what is there of it: as long, but for a packet quoted by an ICMP error
}

// first reports whether the payload begins with a transport header.
func (p *packet) first() bool { return p.offset == 0 }

// parse6 reads an IPv6 header and the extension headers behind it. quoted packets may be cut short. at is the octet that is wrong.
func parse6(b []byte, quoted bool) (p packet, why Why, at int) {
	if len(b) < header6 || b[0]>>4 != 6 {
		return p, Malformed, 0
	}
	p.class = b[0]<<4 | b[1]>>4
	p.hops = b[7]
	p.ends = Ends{Src: netip.AddrFrom16([16]byte(b[8:24])), Dst: netip.AddrFrom16([16]byte(b[24:40]))}
	length := int(binary.BigEndian.Uint16(b[4:]))
	end := header6 + length
	if end > len(b) {
		if !quoted {
			return p, Malformed, 4
		}
		end = len(b)
	}
	next, i := b[6], header6
	if length == 0 && next == protoHopByHop {
		return p, Jumbogram, 4
	}
	for {
		switch next {
		case protoHopByHop, protoDestination, protoRouting:
			if i+8 > end || i+8*(int(b[i+1])+1) > end {
				return p, Malformed, i
			}
			if p.cut || p.atomic {
				return p, HeaderAfterFragment, i
			}
			if next == protoRouting && b[i+3] != 0 {
				return p, RoutingHeader, i + 3
			}
			next, i = b[i], i+8*(int(b[i+1])+1)
			continue
		case protoFragment:
			if i+fragment > end {
				return p, Malformed, i
			}
			if p.cut || p.atomic {
				return p, HeaderAfterFragment, i
			}
			field := binary.BigEndian.Uint16(b[i+2:])
			p.offset, p.more, p.id = int(field&^7), field&1 != 0, binary.BigEndian.Uint32(b[i+4:])
			p.cut = p.offset != 0 || p.more
			p.atomic = !p.cut
			next, i = b[i], i+fragment
			if p.offset != 0 { // what follows is data, whatever the next header says
				break
			}
			continue
		}
		break
	}
	p.protocol, p.payload, p.length = next, b[i:end], header6+length-i
	if !p.fits() {
		return p, Malformed, 4
	}
	return p, p.ports(next == protoICMPv6), 0
}

// parse4 reads an IPv4 header.
func parse4(b []byte, quoted bool) (p packet, why Why, at int) {
	if len(b) < header4 || b[0]>>4 != 4 {
		return p, Malformed, 0
	}
	start := int(b[0]&15) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	end := total
	if start < header4 || start > len(b) || total < start {
		return p, Malformed, 0
	}
	if end > len(b) {
		if !quoted {
			return p, Malformed, 2
		}
		end = len(b)
	}
	if !quoted && sum(0).bytes(b[:start]).fold() != 0xffff {
		return p, BadChecksum, 10
	}
	p.class, p.hops, p.protocol = b[1], b[8], b[9]
	p.ends = Ends{Src: netip.AddrFrom4([4]byte(b[12:16])), Dst: netip.AddrFrom4([4]byte(b[16:20]))}
	field := binary.BigEndian.Uint16(b[6:])
	p.df, p.more, p.offset = field&0x4000 != 0, field&0x2000 != 0, int(field&0x1fff)*8
	p.id = uint32(binary.BigEndian.Uint16(b[4:]))
	p.cut = p.offset != 0 || p.more
	p.payload, p.length = b[start:end], total-start
	if !p.fits() {
		return p, Malformed, 6
	}
	if !quoted && sourceRouted(b[header4:start]) {
		return p, SourceRoute, 0
	}
	return p, p.ports(p.protocol == protoICMP), 0
}

// fits reports whether a fragment can be part of a packet: all but the last end at a multiple of 8 bytes, and none behind 64 KiB
// (RFC 8200 4.5, RFC 791 3.2).
func (p *packet) fits() bool {
	return !p.cut || (!p.more || p.length%8 == 0) && p.offset+p.length <= 0xffff
}

// sourceRouted reports whether options hold a loose or strict source route that is not used up (RFC 791 3.1).
func sourceRouted(options []byte) bool {
	for len(options) > 0 {
		switch kind := options[0]; {
		case kind == 0:
			return false
		case kind == 1:
			options = options[1:]
			continue
		case len(options) < 2 || options[1] < 2 || int(options[1]) > len(options):
			return false
		case (kind == 131 || kind == 137) && len(options) > 2 && options[2] <= options[1]:
			return true
		}
		options = options[options[1]:]
	}
	return false
}

// ports fills in what the transport header shows.
func (p *packet) ports(icmp bool) Why {
	if !p.first() {
		return Translated
	}
	switch {
	case p.protocol == protoTCP || p.protocol == protoUDP:
		if len(p.payload) < 4 {
			return Malformed
		}
		p.ends.SrcPort, p.ends.DstPort = binary.BigEndian.Uint16(p.payload), binary.BigEndian.Uint16(p.payload[2:])
	case icmp:
		if len(p.payload) < 8 {
			return Malformed
		}
		if isQuery(p.payload[0]) {
			id := binary.BigEndian.Uint16(p.payload[4:])
			p.ends.SrcPort, p.ends.DstPort = id, id
		}
	}
	return Translated
}

// isQuery reports whether an ICMP message of either family is an echo.
func isQuery(kind byte) bool {
	return kind == echoRequest4 || kind == echoReply4 || kind == echoRequest6 || kind == echoReply6
}

// write4 puts an IPv4 header without options in front of length bytes.
func write4(b []byte, p *packet, ends Ends, length int) {
	b[0], b[1] = 0x45, p.class
	binary.BigEndian.PutUint16(b[2:], uint16(header4+length))
	binary.BigEndian.PutUint16(b[4:], uint16(p.id))
	field := uint16(p.offset / 8)
	if p.df {
		field |= 0x4000
	}
	if p.more {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], field)
	b[8], b[9], b[10], b[11] = p.hops, p.protocol, 0, 0
	src, dst := ends.Src.As4(), ends.Dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], sum(0).bytes(b[:header4]).checksum())
}

// write6 puts an IPv6 header, and a fragment header if the packet is cut, in front of length bytes. It returns its own length.
func write6(b []byte, p *packet, ends Ends, length int) int {
	next, size := p.protocol, header6
	if p.cut {
		next, size = protoFragment, header6+fragment
		b[40], b[41] = p.protocol, 0
		field := uint16(p.offset)
		if p.more {
			field |= 1
		}
		binary.BigEndian.PutUint16(b[42:], field)
		binary.BigEndian.PutUint32(b[44:], p.id)
	}
	b[0], b[1], b[2], b[3] = 0x60|p.class>>4, p.class<<4, 0, 0
	binary.BigEndian.PutUint16(b[4:], uint16(size-header6+length))
	b[6], b[7] = next, p.hops
	src, dst := ends.Src.As16(), ends.Dst.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	return size
}
