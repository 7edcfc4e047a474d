package ipam

import (
	"encoding/binary"
	"math/bits"
)

// speckRounds of Speck64/128 (Beaulieu et al. 2013, table 4.1).
const speckRounds = 27

// speck is the block cipher Speck64/128: blocks of 64 bits, a key of 128. It needs nothing but additions, rotations and
// exclusive ors of 32-bit words.
type speck [speckRounds]uint32 // one key for each round

// newSpeck expands a key (section 4.3). Words are little-endian, the first is k0.
func newSpeck(key [16]byte) speck {
	var s speck
	var l [3]uint32
	s[0] = binary.LittleEndian.Uint32(key[:])
	for i := range l {
		l[i] = binary.LittleEndian.Uint32(key[4+4*i:])
	}
	for i := range uint32(speckRounds - 1) {
		l[i%3], s[i+1] = speckRound(l[i%3], s[i], i)
	}
	return s
}

// speckRound is the round function (section 4.1), which also makes the keys.
func speckRound(x, y, key uint32) (uint32, uint32) {
	x = bits.RotateLeft32(x, -8) + y ^ key
	return x, bits.RotateLeft32(y, 3) ^ x
}

func (s *speck) encrypt(block uint64) uint64 {
	x, y := uint32(block>>32), uint32(block)
	for _, key := range s {
		x, y = speckRound(x, y, key)
	}
	return uint64(x)<<32 | uint64(y)
}

func (s *speck) decrypt(block uint64) uint64 {
	x, y := uint32(block>>32), uint32(block)
	for i := len(s) - 1; i >= 0; i-- {
		y = bits.RotateLeft32(y^x, -3)
		x = bits.RotateLeft32((x^s[i])-y, 8)
	}
	return uint64(x)<<32 | uint64(y)
}
