package ipam

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// SealKeySize is the length of a seal key in bytes.
const SealKeySize = 16

// sealRounds of a balanced Feistel network over AES: as many as NIST SP 800-38G takes for FF1.
const sealRounds = 10

// Seal is a keyed permutation of 64-bit host parts: a balanced Feistel network whose round function is AES-128 of round,
// host prefix and half. The prefix is part of every round, so equal host parts on two hosts look unrelated.
type Seal struct {
	block cipher.Block
}

// NewSeal returns the permutation of a fabric's key, which is SealKeySize bytes.
func NewSeal(key []byte) (*Seal, error) {
	if len(key) != SealKeySize {
		return nil, fmt.Errorf("seal key: want %d bytes, got %d", SealKeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	return &Seal{block}, nil
}

// close permutes a value outside the reserved set to another one outside it. Walking the cycle until it leaves the reserved
// set is itself a permutation of the rest (Black and Rogaway 2002), so uniqueness is kept.
func (s *Seal) close(prefix, host uint64, reserved func(uint64) bool) uint64 {
	for host = s.forward(prefix, host); reserved(host); {
		host = s.forward(prefix, host)
	}
	return host
}

// open is the inverse of close.
func (s *Seal) open(prefix, host uint64, reserved func(uint64) bool) uint64 {
	for host = s.backward(prefix, host); reserved(host); {
		host = s.backward(prefix, host)
	}
	return host
}

func (s *Seal) forward(prefix, host uint64) uint64 {
	var blocks [2 * aes.BlockSize]byte
	binary.BigEndian.PutUint64(blocks[:8], prefix)
	left, right := uint32(host>>32), uint32(host)
	for r := range byte(sealRounds) {
		left, right = right, left^s.round(&blocks, r, right)
	}
	return uint64(left)<<32 | uint64(right)
}

func (s *Seal) backward(prefix, host uint64) uint64 {
	var blocks [2 * aes.BlockSize]byte
	binary.BigEndian.PutUint64(blocks[:8], prefix)
	left, right := uint32(host>>32), uint32(host)
	for r := byte(sealRounds); r > 0; r-- {
		left, right = right^s.round(&blocks, r-1, left), left
	}
	return uint64(left)<<32 | uint64(right)
}

// round is the function of round r on a half. The first of the two blocks goes in, with the prefix in its first 8 bytes; the
// second comes out.
func (s *Seal) round(blocks *[2 * aes.BlockSize]byte, r byte, half uint32) uint32 {
	in, out := blocks[:aes.BlockSize], blocks[aes.BlockSize:]
	in[8] = r
	binary.BigEndian.PutUint32(in[12:], half)
	s.block.Encrypt(out, in)
	return binary.BigEndian.Uint32(out)
}
