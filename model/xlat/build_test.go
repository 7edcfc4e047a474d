package xlat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The tests build and check packets with their own arithmetic, so that a fault in the code's does not hide itself.

// plainSum adds 16-bit words as RFC 1071 says, without any trick.
func plainSum(parts ...[]byte) uint16 {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
		if len(p)%2 == 1 {
			all = append(all, 0)
		}
	}
	var s uint32
	for i := 0; i < len(all); i += 2 {
		s += uint32(all[i])<<8 + uint32(all[i+1])
		if s > 0xffff {
			s -= 0xffff
		}
	}
	return uint16(s)
}

func pseudo(src, dst netip.Addr, length int, protocol byte) []byte {
	b := append(append([]byte(nil), src.AsSlice()...), dst.AsSlice()...)
	return append(b, byte(length>>24), byte(length>>16), byte(length>>8), byte(length), 0, 0, 0, protocol)
}

// checksumAt is where a transport has its checksum; -1 if it has none that we know.
func checksumAt(protocol byte) int {
	switch protocol {
	case protoTCP:
		return 16
	case protoUDP:
		return 6
	case protoICMP, protoICMPv6:
		return 2
	}
	return -1
}

// sealed returns a copy of a transport with the right checksum for these ends.
func sealed(src, dst netip.Addr, protocol byte, l4 []byte) []byte {
	b := append([]byte(nil), l4...)
	at := checksumAt(protocol)
	if at < 0 {
		return b
	}
	b[at], b[at+1] = 0, 0
	head := pseudo(src, dst, len(b), protocol)
	if protocol == protoICMP {
		head = nil
	}
	c := ^plainSum(head, b)
	if c == 0 && protocol == protoUDP {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], c)
	return b
}

// raw6 is an IPv6 packet: header, extension headers as they are, transport as it is.
func raw6(src, dst netip.Addr, hops, next byte, rest ...[]byte) []byte {
	b := make([]byte, 40)
	b[0], b[6], b[7] = 0x60, next, hops
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	for _, r := range rest {
		b = append(b, r...)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// ip6 is an IPv6 packet with a transport whose checksum is right.
func ip6(src, dst netip.Addr, protocol byte, l4 []byte) []byte {
	return raw6(src, dst, 64, protocol, sealed(src, dst, protocol, l4))
}

type head4 struct {
	ttl, tos byte
	id       uint16
	flags    uint16 // with the offset in units of 8 bytes
	options  []byte
}

func raw4(h head4, src, dst netip.Addr, protocol byte, rest []byte) []byte {
	b := make([]byte, 20, 20+len(h.options)+len(rest))
	b = append(append(b, h.options...), rest...)
	b[0], b[1], b[8], b[9] = 0x40|byte(5+len(h.options)/4), h.tos, h.ttl, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], h.id)
	binary.BigEndian.PutUint16(b[6:], h.flags)
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], ^plainSum(b[:20+len(h.options)]))
	return b
}

func ip4(src, dst netip.Addr, protocol byte, l4 []byte) []byte {
	return raw4(head4{ttl: 64, flags: 0x4000}, src, dst, protocol, sealed(src, dst, protocol, l4))
}

func tcp(src, dst uint16, data string) []byte {
	b := make([]byte, 20, 20+len(data))
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	b[12], b[13], b[14] = 0x50, 0x18, 0x20
	return append(b, data...)
}

func udp(src, dst uint16, data string) []byte {
	b := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(data)))
	return append(b, data...)
}

func icmp(kind, code byte, rest uint32, data []byte) []byte {
	b := []byte{kind, code, 0, 0, byte(rest >> 24), byte(rest >> 16), byte(rest >> 8), byte(rest)}
	return append(b, data...)
}

// fragment6 is a fragment header.
func fragment6(next byte, offset int, more bool, id uint32) []byte {
	b := []byte{next, 0, byte(offset >> 8), byte(offset), byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
	if more {
		b[3] |= 1
	}
	return b
}

// verify checks everything of a packet that can be checked without knowing where it comes from: lengths, and checksums where all of
// what they cover is there.
func verify(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("empty")
	}
	if b[0]>>4 == 4 {
		ihl := int(b[0]&15) * 4
		switch {
		case len(b) < 20 || ihl < 20 || ihl > len(b):
			return fmt.Errorf("IPv4 header of %d bytes in %d", ihl, len(b))
		case int(binary.BigEndian.Uint16(b[2:])) != len(b):
			return fmt.Errorf("IPv4 total length %d of %d bytes", binary.BigEndian.Uint16(b[2:]), len(b))
		case plainSum(b[:ihl]) != 0xffff:
			return fmt.Errorf("IPv4 header checksum")
		case binary.BigEndian.Uint16(b[6:])&0x3fff != 0:
			return nil // a fragment
		}
		return verifyTransport(netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[9], b[ihl:])
	}
	switch {
	case len(b) < 40 || b[0]>>4 != 6:
		return fmt.Errorf("%d bytes are no IPv6 packet", len(b))
	case int(binary.BigEndian.Uint16(b[4:])) != len(b)-40:
		return fmt.Errorf("IPv6 payload length %d of %d bytes", binary.BigEndian.Uint16(b[4:]), len(b)-40)
	case b[6] == protoFragment:
		return nil
	}
	return verifyTransport(netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[6], b[40:])
}

func verifyTransport(src, dst netip.Addr, protocol byte, l4 []byte) error {
	at := checksumAt(protocol)
	if at < 0 || at+2 > len(l4) {
		return nil
	}
	head := pseudo(src, dst, len(l4), protocol)
	if protocol == protoICMP {
		head = nil
	}
	if s := plainSum(head, l4); s != 0xffff {
		return fmt.Errorf("protocol %d: checksum off by %04x", protocol, ^s)
	}
	return nil
}
