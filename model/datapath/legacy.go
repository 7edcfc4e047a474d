package datapath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// IPv4 exists for endpoints that have an address of it, in a dual-stack cluster. Such an address stands in the maps as an
// IPv4-mapped one (RFC 4291 2.5.5.2). Sources and the deny list hold as for IPv6; the kernel forwards, and flows are not kept.

const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	ipv4Len       = 20
	arpLen        = 28
)

// ends reads source and destination of an IPv4 packet.
func ends(frame []byte) (src, dst netip.Addr, ok bool) {
	if len(frame) < etherLen+ipv4Len || binary.BigEndian.Uint16(frame[12:]) != etherTypeIPv4 || frame[etherLen]>>4 != 4 {
		return src, dst, false
	}
	return mapped4(frame[26:30]), mapped4(frame[30:34]), true
}

func mapped4(b []byte) netip.Addr { return netip.AddrFrom16(netip.AddrFrom4([4]byte(b)).As16()) }

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
	case s.Denied[Pair{src, dst}]:
		return p.end(Denied)
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

// legacyTo judges what the kernel delivers to an endpoint besides IPv6. What the endpoints of this host send was judged and marked.
func (s *State) legacyTo(p Packet) Outcome {
	src, dst, ok := ends(p.Frame)
	if !ok {
		return p.end(NotIPv6)
	}
	self, ok := s.Endpoints[dst]
	if !ok || self.Link != p.Link {
		return p.end(NotIPv6)
	}
	if _, here := s.Endpoints[src]; here {
		return p.end(ForgedInside)
	}
	if s.Denied[Pair{src, dst}] {
		return p.end(Denied)
	}
	return p.end(OtherWay)
}
