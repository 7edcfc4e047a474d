package service

import (
	"net/netip"
	"slices"
)

// Table is how the kernel picks a backend: a hash leads to a place, the place to a slot, the slot to a backend.
//
// A backend keeps its slot for life, so what remembers a slot (a flow, a client's affinity) can see by one comparison whether
// its backend still lives. Places are the same on every host; slots need not be.
type Table struct {
	Class  Class
	Slots  []netip.AddrPort // by slot; the zero value: free
	Places []uint16         // Class.Size() slots; nil when no slot is taken
}

// Next returns the table for backends, which are sorted and at most MaxBackends. prev is the table they replace, or nil: its
// size never shrinks, because a new size moves almost every place.
func Next(prev *Table, backends []netip.AddrPort) Table {
	t := Table{Class: ClassOf(len(backends))}
	if prev != nil {
		t.Class = max(t.Class, prev.Class)
	}
	slots := t.seat(prev, backends)
	if len(backends) == 0 {
		return t
	}
	t.Places = fill(t.Class, backends)
	for i, b := range t.Places {
		t.Places[i] = slots[b]
	}
	return t
}

// seat gives every backend a slot, its old one where it has one, and returns them in the order of backends.
func (t *Table) seat(prev *Table, backends []netip.AddrPort) []uint16 {
	old := map[netip.AddrPort]uint16{}
	if prev != nil {
		for i, b := range prev.Slots {
			if b.IsValid() {
				old[b] = uint16(i)
			}
		}
	}
	t.Slots = make([]netip.AddrPort, t.Class.Backends())
	slots := make([]uint16, len(backends))
	var newcomers []int
	for i, b := range backends {
		at, known := old[b]
		if !known {
			newcomers = append(newcomers, i)
			continue
		}
		t.Slots[at], slots[i] = b, at
	}
	at := 0
	for _, i := range newcomers {
		for t.Slots[at].IsValid() {
			at++
		}
		t.Slots[at], slots[i] = backends[i], uint16(at)
	}
	return slots
}

// Pick returns the backend that hash leads to, and its slot. ok is false when there are none.
func (t *Table) Pick(hash uint32) (b netip.AddrPort, slot uint16, ok bool) {
	if len(t.Places) == 0 {
		return netip.AddrPort{}, 0, false
	}
	slot = t.Places[hash%uint32(t.Class.Size())]
	return t.Slots[slot], slot, true
}

// Holds reports whether b still has the slot at.
func (t *Table) Holds(b netip.AddrPort, at uint16) bool {
	return int(at) < len(t.Slots) && t.Slots[at].IsValid() && t.Slots[at] == b
}

// Backends returns the living backends, sorted.
func (t *Table) Backends() []netip.AddrPort {
	var out []netip.AddrPort
	for _, b := range t.Slots {
		if b.IsValid() {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out
}
