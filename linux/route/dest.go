package route

import (
	"encoding/binary"
	"net/netip"
)

// dest is a destination in plain numbers. A full table is looked up, sorted and kept by it: it is compared and hashed as
// memory, and the garbage collector need not look at it, both unlike a netip.Prefix.
type dest struct {
	high, low uint64 // of the address
	bits      uint64
}

// destOf returns false for what is not an IPv6 prefix, or has bits behind its length.
func destOf(p netip.Prefix) (dest, bool) {
	if !p.IsValid() || !p.Addr().Is6() {
		return dest{}, false
	}
	a := p.Addr().As16()
	d := dest{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:]), uint64(p.Bits())}
	// A shift by 64 or more is 0 in Go: the upper half has no bits of the host from /64 on, the lower none at /128.
	high, low := ^uint64(0)>>d.bits, ^uint64(0)
	if d.bits > 64 {
		low >>= d.bits - 64
	}
	return d, d.high&high == 0 && d.low&low == 0 && p.Addr().Zone() == ""
}

func (d dest) prefix() netip.Prefix {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], d.high)
	binary.BigEndian.PutUint64(a[8:], d.low)
	return netip.PrefixFrom(netip.AddrFrom16(a), int(d.bits))
}

func (d dest) String() string { return d.prefix().String() }

// digit is how many bits one pass of inOrder sorts by.
const digit = 11

// inOrder sorts steps by destination: neighbours in the kernel's tree one after the other are a third quicker than at
// random. It is a radix sort, from the lowest digit up, that leaves out digits in which all are alike: of the prefixes of
// one fabric few bits differ.
func inOrder(steps []step) []step {
	if len(steps) < 2 {
		return steps
	}
	var differ dest
	for _, s := range steps[1:] {
		differ.high |= s.dst.high ^ steps[0].dst.high
		differ.low |= s.dst.low ^ steps[0].dst.low
	}
	other := make([]step, len(steps))
	for _, half := range []struct {
		differ uint64
		of     func(dest) uint64
	}{{differ.low, func(d dest) uint64 { return d.low }}, {differ.high, func(d dest) uint64 { return d.high }}} {
		for shift := 0; shift < 64; shift += digit {
			if half.differ>>shift&(1<<digit-1) != 0 {
				byDigit(steps, other, func(d dest) uint64 { return half.of(d) >> shift & (1<<digit - 1) })
				steps, other = other, steps
			}
		}
	}
	return steps
}

// byDigit puts from into to by one digit; what is alike in it stays in order.
func byDigit(from, to []step, digitOf func(dest) uint64) {
	var next [1<<digit + 1]int
	for _, s := range from {
		next[digitOf(s.dst)+1]++
	}
	for i := range 1 << digit {
		next[i+1] += next[i]
	}
	for _, s := range from {
		d := digitOf(s.dst)
		to[next[d]] = s
		next[d]++
	}
}
