package allocation

import (
	"hash/maphash"
	"net/netip"
	"strings"

	"hexapod.dev/model/ipam"
)

// entry is one living endpoint: 40 bytes, names excluded.
type entry struct {
	addr     [16]byte
	owner    ipam.Packed
	given    uint32 // seconds since ipam.Epoch
	identity uint16
	fixed    bool
	living   bool
}

const chunkSize = 256

// index finds living endpoints by key and by address. Two open-addressed tables of 4-byte entry numbers cost 10 to 20 bytes per
// endpoint, a Go map for each would cost twice that.
type index struct {
	seed   maphash.Seed
	chunks []*[chunkSize]entry
	free   []uint32 // numbers of entries that are not living
	living int
	byKey  table
	byAddr table
}

func newIndex() *index { return &index{seed: maphash.MakeSeed()} }

func (x *index) at(n uint32) *entry { return &x.chunks[n/chunkSize][n%chunkSize] }

func (x *index) hashKey(n uint32) uint64  { return maphash.String(x.seed, x.at(n).owner.Key()) }
func (x *index) hashAddr(n uint32) uint64 { return maphash.Bytes(x.seed, x.at(n).addr[:]) }

// key returns the living entry whose packed owner begins with key (see ipam.PackKey); nil when there is none.
func (x *index) key(key string) *entry {
	n, ok := x.byKey.find(maphash.String(x.seed, key), func(n uint32) bool { return strings.HasPrefix(string(x.at(n).owner), key) })
	if !ok {
		return nil
	}
	return x.at(n)
}

// addr returns the living entry that has an address; nil when there is none.
func (x *index) addr(a netip.Addr) *entry {
	want := a.As16()
	n, ok := x.byAddr.find(maphash.Bytes(x.seed, want[:]), func(n uint32) bool { return x.at(n).addr == want })
	if !ok {
		return nil
	}
	return x.at(n)
}

// add puts in an endpoint whose key and address are not there yet.
func (x *index) add(e entry) {
	if len(x.free) == 0 {
		base := uint32(len(x.chunks) * chunkSize)
		x.chunks = append(x.chunks, new([chunkSize]entry))
		for i := uint32(chunkSize); i > 0; i-- {
			x.free = append(x.free, base+i-1)
		}
	}
	n := x.free[len(x.free)-1]
	x.free = x.free[:len(x.free)-1]
	e.living = true
	*x.at(n) = e
	x.living++
	x.byKey.add(n, x.hashKey)
	x.byAddr.add(n, x.hashAddr)
}

// remove takes out the endpoint that has an address and reports whether there was one.
func (x *index) remove(a netip.Addr) bool {
	want := a.As16()
	n, ok := x.byAddr.find(maphash.Bytes(x.seed, want[:]), func(n uint32) bool { return x.at(n).addr == want })
	if !ok {
		return false
	}
	x.byKey.remove(n, x.hashKey)
	x.byAddr.remove(n, x.hashAddr)
	*x.at(n) = entry{}
	x.free = append(x.free, n)
	x.living--
	return true
}

// all calls visit for each living entry.
func (x *index) all(visit func(*entry)) {
	for _, c := range x.chunks {
		for i := range c {
			if c[i].living {
				visit(&c[i])
			}
		}
	}
}

// table is a hash table of numbers with linear probing, at most four fifths full. 0 is an empty slot, n+1 stands for n.
type table struct {
	slots []uint32
	used  int
}

func (t *table) find(hash uint64, is func(uint32) bool) (uint32, bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if is(t.slots[i] - 1) {
			return t.slots[i] - 1, true
		}
	}
	return 0, false
}

func (t *table) add(n uint32, hash func(uint32) uint64) {
	if 5*(t.used+1) > 4*len(t.slots) {
		old := t.slots
		t.slots = make([]uint32, max(8, 2*len(old)))
		for _, s := range old {
			if s != 0 {
				t.put(s, hash)
			}
		}
	}
	t.put(n+1, hash)
	t.used++
}

func (t *table) put(slot uint32, hash func(uint32) uint64) {
	mask := uint64(len(t.slots) - 1)
	i := hash(slot-1) & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = slot
}

// remove takes n out and moves up what the gap would hide (Knuth, volume 3, 6.4, algorithm R).
func (t *table) remove(n uint32, hash func(uint32) uint64) {
	mask := uint64(len(t.slots) - 1)
	gap := hash(n) & mask
	for t.slots[gap] != n+1 {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; t.slots[i] != 0; i = (i + 1) & mask {
		home := hash(t.slots[i]-1) & mask
		if (i-home)&mask >= (i-gap)&mask {
			t.slots[gap], gap = t.slots[i], i
		}
	}
	t.slots[gap] = 0
	t.used--
}
