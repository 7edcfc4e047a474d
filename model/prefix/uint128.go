package prefix

import (
	"encoding/binary"
	"net/netip"
)

// uint128 holds the bits of an address; an IPv4 address is in the low 32.
type uint128 struct{ hi, lo uint64 }

func toUint128(a netip.Addr) uint128 {
	if a.Is4() {
		b := a.As4()
		return uint128{lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// addr is the inverse of toUint128 for an address of width bits.
func (u uint128) addr(width int) netip.Addr {
	if width == 32 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(u.lo))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], u.hi)
	binary.BigEndian.PutUint64(b[8:], u.lo)
	return netip.AddrFrom16(b)
}

func (u uint128) or(v uint128) uint128  { return uint128{u.hi | v.hi, u.lo | v.lo} }
func (u uint128) and(v uint128) uint128 { return uint128{u.hi & v.hi, u.lo & v.lo} }
func (u uint128) not() uint128          { return uint128{^u.hi, ^u.lo} }

func (u uint128) shl(n int) uint128 {
	if n >= 64 {
		return uint128{u.lo << (n - 64), 0}
	}
	return uint128{u.hi<<n | u.lo>>(64-n), u.lo << n}
}

func (u uint128) shr(n int) uint128 {
	if n >= 64 {
		return uint128{0, u.hi >> (n - 64)}
	}
	return uint128{u.hi >> n, u.lo>>n | u.hi<<(64-n)}
}

// ones has the low width bits set: all of an address.
func ones(width int) uint128 { return uint128{^uint64(0), ^uint64(0)}.shr(128 - width) }

// mask is the network mask of a prefix of length bits of an address of width bits.
func mask(bits, width int) uint128 {
	return ones(width).shl(width - bits).and(ones(width))
}
