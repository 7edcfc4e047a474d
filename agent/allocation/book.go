package allocation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"hexapod.dev/agent/journal"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

// Book is the one keeper of a host's addresses. Its methods may be called from many goroutines.
type Book struct {
	o       Options
	journal *journal.Journal

	mu     sync.Mutex
	index  *index
	coming map[string]*coming                 // by key: what is on its way to the disk
	claims map[netip.Addr]desired.EndpointKey // fixed addresses on their way to the disk
	past   past
	alloc  *ipam.Allocator // nil until the clock was believed
	booted bool            // the journal says that this boot writes it
	ready  bool            // what was replayed is durable
	failed error           // of the last record; nil when it was written
}

// coming is an allocation or retirement that is being written.
type coming struct{ done chan struct{} }

// past is what the journal tells of the time before this start.
type past struct {
	boot    ipam.Boot // who wrote last; zero: nobody
	stamp   ipam.Stamp
	seen    ipam.Seconds // latest time of a record
	next    uint64       // counter to try next; prefixes without a clock
	counted bool         // next is known
	resting map[uint64]ipam.Seconds
}

// maxHost is the longest host name in bytes, that of DNS (RFC 1035 3.1).
const maxHost = 253

// Open reads the journal and takes it for this process. It succeeds when the clock is not believed or the disk is full: what lives
// goes on living, only new addresses are refused then.
func Open(o Options) (*Book, error) {
	if len(o.Host) > maxHost {
		return nil, fmt.Errorf("host %q: its name has %d bytes, the journal takes %d", o.Host, len(o.Host), maxHost)
	}
	if o.Facts == nil {
		o.Facts = func() Facts { return Facts{} }
	}
	if o.Keep == nil {
		o.Keep = func() Keep { return Keep{} }
	}
	if o.Event == nil {
		o.Event = func(Event) {}
	}
	b := &Book{o: o, index: newIndex(), coming: map[string]*coming{}, claims: map[netip.Addr]desired.EndpointKey{}}
	b.past.resting = map[uint64]ipam.Seconds{}
	var err error
	if b.journal, err = journal.Open(journal.Options{FS: o.FS, Checkpoint: b.checkpoint}, b.replay); err != nil {
		return nil, err
	}
	if !o.Layout.Clocked() && !b.past.counted {
		if err := b.recount(); err != nil {
			return nil, errors.Join(err, b.journal.Close())
		}
	}
	b.ready = b.past.boot == (ipam.Boot{}) // nothing was replayed
	if err := b.settle(); err != nil {
		b.o.Event(Event{Why: NotWritable, Detail: err.Error()})
	}
	return b, nil
}

// settle makes sure that what was replayed is durable.
func (b *Book) settle() error {
	b.mu.Lock()
	ready, day := b.ready, b.past.seen.Day()
	b.mu.Unlock()
	if ready {
		return nil
	}
	if err := b.journal.Settle(day); err != nil {
		return err
	}
	b.mu.Lock()
	b.ready = true
	b.mu.Unlock()
	return nil
}

// Close answers what is on its way and gives the journal back.
func (b *Book) Close() error { return b.journal.Close() }

// Allocate gives an endpoint an address, or the one it has. The address is durable when Allocate returns; it waits while a burst
// runs ahead of the clock. Errors: *ipam.ClockError, *ipam.ExhaustedError, *ipam.IdentityError, *TakenError, *OtherError,
// *journal.FullError, *journal.WriteError, or that of ctx.
func (b *Book) Allocate(ctx context.Context, r Request) (Allocation, error) {
	if err := b.settle(); err != nil {
		return Allocation{}, err
	}
	owner := r.Owner.pack()
	for {
		a, err := b.start(r, owner)
		var wait *ipam.WaitError
		switch {
		case errors.As(err, &wait):
			if err := b.o.Clock.WaitUntil(ctx, wait.Until); err != nil {
				return Allocation{}, errors.Join(wait, err)
			}
		case err != nil:
			return Allocation{}, err
		case a.other != nil:
			select {
			case <-a.other.done:
			case <-ctx.Done():
				return Allocation{}, ctx.Err()
			}
		default:
			return a.allocation, a.finish()
		}
	}
}

// attempt is an allocation after it was decided and before it is durable.
type attempt struct {
	allocation Allocation
	other      *coming // the same key is being written by somebody else: wait and look again
	finish     func() error
}

func done() error { return nil }

// start decides about a request and enqueues its record.
func (b *Book) start(r Request, owner ipam.Packed) (attempt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := owner.Key()
	if c, ok := b.coming[key]; ok {
		return attempt{other: c}, nil
	}
	if e := b.index.key(key); e != nil {
		has := netip.AddrFrom16(e.addr)
		if r.Fixed.IsValid() && r.Fixed != has {
			return attempt{}, &OtherError{r.Owner.Key, has, r.Fixed}
		}
		return attempt{allocation: e.allocation(), finish: done}, nil
	}
	if !b.o.Layout.Prefix().IsValid() {
		return attempt{}, &NoPrefixError{r.Owner}
	}
	now := b.o.Clock.Now()
	if err := b.believe(now); err != nil {
		return attempt{}, err
	}
	given, err := b.give(r, now)
	if err != nil {
		return attempt{}, err
	}
	return b.enqueue(r, owner, key, given, now), nil
}

