package ipam

import (
	"fmt"
	"slices"
)

// SealKeySize is the length of a seal key in bytes.
const SealKeySize = 16

// Seal is a keyed permutation of 64-bit host parts: the block cipher Speck64/128 in Rogaway's mode XEX with the host prefix as
// tweak, so equal host parts on two hosts look unrelated. docs/decisions/0004 says why it is this cipher: hosts open sealed
// addresses in the kernel, where there is no AES.
type Seal struct {
	cipher speck
}

// NewSeal returns the permutation of a fabric's key, which is SealKeySize bytes.
func NewSeal(key []byte) (*Seal, error) {
	if len(key) != SealKeySize {
		return nil, fmt.Errorf("seal key: want %d bytes, got %d", SealKeySize, len(key))
	}
	return &Seal{newSpeck([SealKeySize]byte(key))}, nil
}

// RoundKeys returns the keys of the cipher's rounds, for datapaths that open addresses themselves.
func (s *Seal) RoundKeys() []uint32 { return slices.Clone(s.cipher[:]) }

// mask is what XEX adds before and after the cipher for one host prefix: its encryption, doubled in GF(2^64), because the
// undoubled one is also the sealed form of a host part (Rogaway 2004, section 4).
func (s *Seal) mask(prefix uint64) uint64 {
	const polynomial = 0x1b // x^64 + x^4 + x^3 + x + 1
	m := s.cipher.encrypt(prefix)
	return m<<1 ^ m>>63*polynomial
}

// close permutes a value outside the reserved set to another one outside it. Walking the cycle until it leaves the reserved
// set is itself a permutation of the rest (Black and Rogaway 2002), so uniqueness is kept.
func (s *Seal) close(mask, host uint64, reserved func(uint64) bool) uint64 {
	for host = s.forward(mask, host); reserved(host); {
		host = s.forward(mask, host)
	}
	return host
}

// open is the inverse of close.
func (s *Seal) open(mask, host uint64, reserved func(uint64) bool) uint64 {
	for host = s.backward(mask, host); reserved(host); {
		host = s.backward(mask, host)
	}
	return host
}

func (s *Seal) forward(mask, host uint64) uint64  { return s.cipher.encrypt(host^mask) ^ mask }
func (s *Seal) backward(mask, host uint64) uint64 { return s.cipher.decrypt(host^mask) ^ mask }
