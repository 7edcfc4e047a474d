package allocation

import (
	"fmt"

	"hexapod.dev/model/ipam"
)

// NoPrefixError says that this host has no prefix to give addresses from now.
type NoPrefixError struct{ Owner Owner }

func (e *NoPrefixError) Error() string {
	return fmt.Sprintf("allocate an address for endpoint %s: this host has no prefix to take it from", e.Owner.Key)
}

// Use makes layout the one of new addresses. Who has an address keeps it, whatever prefix it is of. With the zero Layout nothing
// is given out. A prefix that comes back goes on where it was.
func (b *Book) Use(layout ipam.Layout) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if layout.Prefix() == b.o.Layout.Prefix() {
		return nil
	}
	if b.alloc != nil { // what is on its way to the disk counts as well
		b.past.stamp = max(b.past.stamp, b.alloc.Mark())
	}
	before := b.o.Layout
	b.o.Layout = layout
	b.past.next, b.past.counted, b.past.resting = 0, false, map[uint64]ipam.Seconds{}
	if !layout.Clocked() {
		if err := b.recount(); err != nil {
			b.o.Layout = before
			return err
		}
	}
	b.alloc = nil    // made anew by the next request
	b.booted = false // the journal says of which prefix its counters are
	return nil
}