// give picks the address of a request.
func (b *Book) give(r Request, now ipam.Seconds) (ipam.Given, error) {
	if !r.Fixed.IsValid() {
		return b.alloc.Allocate(now, r.Identity)
	}
	if !r.Fixed.Is6() || r.Fixed.Is4In6() || r.Fixed.Zone() != "" || b.o.Layout.Prefix().Contains(r.Fixed) {
		return ipam.Given{}, fmt.Errorf("allocate the fixed address %s: want an IPv6 address of a pool, not of host prefix %s", r.Fixed, b.o.Layout.Prefix())
	}
	if other, ok := b.claims[r.Fixed]; ok {
		return ipam.Given{}, &TakenError{r.Fixed, other}
	}
	if e := b.index.addr(r.Fixed); e != nil {
		return ipam.Given{}, &TakenError{r.Fixed, unpack(e.owner).Key}
	}
	// No clock is in the address, but it is in the record: a wrong one would outlive its correction.
	if err := b.alloc.Check(now); err != nil {
		return ipam.Given{}, err
	}
	b.alloc.Observe(now)
	b.claims[r.Fixed] = r.Owner.Key
	return ipam.Given{Addr: r.Fixed}, nil
}

// enqueue puts the record of an allocation on its way.
func (b *Book) enqueue(r Request, owner ipam.Packed, key string, given ipam.Given, now ipam.Seconds) attempt {
	record := ipam.Record{
		Kind: ipam.RecordAllocate, Time: now, Addr: given.Addr, Identity: r.Identity, Fixed: r.Fixed.IsValid(), Position: given.Position, Owner: owner,
	}
	e := entry{addr: given.Addr.As16(), owner: owner, given: uint32(now), identity: r.Identity, fixed: record.Fixed}
	c := &coming{make(chan struct{})}
	b.coming[key] = c
	b.announceBoot(now)
	ticket := b.journal.Enqueue(now.Day(), record.Append(make([]byte, 0, 128)), func() {
		b.mu.Lock()
		b.index.add(e)
		b.note(&record)
		b.mu.Unlock()
	})
	return attempt{allocation: e.allocation(), finish: func() error {
		err := ticket.Wait()
		b.mu.Lock()
		delete(b.coming, key)
		delete(b.claims, given.Addr)
		b.failed = err
		if err != nil && b.alloc != nil { // the address may be on disk all the same: it rests like a used one
			b.alloc.Retire(given.Addr, now)
		}
		b.mu.Unlock()
		close(c.done)
		if err == nil && given.Pressed {
			b.o.Event(Event{Why: ipam.PressureReuse, Detail: given.Addr.String()})
		}
		return err
	}}
}

// Retire takes the address of an endpoint back, for good. An endpoint without one is fine.
func (b *Book) Retire(ctx context.Context, key desired.EndpointKey) error {
	if err := b.settle(); err != nil {
		return err
	}
	packed := ipam.PackKey(key.Container, key.Interface)
	for {
		b.mu.Lock()
		if c, ok := b.coming[packed]; ok {
			b.mu.Unlock()
			select {
			case <-c.done:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		e := b.index.key(packed)
		if e == nil {
			b.mu.Unlock()
			return nil
		}
		finish := b.enqueueRetire(netip.AddrFrom16(e.addr), packed)
		b.mu.Unlock()
		return finish()
	}
}

func (b *Book) enqueueRetire(addr netip.Addr, key string) func() error {
	now := b.writingTime()
	record := ipam.Record{Kind: ipam.RecordRetire, Time: now, Addr: addr}
	c := &coming{make(chan struct{})}
	b.coming[key] = c
	ticket := b.journal.Enqueue(now.Day(), record.Append(nil), func() {
		b.mu.Lock()
		b.index.remove(addr)
		if b.alloc != nil {
			b.alloc.Retire(addr, now)
		} else {
			b.rest(addr, now)
		}
		b.note(&record)
		b.mu.Unlock()
	})
	return func() error {
		err := ticket.Wait()
		b.mu.Lock()
		delete(b.coming, key)
		b.failed = err
		b.mu.Unlock()
		close(c.done)
		return err
	}
}

// writingTime is the time a record gets that is written whatever the clock says: a clock that is not believed leaves no trace, and
// no life ends before it began. The caller holds b.mu.
func (b *Book) writingTime() ipam.Seconds {
	now := b.o.Clock.Now()
	if b.believe(now) != nil || b.alloc.Check(now) != nil {
		return b.past.seen
	}
	return max(now, b.past.seen)
}

// Get returns the allocation of an endpoint.
func (b *Book) Get(key desired.EndpointKey) (Allocation, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.index.key(ipam.PackKey(key.Container, key.Interface)); e != nil {
		return e.allocation(), true
	}
	return Allocation{}, false
}

// Living returns all allocations, ordered by address.
func (b *Book) Living() []Allocation {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Allocation, 0, b.index.living)
	b.index.all(func(e *entry) { all = append(all, e.allocation()) })
	slices.SortFunc(all, func(x, y Allocation) int { return x.Addr.Compare(y.Addr) })
	return all
}

// Len returns how many endpoints live.
func (b *Book) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.index.living
}

// sortedResting is what rests, oldest first.
func (p *past) sortedResting() []ipam.Resting {
	all := make([]ipam.Resting, 0, len(p.resting))
	for n, since := range p.resting {
		all = append(all, ipam.Resting{Counter: n, Since: since})
	}
	slices.SortFunc(all, func(x, y ipam.Resting) int {
		return cmp.Or(cmp.Compare(x.Since, y.Since), cmp.Compare(x.Counter, y.Counter))
	})
	return all
}

// changed names the ids that are not those of whoever wrote the journal last.
func (p *past) changed(ids IDs) []string {
	if p.boot == (ipam.Boot{}) {
		return nil
	}
	var names []string
	for _, id := range []struct {
		name      string
		was, here [16]byte
	}{
		{"machine id", p.boot.Machine, ids.Machine},
		{"VM generation", p.boot.Generation, ids.Generation},
		{"boot id", p.boot.ID, ids.Boot},
	} {
		if !bytes.Equal(id.was[:], id.here[:]) {
			names = append(names, id.name)
		}
	}
	return names
}
