package allocation

import (
	"fmt"
	"net/netip"

	"hexapod.dev/agent/journal"
	"hexapod.dev/model/ipam"
)

// replay takes one record of the journal at the start.
func (b *Book) replay(bytes []byte) error {
	r, err := ipam.ParseRecord(bytes)
	if err != nil {
		return fmt.Errorf("journal: %w; it was written by a later version of this program or by another one", err)
	}
	switch r.Kind {
	case ipam.RecordAllocate:
		b.index.remove(r.Addr)
		if e := b.index.key(r.Owner.Key()); e != nil { // its retirement was never answered
			b.rest(netip.AddrFrom16(e.addr), r.Time)
			b.index.remove(netip.AddrFrom16(e.addr))
		}
		b.index.add(entry{addr: r.Addr.As16(), owner: r.Owner, given: uint32(r.Time), identity: r.Identity, fixed: r.Fixed})
	case ipam.RecordRetire:
		b.index.remove(r.Addr)
		b.rest(r.Addr, r.Time)
	}
	b.note(&r)
	return nil
}

// note takes from a record what the next start has to know besides who lives. The caller holds b.mu.
func (b *Book) note(r *ipam.Record) {
	b.past.seen = max(b.past.seen, r.Time)
	switch r.Kind {
	case ipam.RecordAllocate:
		b.position(r.Position, !r.Fixed && !r.Restated, 1)
		if f, err := b.o.Layout.Decode(r.Addr); err == nil {
			delete(b.past.resting, f.Counter)
		}
	case ipam.RecordMark:
		b.position(r.Position, true, 0)
	case ipam.RecordBoot:
		b.past.boot = r.Boot
	}
}

// position reads a stamp or a counter, as the prefix it was written for has it.
func (b *Book) position(n uint64, counts bool, step uint64) {
	switch {
	case !counts:
	case b.past.boot.Prefix.Bits() <= 64:
		b.past.stamp = max(b.past.stamp, ipam.Stamp(n))
	case b.past.boot.Prefix == b.o.Layout.Prefix():
		b.past.next, b.past.counted = n+step, true
	}
}

// rest remembers when a counter was retired, until there is an allocator that does.
func (b *Book) rest(addr netip.Addr, since ipam.Seconds) {
	if b.o.Layout.Clocked() {
		return
	}
	if f, err := b.o.Layout.Decode(addr); err == nil {
		b.past.resting[f.Counter] = since
	}
}

// recount reads the whole journal for what it says about the counters of this prefix, which had another life before the last one.
func (b *Book) recount() error {
	all, err := journal.Segments(b.o.FS)
	if err != nil {
		return err
	}
	last := b.past
	b.past = past{resting: map[uint64]ipam.Seconds{}}
	for i := range all {
		err := journal.Read(b.o.FS, all, i, func(bytes []byte) error {
			r, err := ipam.ParseRecord(bytes)
			if err != nil {
				return err
			}
			if r.Kind == ipam.RecordRetire {
				b.rest(r.Addr, r.Time)
			}
			b.note(&r)
			return nil
		})
		if err != nil {
			return err
		}
	}
	last.next, last.counted, last.resting = b.past.next, b.past.counted, b.past.resting
	b.past = last
	return nil
}

// checkpoint tells the journal all a start needs.
func (b *Book) checkpoint(emit func([]byte)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var buf []byte
	write := func(r ipam.Record) {
		r.Restated = true
		buf = r.Append(buf[:0])
		emit(buf)
	}
	if b.past.boot != (ipam.Boot{}) {
		write(ipam.Record{Kind: ipam.RecordBoot, Time: b.past.seen, Boot: b.past.boot})
		if b.past.boot.Prefix.Bits() <= 64 {
			write(ipam.Record{Kind: ipam.RecordMark, Time: b.past.seen, Position: uint64(b.past.stamp)})
		} else if b.past.boot.Prefix == b.o.Layout.Prefix() { // the counter of another prefix is not known here: whoever needs it recounts
			write(ipam.Record{Kind: ipam.RecordMark, Time: b.past.seen, Position: b.past.next})
		}
	}
	b.index.all(func(e *entry) {
		write(ipam.Record{
			Kind: ipam.RecordAllocate, Time: ipam.Seconds(e.given), Addr: netip.AddrFrom16(e.addr), Identity: e.identity, Fixed: e.fixed, Owner: e.owner,
		})
	})
	b.checkpointResting(write)
}

func (b *Book) checkpointResting(write func(ipam.Record)) {
	if b.o.Layout.Clocked() {
		return
	}
	resting := b.past.sortedResting()
	if b.alloc != nil {
		resting = b.alloc.Resting()
	}
	for _, r := range resting {
		addr, err := b.o.Layout.Encode(ipam.Fields{Identity: ipam.IdentityUnknown, Counter: r.Counter})
		if err != nil { // reserved for the unknown identity, so it is so for none that was given out
			continue
		}
		write(ipam.Record{Kind: ipam.RecordRetire, Time: r.Since, Addr: addr})
	}
}
