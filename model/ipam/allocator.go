package ipam

import (
	"fmt"
	"net/netip"
)

// Given is one address given out, with its place in the order in which its host gave addresses out.
type Given struct {
	Addr netip.Addr
	// Position is the stamp of a clocked address, the counter of a mid or narrow one. A journal keeps the highest.
	Position uint64
	// Pressed is set when the address was reused before its usual rest (mid and narrow prefixes only).
	Pressed bool
}

// Allocator gives out the addresses of one host prefix. It is not safe for concurrent use. What it gives out is to be written
// down before anybody may use it; what was not written is lost, never given out again.
type Allocator struct {
	layout  Layout
	last    Stamp // clocked: the stamp given out last; mid and narrow: the latest second that was believed
	maxJump Seconds
	counter *counter // mid and narrow
}

// NewAllocator returns an allocator of a clocked layout, wide, sealed or on-link, whose clock begins above begin (see Start.Begin). maxJump is
// the leap of the clock it still believes while it runs; 0: MaxClockJump.
func NewAllocator(layout Layout, begin Stamp, maxJump Seconds) (*Allocator, error) {
	if layout.counter != 0 {
		return nil, fmt.Errorf("host prefix %s: has no room for a clock, want a counter", layout.prefix)
	}
	if maxJump == 0 {
		maxJump = MaxClockJump
	}
	return &Allocator{layout: layout, last: begin, maxJump: maxJump}, nil
}

// Layout returns the layout of the prefix.
func (a *Allocator) Layout() Layout { return a.layout }

// at returns the address of a stamp; false when it is reserved, or that of its twin is: both must be writable.
func (l Layout) at(s Stamp, identity uint16) (netip.Addr, bool) {
	f := Fields{Identity: identity, Born: s.Born(), Sequence: s.Sequence()}
	clear, err := l.pack(f)
	f.Twin = true
	twin, twinErr := l.pack(f)
	if err != nil || twinErr != nil || l.reserved(clear) || l.reserved(twin) {
		return netip.Addr{}, false
	}
	return l.join(clear), true
}

// Mark returns the stamp given out last; 0 for mid and narrow layouts.
func (a *Allocator) Mark() Stamp {
	if a.counter != nil {
		return 0
	}
	return a.last
}

// Allocate gives out an address for an endpoint of an identity, at second now of the host's clock. Errors: *WaitError when the
// logical clock would run ahead, *ClockError when the clock is not believed, *ExhaustedError when a counter has nothing left,
// *IdentityError.
func (a *Allocator) Allocate(now Seconds, identity uint16) (Given, error) {
	if !Workload(identity) {
		return Given{}, &IdentityError{Identity: identity}
	}
	if err := a.Check(now); err != nil {
		return Given{}, err
	}
	if a.counter != nil {
		a.last = max(a.last, StampAt(now))
		return a.count(now, identity)
	}
	next := max(StampAt(now), a.last+1)
	for {
		next = a.layout.fits(next)
		if err := a.behind(next, now); err != nil {
			return Given{}, err
		}
		if addr, ok := a.layout.at(next, identity); ok {
			a.last = next
			return Given{Addr: addr, Position: uint64(next)}, nil
		}
		next++
	}
}

// Observe tells an idle allocator what the clock says, so that time that passes without an allocation is no leap of the clock. A
// clock that would be refused is ignored.
func (a *Allocator) Observe(now Seconds) {
	if a.Check(now) == nil {
		a.last = max(a.last, StampAt(now))
	}
}

// Accept makes a mid or narrow allocator go on with the clock as it is now, because somebody vouches for it. Clocked ones are
// made anew instead: their clock is in their addresses.
func (a *Allocator) Accept(now Seconds) {
	if a.counter != nil {
		a.last = StampAt(now)
	}
}

// Check tells why the clock is not believed, as a *ClockError: it leapt ahead of the last address, or went back behind it. A counter
// needs a right clock as well, for the time that an address rests.
func (a *Allocator) Check(now Seconds) error {
	last := a.last.Born()
	switch {
	case now < 0, now+2*RunAhead+1 < last:
		return &ClockError{Why: ClockBehind, Now: now, Reference: last, Detail: fmt.Sprintf("the last address says %s", last)}
	case a.counter != nil && a.last == 0: // nothing to compare with
		return nil
	case now > last+a.maxJump, now+RunAhead > maxBorn:
		return &ClockError{
			Why: ClockFarAhead, Now: now, Reference: last,
			Detail: fmt.Sprintf("the last address says %s, at most %d days ahead are believed", last, a.maxJump/Day),
		}
	}
	return nil
}

// behind tells what to do when the stamp is further ahead of the clock than it may be.
func (a *Allocator) behind(next Stamp, now Seconds) error {
	born := next.Born()
	switch {
	case born > maxBorn:
		return &ClockError{Why: ClockRunOut, Now: now, Reference: maxBorn, Detail: fmt.Sprintf("the last is %s", Seconds(maxBorn))}
	case born <= now+RunAhead:
		return nil
	case born <= now+2*RunAhead+1: // a burst, or a start behind the run-ahead: it passes by itself
		return &WaitError{Why: RunAheadUsed, Until: born - RunAhead}
	}
	return &ClockError{Why: ClockBehind, Now: now, Reference: born, Detail: fmt.Sprintf("the last address says %s", a.last.Born())}
}

// IdentityError says that an endpoint asked for an identity that is not a workload's.
type IdentityError struct{ Identity uint16 }

func (e *IdentityError) Error() string {
	return fmt.Sprintf("allocate an address for identity %d: %s; want 0 (not known yet) or %d to 65535", e.Identity, IdentityUnfit, identityReserved+1)
}
