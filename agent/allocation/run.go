package allocation

import (
	"context"
	"fmt"

	"hexapod.dev/agent/journal"
	"hexapod.dev/model/ipam"
)

// Run keeps the book in order until ctx ends: it notes once an hour that time passed, so that an idle host's mark does not grow old,
// gives closed segments to the sink, and removes those past their retention.
func (b *Book) Run(ctx context.Context) error {
	for {
		b.keep(ctx)
		if err := b.o.Clock.WaitUntil(ctx, b.o.Clock.Now()+ipam.Hour); err != nil {
			return nil // the agent stops
		}
	}
}

// keep is one round of Run.
func (b *Book) keep(ctx context.Context) {
	if err := b.noteTime(); err != nil {
		b.o.Event(Event{Why: NotWritable, Detail: err.Error()})
	}
	keep := b.o.Keep()
	if keep.Sink != nil {
		n, err := journal.Ship(ctx, b.o.FS, keep.Sink)
		if err != nil && ctx.Err() == nil {
			b.o.Event(Event{Why: NotShipped, Detail: err.Error()})
		}
		if n > 0 {
			b.o.Event(Event{Why: SegmentsTaken, Detail: fmt.Sprintf("%d segments", n)})
		}
	}
	if keep.Retention > 0 {
		b.retain(keep)
	}
}

// noteTime writes a mark when the day is a new one. A clock that is not believed is not written down.
func (b *Book) noteTime() error {
	b.mu.Lock()
	now := b.o.Clock.Now()
	if b.past.boot == (ipam.Boot{}) || b.believe(now) != nil || b.alloc.Check(now) != nil || now.Day() <= b.past.seen.Day() {
		b.mu.Unlock()
		return nil
	}
	return b.writeMark(now)
}

// Writable tells why the last record could not be written; nil when it was. It tries once more itself, with a mark: nobody else
// may, for a runtime sends no request to a host that calls itself out of service.
func (b *Book) Writable() error {
	b.mu.Lock()
	now := b.o.Clock.Now()
	if b.failed == nil || b.believe(now) != nil || b.alloc.Check(now) != nil {
		defer b.mu.Unlock()
		return b.failed
	}
	return b.writeMark(now)
}

// writeMark writes down how far this host is. The caller holds b.mu, and does not after it.
func (b *Book) writeMark(now ipam.Seconds) error {
	b.alloc.Observe(now)
	b.announceBoot(now)
	mark := ipam.Record{Kind: ipam.RecordMark, Time: now, Position: uint64(b.alloc.Mark())}
	if !b.o.Layout.Clocked() {
		mark.Position = b.alloc.Next()
	}
	ticket := b.journal.Enqueue(now.Day(), mark.Append(nil), func() {
		b.mu.Lock()
		b.note(&mark)
		b.mu.Unlock()
	})
	b.mu.Unlock()
	err := ticket.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = err
	return err
}

func (b *Book) retain(keep Keep) {
	b.mu.Lock()
	day := (b.past.seen - keep.Retention).Day() // not by a clock that may be wrong: what it removes is gone
	b.mu.Unlock()
	gone, err := journal.Retain(b.o.FS, day, keep.Sink != nil)
	for _, s := range gone {
		b.o.Event(Event{Why: SegmentLeft, Detail: s.Name()})
	}
	if err != nil {
		b.o.Event(Event{Why: NotRetained, Detail: err.Error()})
	}
}
