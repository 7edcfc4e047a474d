package allocation

import (
	"bytes"
	"context"
	"net/netip"

	"hexapod.dev/agent/journal"
	"hexapod.dev/model/ipam"
)

// Life is the time an endpoint had an address.
type Life struct {
	Allocation
	Host    string       `json:"host,omitempty"` // that gave it out
	Prefix  netip.Prefix `json:"prefix,omitzero"`
	Retired ipam.Seconds `json:"retired,omitzero"` // zero: it has it still, as far as the journal goes
}

// had reports whether the endpoint had the address at a time.
func (l Life) had(at ipam.Seconds) bool { return l.Given <= at && (l.Retired == 0 || at < l.Retired) }

// Whereabouts is the answer of whereis.
type Whereabouts struct {
	Addr netip.Addr   `json:"address"`
	At   ipam.Seconds `json:"at"`
	Then *Life        `json:"then,omitempty"`  // who had it at At; nil: nobody the journal knows
	Now  *Life        `json:"now,omitempty"`   // who has it now; nil: nobody
	Life []Life       `json:"lives,omitempty"` // everybody who had it, oldest first
}

// Whereis tells who had an address at a time; the zero time is now.
func (b *Book) Whereis(ctx context.Context, addr netip.Addr, at ipam.Seconds) (Whereabouts, error) {
	if at == 0 {
		at = b.o.Clock.Now()
	}
	w, err := Search(ctx, b.o.FS, b.o.Layout, addr, at)
	if err != nil {
		return Whereabouts{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w.Now = nil
	if e := b.index.addr(addr); e != nil {
		w.Now = &Life{Allocation: e.allocation(), Host: b.o.Host, Prefix: b.o.Layout.Prefix()}
	}
	return w, nil
}

// Search tells the same from the journal in a folder alone, which may be a copy and may be in use. Layout is that of the host
// prefix, the zero value when it is not known: then every segment is read. Now is who has it at the journal's end.
func Search(ctx context.Context, fs journal.FS, layout ipam.Layout, addr netip.Addr, at ipam.Seconds) (Whereabouts, error) {
	all, err := journal.Segments(fs)
	if err != nil {
		return Whereabouts{}, err
	}
	from, once := span(all, layout, addr)
	s := search{addr: addr, raw: addr.As16()}
	for i := from; i < len(all); i++ {
		if err := ctx.Err(); err != nil {
			return Whereabouts{}, err
		}
		if n := len(s.lives); once && (n > 0 && s.lives[n-1].Retired != 0 || n == 0 && i > from && all[i].Day > bornDay(layout, addr)+1) {
			break // its one life is over, or its birthday is
		}
		if err := journal.Read(fs, all, i, s.visit); err != nil {
			return Whereabouts{}, err
		}
	}
	w := Whereabouts{Addr: addr, At: at, Life: s.lives}
	for i := range s.lives {
		if s.lives[i].had(at) {
			w.Then = &s.lives[i]
		}
		if s.lives[i].Retired == 0 {
			w.Now = &s.lives[i]
		}
	}
	return w, nil
}

// span tells in which segment to begin, and whether the address has one life only. A wide address carries its birthday, and its
// record lies in a segment of that day, or of the one before when the logical clock was ahead over midnight.
func span(all []journal.Segment, layout ipam.Layout, addr netip.Addr) (from int, once bool) {
	if !layout.Prefix().IsValid() || !layout.Clocked() || !layout.Prefix().Contains(addr) {
		return 0, false
	}
	f, err := layout.Decode(addr)
	if err != nil {
		return 0, false
	}
	day := (f.Born - ipam.RunAhead).Day()
	for from < len(all)-1 && all[from].Day < day {
		from++
	}
	return from, true
}

func bornDay(layout ipam.Layout, addr netip.Addr) int64 {
	f, err := layout.Decode(addr)
	if err != nil {
		return 0
	}
	return f.Born.Day()
}

// search collects the lives of an address from records in the order of the journal.
type search struct {
	addr  netip.Addr
	raw   [16]byte
	boot  ipam.Boot
	lives []Life
}

func (s *search) visit(record []byte) error {
	boot := len(record) > 0 && ipam.RecordKind(record[0]) == ipam.RecordBoot
	if !boot && !bytes.Contains(record, s.raw[:]) { // most records: not worth parsing
		return nil
	}
	r, err := ipam.ParseRecord(record)
	if err != nil {
		return err
	}
	switch {
	case r.Kind == ipam.RecordBoot:
		s.boot = r.Boot
	case r.Addr != s.addr:
	case r.Kind == ipam.RecordAllocate:
		s.allocate(r)
	case r.Kind == ipam.RecordRetire && !r.Restated:
		s.end(r.Time)
	}
	return nil
}

// open returns the life that goes on; nil when there is none.
func (s *search) open() *Life {
	if n := len(s.lives); n > 0 && s.lives[n-1].Retired == 0 {
		return &s.lives[n-1]
	}
	return nil
}

func (s *search) end(at ipam.Seconds) {
	if l := s.open(); l != nil {
		l.Retired = max(at, l.Given+1)
	}
}

func (s *search) allocate(r ipam.Record) {
	if l := s.open(); l != nil && r.Restated {
		return
	}
	s.end(r.Time)
	s.lives = append(s.lives, Life{
		Allocation: Allocation{Owner: unpack(r.Owner), Addr: r.Addr, Identity: r.Identity, Fixed: r.Fixed, Given: r.Time},
		Host:       s.boot.Host, Prefix: s.boot.Prefix,
	})
}

// Verify reads a whole journal: checksums, the shape of each record, and that no stamp was given out twice.
func Verify(fs journal.FS) ([]journal.Report, error) {
	v := verifier{}
	return journal.Verify(fs, v.visit)
}

type verifier struct {
	prefix netip.Prefix
	last   uint64
}

func (v *verifier) visit(record []byte) error {
	r, err := ipam.ParseRecord(record)
	switch {
	case err != nil:
		return err
	case r.Kind == ipam.RecordBoot:
		v.prefix = r.Boot.Prefix
	case r.Kind == ipam.RecordAllocate && !r.Restated && !r.Fixed && v.prefix.Bits() <= 64:
		if r.Position <= v.last {
			return &RepeatError{Addr: r.Addr, At: r.Time}
		}
		v.last = r.Position
	}
	return nil
}

// RepeatError says that a journal has an address whose stamp was not above all before it.
type RepeatError struct {
	Addr netip.Addr
	At   ipam.Seconds
}

func (e *RepeatError) Error() string {
	return "address " + e.Addr.String() + " was given out at " + e.At.String() + " below the mark: two hosts write this journal, or it was put together by hand"
}
