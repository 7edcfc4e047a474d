package datapath

import (
	"fmt"

	"hexapod.dev/model/datapath"
)

// At is where packets were counted: a place and a reason.
type At struct {
	Place datapath.Place
	Why   datapath.Why
}

// Count is how many packets ended alike.
type Count struct{ Packets, Bytes uint64 }

// whySlots is how many reasons a place has room for (bpf/include/state.h).
const whySlots = 64

// Counts sums the programs' counters over all CPUs. Reasons that no packet had at a place are left out.
func (m *Maps) Counts() (map[At]Count, error) {
	counts := map[At]Count{}
	for place := range datapath.Places {
		for _, why := range datapath.AllWhys() {
			var cpus []Count
			if err := m.byName["counts"].Lookup(uint32(place*whySlots+int(why)), &cpus); err != nil {
				return nil, fmt.Errorf("read the counters of the datapath: %w", err)
			}
			var sum Count
			for _, c := range cpus {
				sum.Packets += c.Packets
				sum.Bytes += c.Bytes
			}
			if sum.Packets > 0 {
				counts[At{datapath.Place(place), why}] = sum
			}
		}
	}
	return counts, nil
}
