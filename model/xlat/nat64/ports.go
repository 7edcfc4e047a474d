package nat64

import (
	"math/bits"
	"net/netip"
	"sync/atomic"
)

// marks is which ports of a block one protocol has taken, a bit each. The fast path may take some at the same time (Room).
type marks [BlockSize / 64]uint64

// claim takes a port; false: it is taken.
func (p *marks) claim(at uint16) bool { return setBit(&p[at%BlockSize/64], at) }

func (p *marks) release(at uint16) { clearBit(&p[at%BlockSize/64], at) }

// claimBehind takes the first free port at or behind a place, and goes on at the beginning; false: all are taken.
func (p *marks) claimBehind(at uint16) (uint16, bool) {
	at %= BlockSize
	mask := ^uint64(0) << (at % 64)
	for i := range uint16(len(p) + 1) {
		w := (at/64 + i) % uint16(len(p))
		for free := ^atomic.LoadUint64(&p[w]) & mask; free != 0; free &= free - 1 {
			if got := w*64 + uint16(bits.TrailingZeros64(free)); p.claim(got) {
				return got, true
			}
		}
		mask = ^uint64(0)
	}
	return 0, false
}

func setBit(word *uint64, at uint16) bool {
	return atomic.OrUint64(word, 1<<(at%64))&(1<<(at%64)) == 0
}

func clearBit(word *uint64, at uint16) { atomic.AndUint64(word, ^(uint64(1) << (at % 64))) }

// blockUse is what is taken of a block that an endpoint has.
type blockUse struct {
	bindings int
	count    [3]int // by protocol: see lane
	taken    [3]*marks
}

// lane is the place of a protocol where each has one: TCP and UDP first, as the fast path has them.
func lane(protocol uint8) int {
	switch protocol {
	case tcp:
		return 0
	case udp:
		return 1
	}
	return 2
}

// use returns the use of a block that an endpoint has.
func (t *Table) use(b Block, owner netip.Addr) *blockUse {
	u := t.used[b]
	if u == nil {
		u = &blockUse{taken: [3]*marks{nil, nil, {}}}
		u.taken[0], u.taken[1] = t.c.Fast.blockOf(t, owner, b)
		t.used[b] = u
	}
	return u
}

// candidates is how many hashed places are tried before the next free one is searched. A gateway that takes a block over finds most
// bindings again by trying the same places.
const candidates = 4

// choose takes a free port in the endpoint's blocks, oldest block first. The parity of the port is kept where that costs nothing (RFC 4787
// REQ-4: best effort, because blocks are small). begin in bpf/pool.h does the same.
func (t *Table) choose(addr netip.Addr, port uint16, protocol uint8) (key4, Shortage) {
	h := t.c.Secret.place(addr, port, protocol)
	if k, ok := t.among(t.c.Blocks.open(addr), h, addr, port, protocol); ok {
		return k, enough
	}
	k, short := t.inNew(h, addr, port, protocol)
	if short == enough {
		return k, enough
	}
	if t.swept < t.now { // what is over may hold ports still, once a second
		t.swept = t.now
		t.Expire()
		if k, ok := t.among(t.c.Blocks.open(addr), h, addr, port, protocol); ok {
			return k, enough
		}
		return t.inNew(h, addr, port, protocol)
	}
	return key4{}, short
}

// inNew takes a port of one more block.
func (t *Table) inNew(h uint64, addr netip.Addr, port uint16, protocol uint8) (key4, Shortage) {
	block, short := t.c.Blocks.Grant(addr, t.now)
	if short != enough {
		return key4{}, short
	}
	k, ok := t.in(block, h, addr, port, protocol)
	if !ok { // somebody else has every port of it
		t.giveBack(block, addr)
		return key4{}, NoBlock
	}
	return k, enough
}

func (t *Table) among(blocks []Block, h uint64, addr netip.Addr, port uint16, protocol uint8) (key4, bool) {
	for _, block := range blocks {
		if k, ok := t.in(block, h, addr, port, protocol); ok {
			return k, true
		}
	}
	return key4{}, false
}

func (t *Table) in(block Block, h uint64, owner netip.Addr, port uint16, protocol uint8) (key4, bool) {
	k := key4{addr: block.Addr.As4(), protocol: protocol}
	u := t.use(block, owner)
	if u.count[lane(protocol)] >= BlockSize {
		return k, false
	}
	taken := u.taken[lane(protocol)]
	for c := range candidates {
		at := (uint16(h>>(c*16))&^1 | port&1) % BlockSize
		if taken.claim(at) {
			k.port = block.First + at
			return k, true
		}
	}
	at, ok := taken.claimBehind(uint16(h))
	k.port = block.First + at
	return k, ok
}
