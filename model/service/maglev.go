package service

import (
	"encoding/binary"
	"net/netip"
)

// Class is the size of a table.
type Class uint8

// Classes is the number of table sizes.
const Classes = 5

// sizes are primes: every step through a table of prime size meets every place (Maglev: A Fast and Reliable Software Network Load
// Balancer, NSDI 2016, section 3.4).
var sizes = [Classes]int{251, 1021, 4093, 16381, 65521}

// perBackend is how many places of a table each backend has at least: shares differ by at most about 1 in 100 then.
const perBackend = 100

// MaxBackends is the most one frontend can have. They have at least 10 places each in the largest table.
const MaxBackends = 6552

// Size returns the number of places.
func (c Class) Size() int { return sizes[c] }

// Backends returns how many backends a table of this size has room for.
func (c Class) Backends() int {
	if c == Classes-1 {
		return MaxBackends
	}
	return sizes[c] / perBackend
}

// ClassOf returns the smallest class with at least a hundred places for each of n backends; the largest if none has.
func ClassOf(n int) Class {
	for c := range Class(Classes - 1) {
		if n <= c.Backends() {
			return c
		}
	}
	return Classes - 1
}

// fill gives every place of a table of class c to one of backends, by its index. The same backends get the same places in any
// order and on every host: a place depends on addresses and ports alone. backends is not empty and is sorted.
func fill(c Class, backends []netip.AddrPort) []uint16 {
	size := uint32(c.Size())
	next, step := make([]uint32, len(backends)), make([]uint32, len(backends))
	for i, b := range backends {
		offset, skip := permutation(b)
		next[i], step[i] = uint32(offset%uint64(size)), 1+uint32(skip%uint64(size-1))
	}
	const free = ^uint16(0)
	places := make([]uint16, size)
	for i := range places {
		places[i] = free
	}
	for filled := uint32(0); ; {
		for i := range backends { // each in turn takes the next free place of its own order
			at := next[i]
			for places[at] != free {
				if at += step[i]; at >= size {
					at -= size
				}
			}
			places[at] = uint16(i)
			if at += step[i]; at >= size {
				at -= size
			}
			next[i] = at
			if filled++; filled == size {
				return places
			}
		}
	}
}

// permutation returns two numbers that look random and depend on b alone.
func permutation(b netip.AddrPort) (offset, skip uint64) {
	a := b.Addr().As16()
	h := Mix(binary.BigEndian.Uint64(a[:8]) + 0x9e3779b97f4a7c15)
	h = Mix(h ^ binary.BigEndian.Uint64(a[8:]))
	h = Mix(h ^ uint64(b.Port()))
	return h, Mix(h + 0x9e3779b97f4a7c15)
}

// Mix spreads every bit over all 64 (the finaliser of SplitMix64). The kernel's hooks have the same function.
func Mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
