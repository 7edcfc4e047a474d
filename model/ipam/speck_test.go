package ipam

import "testing"

// The test vector of Beaulieu et al. 2013, appendix C: key 1b1a1918 13121110 0b0a0908 03020100, k0 last.
func TestSpeck64_128Vector(t *testing.T) {
	s := newSpeck([16]byte{0, 1, 2, 3, 8, 9, 0xa, 0xb, 0x10, 0x11, 0x12, 0x13, 0x18, 0x19, 0x1a, 0x1b})
	const clear, closed = 0x3b726574_7475432d, 0x8c6fa548_454e028b
	if got := s.encrypt(clear); got != closed {
		t.Errorf("encrypt: %016x, want %016x", got, uint64(closed))
	}
	if got := s.decrypt(closed); got != clear {
		t.Errorf("decrypt: %016x, want %016x", got, uint64(clear))
	}
}
