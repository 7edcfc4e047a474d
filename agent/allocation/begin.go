package allocation

import (
	"errors"
	"net/netip"

	"hexapod.dev/model/ipam"
)

// believe makes the allocator if there is none yet: when the clock can be believed. The caller holds b.mu.
func (b *Book) believe(now ipam.Seconds) error {
	if b.alloc != nil {
		return nil
	}
	alloc, err := b.begin(now, false)
	b.alloc = alloc
	return err
}

// begin decides where the clock, or the counter, of this host goes on.
func (b *Book) begin(now ipam.Seconds, accepted bool) (*ipam.Allocator, error) {
	facts := b.o.Facts()
	start := ipam.Start{
		Now: now, Built: b.o.Built, Mark: b.mark(), Witness: facts.Witness, Changed: b.past.changed(b.o.IDs),
		Synchronised: facts.Synchronised, Trusted: facts.Trusted, Accepted: accepted, MaxJump: b.o.MaxClockJump,
	}
	clocked := b.o.Layout.Clocked()
	if clocked {
		start.Kernel = b.found()
	}
	if start.Mark > 0 && b.past.boot.Prefix != b.o.Layout.Prefix() {
		// Written for another prefix: as a mark it is a lower bound like an address in the kernel, and no reason to doubt the clock.
		start.Kernel, start.Mark = max(start.Kernel, start.Mark), 0
	}
	stamp, err := start.Begin()
	if err != nil {
		return nil, err
	}
	if clocked {
		return ipam.NewAllocator(b.o.Layout, stamp, b.o.MaxClockJump)
	}
	return ipam.NewCounter(b.o.Layout, b.counterStart(now, len(start.Changed) > 0))
}

// mark is the highest stamp the journal proves: that of an address, or the time of a record.
func (b *Book) mark() ipam.Stamp { return max(b.past.stamp, ipam.StampAt(b.past.seen)) }

// found is the highest stamp among the addresses found in the kernel.
func (b *Book) found() ipam.Stamp {
	var highest ipam.Stamp
	for _, a := range b.o.Found {
		f, err := b.o.Layout.Decode(a)
		if err != nil || !ipam.Workload(f.Identity) { // of a pool, or the host's own
			continue
		}
		highest = max(highest, ipam.StampAt(f.Born)|ipam.Stamp(f.Sequence))
	}
	return highest
}

// counterStart is where a counter goes on. It says no time, so after a restore it leaps somewhere else: what the lost journal knew
// is met by chance only.
func (b *Book) counterStart(now ipam.Seconds, restored bool) ipam.CounterStart {
	start := ipam.CounterStart{
		Begin: b.past.next, Now: now, MaxJump: b.o.MaxClockJump, Rest: b.o.Rest, MinRest: b.o.MinRest, Resting: b.past.sortedResting(),
	}
	if !b.past.counted || restored {
		start.Begin += b.o.Seed
	}
	living := func(a netip.Addr) {
		if f, err := b.o.Layout.Decode(a); err == nil {
			start.Living = append(start.Living, f.Counter)
		}
	}
	b.index.all(func(e *entry) { living(netip.AddrFrom16(e.addr)) })
	for _, a := range b.o.Found {
		living(a)
	}
	return start
}

// announceBoot writes who gives out addresses from here on, until that is durable. The caller holds b.mu.
func (b *Book) announceBoot(now ipam.Seconds) {
	if b.booted {
		return
	}
	record := ipam.Record{Kind: ipam.RecordBoot, Time: now, Boot: ipam.Boot{
		Machine: b.o.IDs.Machine, ID: b.o.IDs.Boot, Generation: b.o.IDs.Generation, Host: b.o.Host, Prefix: b.o.Layout.Prefix(),
	}}
	b.journal.Enqueue(now.Day(), record.Append(nil), func() {
		b.mu.Lock()
		b.note(&record)
		b.booted = true
		b.mu.Unlock()
	})
}

// AcceptClock takes the operator's word that the clock is right, writes it down, and lets the host give out addresses again. A
// clock behind addresses that were already given out stays refused: *ipam.ClockError.
func (b *Book) AcceptClock() error {
	if err := b.settle(); err != nil {
		return err
	}
	b.mu.Lock()
	now := b.o.Clock.Now()
	if b.alloc != nil { // running: what was given out since the start counts as well
		b.past.stamp = max(b.past.stamp, b.alloc.Mark())
	}
	alloc, err := b.begin(now, true)
	if err != nil {
		b.mu.Unlock()
		return err
	}
	if b.alloc == nil || b.o.Layout.Clocked() {
		b.alloc = alloc
	} else { // a counter that runs goes on: it knows what is being written
		b.alloc.Accept(now)
	}
	record := ipam.Record{Kind: ipam.RecordClock, Time: now}
	b.booted = false
	b.announceBoot(now)
	ticket := b.journal.Enqueue(now.Day(), record.Append(nil), func() {
		b.mu.Lock()
		b.note(&record)
		b.mu.Unlock()
	})
	b.mu.Unlock()
	return ticket.Wait()
}

// State is what `hexapod ipam status` shows.
type State struct {
	Host    string       `json:"host"`
	Prefix  netip.Prefix `json:"prefix"`
	Layout  string       `json:"layout"`
	Living  int          `json:"living"`
	Resting int          `json:"resting,omitempty"`
	Mark    ipam.Stamp   `json:"mark,omitempty"` // for the witness
	Born    ipam.Seconds `json:"born,omitzero"`  // the mark's time
	Clock   ipam.Seconds `json:"clock"`
	Refused string       `json:"refused,omitempty"` // why no address is given out now; empty: they are
}

// State tells how the book is doing.
func (b *Book) State() State {
	settled := b.settle()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.o.Clock.Now()
	s := State{
		Host: b.o.Host, Prefix: b.o.Layout.Prefix(), Layout: b.o.Layout.Kind().String(), Living: b.index.living, Clock: now, Mark: b.mark(),
	}
	err := errors.Join(settled, b.believe(now))
	if b.alloc != nil {
		err = errors.Join(err, b.alloc.Check(now))
		s.Mark, s.Resting = max(s.Mark, b.alloc.Mark()), len(b.alloc.Resting())
	}
	s.Born = s.Mark.Born()
	if err != nil {
		s.Refused = err.Error()
	}
	return s
}

// Mark is the witness of this book: nothing above it was given out so far.
func (b *Book) Mark() ipam.Stamp { return b.State().Mark }
