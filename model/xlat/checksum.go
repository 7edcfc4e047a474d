package xlat

import (
	"encoding/binary"
	"net/netip"
)

// sum is a running ones' complement sum (RFC 1071). It has room for 2^48 words.
type sum uint64

// bytes adds data; an odd last byte counts as the upper half of a word.
func (s sum) bytes(data []byte) sum {
	for len(data) >= 2 {
		s += sum(binary.BigEndian.Uint16(data))
		data = data[2:]
	}
	if len(data) == 1 {
		s += sum(data[0]) << 8
	}
	return s
}

func (s sum) addr(a netip.Addr) sum {
	if a.Is4() {
		b := a.As4()
		return s.bytes(b[:])
	}
	b := a.As16()
	return s.bytes(b[:])
}

func (s sum) word(w uint16) sum { return s + sum(w) }

// ends adds addresses and ports.
func (s sum) ends(e Ends) sum {
	return s.addr(e.Src).addr(e.Dst).word(e.SrcPort).word(e.DstPort)
}

// fold returns the sum in 16 bits.
func (s sum) fold() uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// checksum is what goes into a header.
func (s sum) checksum() uint16 { return ^s.fold() }

// update returns a checksum after what it covers changed from before to after (RFC 1624 equation 3). A wrong checksum stays
// wrong by as much.
func update(check uint16, before, after sum) uint16 {
	return (sum(^check) + sum(^before.fold()) + sum(after.fold())).checksum()
}

// Sum is the sum of data in 16 bits (RFC 1071); what goes into a header is its complement.
func Sum(data []byte) uint16 { return sum(0).bytes(data).fold() }

// PseudoSum is the sum of the pseudo-header of what stands at a place of a packet, behind a header of either family without more behind it
// (RFC 9293 3.1, RFC 8200 8.1). It is what a checksum begins with that a device completes.
func PseudoSum(packet []byte, at int, protocol uint8) uint16 {
	addrs := packet[12:20]
	if at >= header6 {
		addrs = packet[8:40]
	}
	return (sum(0).bytes(addrs) + sum(len(packet)-at) + sum(protocol)).fold()
}
