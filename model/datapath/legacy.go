package datapath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// IPv4 exists for endpoints that have an address of it, in a dual-stack cluster. Such an address stands in the maps as an
// IPv4-mapped one (RFC 4291 2.5.5.2), and its packets are read as if they were of IPv6: what they may do is then judged alike. The
// kernel forwards them.

const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	ipv4Len       = 20
	arpLen        = 28
	protoICMP4    = 1
)

// ends reads source and destination of an IPv4 packet.
func ends(frame []byte) (src, dst netip.Addr, ok bool) {
	if len(frame) < etherLen+ipv4Len || binary.BigEndian.Uint16(frame[12:]) != etherTypeIPv4 || frame[etherLen]>>4 != 4 {
		return src, dst, false
	}
	return mapped4(frame[26:30]), mapped4(frame[30:34]), true
}

func mapped4(b []byte) netip.Addr { return netip.AddrFrom16(netip.AddrFrom4([4]byte(b)).As16()) }

// proto4 is a protocol as flows have it: ICMP is that of IPv6, whose number is no protocol of IPv4.
func proto4(proto uint8) uint8 {
	switch proto {
	case protoICMP4:
		return protoICMP
	case protoICMP:
		return protoICMP4
	}
	return proto
}

// type4 is the ICMPv6 type of a message of ICMP (RFC 7915 4.2); 0 for one that endpoints have no use for.
func type4(icmpType, code uint8) uint8 {
	switch icmpType {
	case 0:
		return echoReply
	case 3:
		if code == 4 { // a fragment is needed
			return packetTooBig
		}
		return 1
	case 8:
		return echoRequest
	case 11:
		return 3
	case 12:
		return paramProblem
	}
	return 0
}

// parse4 reads an IPv4 packet, whose ends are known, up to the ports.
func parse4(frame []byte, src, dst netip.Addr) (h Header, why Why) {
	b := frame[etherLen:]
	h.Src, h.Dst = src, dst
	h.End = len(frame)
	if n := int(binary.BigEndian.Uint16(b[2:])); n != 0 { // a length of 0 is that of a super-packet
		h.End = etherLen + n
	}
	head := int(b[0]&0xf) * 4
	h.Upper = etherLen + head
	switch {
	case head < ipv4Len:
		return h, Malformed
	case h.End > len(frame) || h.Upper > h.End:
		return h, Truncated
	}
	part := binary.BigEndian.Uint16(b[6:])
	h.Offset = int(part&0x1fff) * 8
	h.First = h.Offset == 0
	h.Fragment = !h.First || part&0x2000 != 0
	h.ID = uint32(b[9])<<16 | uint32(binary.BigEndian.Uint16(b[4:])) // RFC 791 3.2: it is told apart by the protocol as well
	h.Data, h.Proto = h.Upper, proto4(b[9])
	if h.Fragment && !h.First {
		return h, 0
	}
	if h.Proto != protoICMP {
		return h, h.upper(frame)
	}
	if h.Upper+8 > h.End {
		return h, h.short()
	}
	b = frame[h.Upper:]
	h.Type = type4(b[0], b[1])
	if h.Type == echoRequest || h.Type == echoReply {
		h.SrcPort = binary.BigEndian.Uint16(b[4:])
		h.DstPort = h.SrcPort
	}
	return h, 0
}

// inner4Of reads the packet that an error of ICMP is about, as far as its ports.
func inner4Of(frame []byte, h Header) (inner Header, ok bool) {
	at := h.Upper + 8
	if h.Fragment || at+ipv4Len > h.End {
		return inner, false
	}
	b := frame[at:]
	if b[0]>>4 != 4 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return inner, false
	}
	inner.Src, inner.Dst, inner.Proto = mapped4(b[12:16]), mapped4(b[16:20]), proto4(b[9])
	if !hasPorts(inner.Proto) && inner.Proto != protoICMP {
		return inner, true
	}
	upper := at + int(b[0]&0xf)*4
	if upper+8 > h.End {
		return inner, false
	}
	b = frame[upper:]
	if inner.Proto == protoICMP {
		if t := type4(b[0], 0); t != echoRequest && t != echoReply {
			return inner, false
		}
		inner.SrcPort = binary.BigEndian.Uint16(b[4:])
		inner.DstPort = inner.SrcPort
		return inner, true
	}
	inner.SrcPort, inner.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	return inner, true
}

// legacyFrom judges what an endpoint sends besides IPv6.
func (s *State) legacyFrom(p Packet) Outcome {
	if len(p.Frame) >= etherLen+arpLen && binary.BigEndian.Uint16(p.Frame[12:]) == etherTypeARP {
		return s.arp(p)
	}
	src, dst, ok := ends(p.Frame)
	if !ok {
		return p.end(NotIPv6)
	}
	self, ok := s.Endpoints[src]
	switch {
	case !ok || self.Link != p.Link:
		return p.end(NotIPv6)
	case p.srcMAC() != self.MAC:
		return p.end(SpoofedMAC)
	case p.dstMAC() != self.HostMAC:
		return p.end(ForeignMAC)
	}
	h, why := parse4(p.Frame, src, dst)
	if why == 0 {
		p.door = asked // services have IPv4 where sockets connect, and not here
		why, _ = s.pass(&p, h, self.Link, 0)
	}
	if why != 0 {
		return p.end(why)
	}
	return p.kernel(IPv4)
}

// arp lets an endpoint speak of itself alone (RFC 826).
func (s *State) arp(p Packet) Outcome {
	b := p.Frame[etherLen:]
	if !bytes.Equal(b[:6], []byte{0, 1, 8, 0, 6, 4}) {
		return p.end(NotIPv6)
	}
	self, ok := s.Endpoints[mapped4(b[14:18])]
	switch {
	case !ok || self.Link != p.Link:
		return p.end(NotIPv6)
	case p.srcMAC() != self.MAC || !bytes.Equal(b[8:14], self.MAC[:]):
		return p.end(SpoofedMAC)
	}
	return p.kernel(Neighbour)
}

// legacyTo judges what the kernel delivers to an endpoint besides IPv6. What the endpoints of this host send was judged and marked; of what
// the host itself sends the flow is noted.
func (s *State) legacyTo(p Packet) Outcome {
	src, dst, ok := ends(p.Frame)
	self, here := s.Endpoints[dst]
	known := ok && here && self.Link == p.Link
	switch {
	case !known && p.Came == 0:
		return p.end(FromHost)
	case !known:
		return p.end(NotIPv6)
	}
	h, why := parse4(p.Frame, src, dst)
	p.door = asked
	switch {
	case p.Came == 0 && why == 0 && !h.along():
		s.note(&p, h, self.Link)
		fallthrough
	case p.Came == 0:
		return p.end(FromHost)
	case why == 0:
		why, _ = s.pass(&p, h, self.Link, p.Came)
	}
	if why != 0 {
		return p.end(why)
	}
	return p.end(OtherWay)
}
