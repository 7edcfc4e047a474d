// Package section is a persistent map: what one source knows, in versions that share everything that did not change.
//
// A version never changes once it is made, so a reader needs no lock and a writer does not disturb it. Set and Delete copy
// the path from the root to the entry, about log32(n) nodes of 32 slots, and share the rest.
package section

import (
	"hash/maphash"
	"iter"
	"math/bits"
)

const (
	fanoutBits = 5                                  // 32 slots a node
	maxDepth   = (64 + fanoutBits - 1) / fanoutBits // below it the 64 bits of the hash are used up and a node is a plain list
)

// Map is one version of a section. The zero value is empty.
type Map[K comparable, V any] struct {
	root *node[K, V]
	seed maphash.Seed
	size int
}

// node is an inner node of a hash array mapped trie. Present slots are packed in order of their bit.
type node[K comparable, V any] struct {
	bitmap uint32
	slots  []slot[K, V]
}

// slot is an entry, or the way to a node below.
type slot[K comparable, V any] struct {
	child *node[K, V]
	key   K
	value V
}

// Len returns the number of entries.
func (m Map[K, V]) Len() int { return m.size }

// Get returns the value of k.
func (m Map[K, V]) Get(k K) (V, bool) {
	var zero V
	if m.root == nil {
		return zero, false
	}
	hash := maphash.Comparable(m.seed, k)
	n := m.root
	for depth := 0; ; depth++ {
		if depth == maxDepth {
			if i := n.listed(k); i >= 0 {
				return n.slots[i].value, true
			}
			return zero, false
		}
		bit := bitAt(hash, depth)
		if n.bitmap&bit == 0 {
			return zero, false
		}
		s := &n.slots[n.index(bit)]
		if s.child == nil {
			if s.key == k {
				return s.value, true
			}
			return zero, false
		}
		n = s.child
	}
}

// Set returns a version in which k has the value v.
func (m Map[K, V]) Set(k K, v V) Map[K, V] {
	if m.root == nil {
		m.root, m.seed = &node[K, V]{}, maphash.MakeSeed()
	}
	root, added := m.set(m.root, 0, maphash.Comparable(m.seed, k), slot[K, V]{key: k, value: v})
	m.root = root
	if added {
		m.size++
	}
	return m
}

// Delete returns a version without k.
func (m Map[K, V]) Delete(k K) Map[K, V] {
	if _, ok := m.Get(k); !ok {
		return m
	}
	m.root = m.root.without(0, maphash.Comparable(m.seed, k), k)
	m.size--
	return m
}

// All yields every entry, in no particular order.
func (m Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.root != nil {
			m.root.all(yield)
		}
	}
}

func bitAt(hash uint64, depth int) uint32 {
	return 1 << (hash >> (depth * fanoutBits) & (1<<fanoutBits - 1))
}

func (n *node[K, V]) index(bit uint32) int { return bits.OnesCount32(n.bitmap & (bit - 1)) }

// listed finds k in a node at maxDepth, or -1.
func (n *node[K, V]) listed(k K) int {
	for i := range n.slots {
		if n.slots[i].key == k {
			return i
		}
	}
	return -1
}

func (m Map[K, V]) set(n *node[K, V], depth int, hash uint64, e slot[K, V]) (_ *node[K, V], added bool) {
	if depth == maxDepth {
		if i := n.listed(e.key); i >= 0 {
			return n.replaced(i, e), false
		}
		return n.inserted(len(n.slots), 0, e), true
	}
	bit := bitAt(hash, depth)
	i := n.index(bit)
	if n.bitmap&bit == 0 {
		return n.inserted(i, bit, e), true
	}
	old := n.slots[i]
	if old.child == nil && old.key == e.key {
		return n.replaced(i, e), false
	}
	below := old.child
	if below == nil { // two entries in one slot: both go one node down
		below, _ = m.set(&node[K, V]{}, depth+1, maphash.Comparable(m.seed, old.key), old)
	}
	below, added = m.set(below, depth+1, hash, e)
	return n.replaced(i, slot[K, V]{child: below}), added
}

// without returns n less k, which is in it; nil when nothing is left.
func (n *node[K, V]) without(depth int, hash uint64, k K) *node[K, V] {
	if depth == maxDepth {
		return n.removed(n.listed(k), 0)
	}
	bit := bitAt(hash, depth)
	i := n.index(bit)
	s := n.slots[i]
	if s.child == nil {
		return n.removed(i, bit)
	}
	below := s.child.without(depth+1, hash, k)
	switch {
	case below == nil:
		return n.removed(i, bit)
	case len(below.slots) == 1 && below.slots[0].child == nil: // a lone entry comes up again, so equal sets have equal depth
		return n.replaced(i, below.slots[0])
	}
	return n.replaced(i, slot[K, V]{child: below})
}

func (n *node[K, V]) replaced(i int, s slot[K, V]) *node[K, V] {
	c := &node[K, V]{bitmap: n.bitmap, slots: make([]slot[K, V], len(n.slots))}
	copy(c.slots, n.slots)
	c.slots[i] = s
	return c
}

func (n *node[K, V]) inserted(i int, bit uint32, s slot[K, V]) *node[K, V] {
	c := &node[K, V]{bitmap: n.bitmap | bit, slots: make([]slot[K, V], len(n.slots)+1)}
	copy(c.slots, n.slots[:i])
	c.slots[i] = s
	copy(c.slots[i+1:], n.slots[i:])
	return c
}

func (n *node[K, V]) removed(i int, bit uint32) *node[K, V] {
	if len(n.slots) == 1 {
		return nil
	}
	c := &node[K, V]{bitmap: n.bitmap &^ bit, slots: make([]slot[K, V], 0, len(n.slots)-1)}
	c.slots = append(append(c.slots, n.slots[:i]...), n.slots[i+1:]...)
	return c
}

func (n *node[K, V]) all(yield func(K, V) bool) bool {
	for _, s := range n.slots {
		if s.child != nil {
			if !s.child.all(yield) {
				return false
			}
		} else if !yield(s.key, s.value) {
			return false
		}
	}
	return true
}
