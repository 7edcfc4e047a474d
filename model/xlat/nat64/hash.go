package nat64

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Secret keys the choice of ports, so that nobody outside can tell the next one (RFC 6056, RFC 6888 REQ-15).
type Secret [16]byte

// hash is SipHash-2-4 (Aumasson and Bernstein, 2012) of a message whose length is a multiple of 8.
func (s Secret) hash(message []byte) uint64 {
	k0, k1 := binary.LittleEndian.Uint64(s[:8]), binary.LittleEndian.Uint64(s[8:])
	v := [4]uint64{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	mix := func(m uint64, rounds int) {
		v[3] ^= m
		for range rounds {
			v[0] += v[1]
			v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
			v[0] = bits.RotateLeft64(v[0], 32)
			v[2] += v[3]
			v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
			v[0] += v[3]
			v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
			v[2] += v[1]
			v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
			v[2] = bits.RotateLeft64(v[2], 32)
		}
		v[0] ^= m
	}
	for i := 0; i < len(message); i += 8 {
		mix(binary.LittleEndian.Uint64(message[i:]), 2)
	}
	mix(uint64(len(message))<<56, 2)
	v[2] ^= 0xff
	mix(0, 4)
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

// place hashes an end of an endpoint to a number that chooses its port.
func (s Secret) place(addr netip.Addr, port uint16, protocol uint8) uint64 {
	var m [24]byte
	b := addr.As16()
	copy(m[:], b[:])
	binary.BigEndian.PutUint16(m[16:], port)
	m[18] = protocol
	return s.hash(m[:])
}
