package datapath

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"hexapod.dev/model/desired"
)

// Where addresses are in a frame.
const (
	srcAt = etherLen + 8
	dstAt = etherLen + 24
)

func put(b []byte, a netip.Addr) {
	raw := a.As16()
	copy(b, raw[:])
}

// mend brings the checksum at sum up to date after old became new (RFC 1624). Of UDP, a checksum of 0 is none.
func mend(sum, old, next []byte, udp bool) {
	have := binary.BigEndian.Uint16(sum)
	if udp && have == 0 {
		return
	}
	s := uint64(^uint32(have))
	for i := 0; i < len(old); i += 2 {
		s += uint64(^binary.BigEndian.Uint16(old[i:])) + uint64(binary.BigEndian.Uint16(next[i:]))
	}
	have = ^fold(s)
	if udp && have == 0 {
		have = 0xffff
	}
	binary.BigEndian.PutUint16(sum, have)
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// replace puts next over the bytes at a place of the frame and mends the checksum at sum; 0: there is none.
func (p Packet) replace(at int, next []byte, sum int, udp bool) {
	old := bytes.Clone(p.Frame[at : at+len(next)])
	copy(p.Frame[at:], next)
	if sum != 0 {
		mend(p.Frame[sum:], old, next, udp)
	}
}

func (p Packet) replaceAddr(at int, a netip.Addr, sum int, udp bool) {
	raw := a.As16()
	p.replace(at, raw[:], sum, udp)
}

func (p Packet) replacePort(at int, port uint16, sum int, udp bool) {
	p.replace(at, binary.BigEndian.AppendUint16(nil, port), sum, udp)
}

// replaceEnd gives a packet another destination, or another source.
func (p Packet) replaceEnd(h *Header, to netip.AddrPort, source bool) {
	sum := map[uint8]int{protoTCP: h.Upper + 16, protoUDP: h.Upper + 6}[h.Proto]
	udp := h.Proto == protoUDP
	if source {
		p.replaceAddr(srcAt, to.Addr(), sum, udp)
		p.replacePort(h.Upper, to.Port(), sum, udp)
		h.Src, h.SrcPort = to.Addr(), to.Port()
		return
	}
	p.replaceAddr(dstAt, to.Addr(), sum, udp)
	p.replacePort(h.Upper+2, to.Port(), sum, udp)
	h.Dst, h.DstPort = to.Addr(), to.Port()
}

// replaceInner replaces an end of the packet that an error is about, and the outer end where it is the same address. source is set for
// what the client sends: it is about what the backend seemed to send.
func (p Packet) replaceInner(h *Header, in Header, to netip.AddrPort, source bool) {
	at, sum := h.Upper+8, h.Upper+2
	if source {
		p.replaceAddr(at+8, to.Addr(), sum, false)
		p.replacePort(in.Upper, to.Port(), sum, false)
		if h.Dst == in.Src {
			p.replaceAddr(dstAt, to.Addr(), sum, false)
			h.Dst = to.Addr()
		}
		return
	}
	p.replaceAddr(at+24, to.Addr(), sum, false)
	p.replacePort(in.Upper+2, to.Port(), sum, false)
	if h.Src == in.Dst {
		p.replaceAddr(srcAt, to.Addr(), sum, false)
		h.Src = to.Addr()
	}
}

// refuse turns a packet to a service without backends around, as what tells its sender that nobody listens (RFC 4443 3.1).
func (p *Packet) refuse(h Header) Why {
	const unreachable, noPort, quoted, hops = 1, 4, ipv6Len + 8, 64
	if h.Upper != etherLen+ipv6Len || h.Fragment {
		return NoBackend
	}
	message := append([]byte{unreachable, noPort, 0, 0, 0, 0, 0, 0}, p.Frame[etherLen:etherLen+quoted]...)
	p.turnRound(p.dstMAC(), h.Dst, h.Src, hops, message)
	return Refused
}

// turnRound puts an ICMPv6 message in place of the packet, back to the MAC it came from. The checksum of the message is 0 as yet.
func (p *Packet) turnRound(mac desired.MAC, src, dst netip.Addr, hops byte, message []byte) {
	b := make([]byte, etherLen+ipv6Len, etherLen+ipv6Len+len(message))
	copy(b, p.Frame[6:12])
	copy(b[6:], mac[:])
	copy(b[12:], p.Frame[12:14])
	b[14], b[20], b[21] = 6<<4, protoICMP, hops
	binary.BigEndian.PutUint16(b[18:], uint16(len(message)))
	put(b[srcAt:], src)
	put(b[dstAt:], dst)
	binary.BigEndian.PutUint16(message[2:], messageSum(src, dst, message))
	p.Frame = append(b, message...)
}

// messageSum is the checksum of an ICMPv6 message (RFC 8200 8.1): what goes into the empty field, or 0 where it is there and right.
func messageSum(src, dst netip.Addr, message []byte) uint16 {
	var ends [32]byte
	put(ends[:], src)
	put(ends[16:], dst)
	sum := uint64(len(message)) + protoICMP
	for _, part := range [][]byte{ends[:], message} {
		for i := 0; i < len(part); i += 2 {
			sum += uint64(binary.BigEndian.Uint16(part[i:]))
		}
	}
	return ^fold(sum)
}

// back sends a packet that was turned around to where it came from.
func (p Packet) back(why Why) Outcome {
	o := p.end(why)
	o.Fate, o.Out = Back, p.Link
	o.Mark |= MarkSet
	return o
}
