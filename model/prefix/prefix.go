// Package prefix is the arithmetic of IP prefixes: children, indices, last addresses, sets, names and reverse-zone cuts.
//
// Everything works on [netip.Prefix] values of both families. An IPv4-mapped IPv6 prefix is refused, because its length
// would count the wrong bits.
package prefix

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
)

// ErrTooFar says that a prefix has no child of the wanted number.
var ErrTooFar = errors.New("number is beyond the last child")

// Width is the number of bits of an address of a's family: 128 or 32.
func Width(a netip.Addr) int { return a.BitLen() }

// Valid reports what is wrong with p as a prefix of a plan: not a prefix at all, an IPv4-mapped address, or bits set
// behind the length.
func Valid(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return errors.New("no prefix given")
	case p.Addr().Is4In6():
		return fmt.Errorf("%s is an IPv4-mapped prefix: write it as IPv4", p)
	case p != p.Masked():
		return fmt.Errorf("%s has bits set behind its length: write %s", p, p.Masked())
	}
	return nil
}

// Count returns how many prefixes of length bits lie in p. It is zero when bits is shorter than p or longer than the
// family, and stops at math.MaxUint64 for more than 63 bits between the two.
func Count(p netip.Prefix, bits int) uint64 {
	d := bits - p.Bits()
	switch {
	case !p.IsValid() || d < 0 || bits > Width(p.Addr()):
		return 0
	case d >= 64:
		return math.MaxUint64
	}
	return 1 << d
}

// Child returns the n-th prefix of length bits in p, counted from zero.
func Child(p netip.Prefix, bits int, n uint64) (netip.Prefix, error) {
	if err := Valid(p); err != nil {
		return netip.Prefix{}, err
	}
	w := Width(p.Addr())
	if bits < p.Bits() || bits > w {
		return netip.Prefix{}, fmt.Errorf("a /%d does not fit in %s", bits, p)
	}
	if d := bits - p.Bits(); d < 64 && n >= 1<<d {
		return netip.Prefix{}, fmt.Errorf("/%d number %d of %s: %w (%d)", bits, n, p, ErrTooFar, uint64(1)<<d-1)
	}
	base := toUint128(p.Addr())
	return netip.PrefixFrom(base.or(uint128{lo: n}.shl(w-bits)).addr(w), bits), nil
}

// Index returns the number of child among the prefixes of its length in p: the inverse of [Child].
func Index(p, child netip.Prefix) (uint64, error) {
	if err := errors.Join(Valid(p), Valid(child)); err != nil {
		return 0, err
	}
	if !ContainsPrefix(p, child) {
		return 0, fmt.Errorf("%s does not lie in %s", child, p)
	}
	if child.Bits()-p.Bits() > 64 {
		return 0, fmt.Errorf("%s is more than 64 bits below %s: it has no number", child, p)
	}
	w := Width(p.Addr())
	return toUint128(child.Addr()).and(mask(p.Bits(), w).not()).shr(w - child.Bits()).lo, nil
}

// At returns the prefix of length bits that holds a, and its number in p.
func At(p netip.Prefix, bits int, a netip.Addr) (netip.Prefix, uint64, error) {
	c, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}, 0, fmt.Errorf("a /%d of %s: %w", bits, a, err)
	}
	n, err := Index(p, c)
	return c, n, err
}

// Last returns the highest address of p.
func Last(p netip.Prefix) netip.Addr {
	w := Width(p.Addr())
	return toUint128(p.Masked().Addr()).or(mask(p.Bits(), w).not().and(ones(w))).addr(w)
}

// HostPart returns the bits of a behind the first bits of its prefix, as the high and the low 64 of a 128-bit number.
func HostPart(a netip.Addr, bits int) (hi, lo uint64) {
	w := Width(a)
	v := toUint128(a).and(mask(bits, w).not()).and(ones(w))
	return v.hi, v.lo
}

// Join returns the address of p whose host part is hi, lo. Bits of the host part that reach into p are an error: dropping
// them would give out the address of somebody else.
func Join(p netip.Prefix, hi, lo uint64) (netip.Addr, error) {
	if err := Valid(p); err != nil {
		return netip.Addr{}, err
	}
	w := Width(p.Addr())
	v := uint128{hi, lo}
	if v.and(mask(p.Bits(), w).or(ones(w).not())) != (uint128{}) {
		return netip.Addr{}, fmt.Errorf("host part %#x:%#x is wider than %s leaves", hi, lo, p)
	}
	return toUint128(p.Addr()).or(v).addr(w), nil
}

// ContainsPrefix reports whether the whole of inner lies in outer. A prefix contains itself.
func ContainsPrefix(outer, inner netip.Prefix) bool {
	return outer.IsValid() && inner.IsValid() && outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}
