package ipam

import (
	"fmt"
	"net/netip"
)

// Given is one address given out, with its place in the order in which its host gave addresses out.
type Given struct {
	Addr netip.Addr
	// Position is the stamp of a wide or sealed address, the counter of a mid or narrow one. A journal keeps the highest.
	Position uint64
	// Pressed is set when the address was reused before its usual rest (mid and narrow prefixes only).
	Pressed bool
}

// Allocator gives out the addresses of one host prefix. It is not safe for concurrent use. What it gives out is to be written
// down before anybody may use it; what was not written is lost, never given out again.
type Allocator struct {
	layout  Layout
	last    Stamp // wide and sealed: the stamp given out last
	maxJump Seconds
	counter *counter // mid and narrow
}

// NewAllocator returns an allocator of a wide or sealed layout whose clock begins above begin (see Start.Begin). maxJump is
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

// Mark returns the stamp given out last; 0 for mid and narrow layouts.
func (a *Allocator) Mark() Stamp { return a.last }

// Allocate gives out an address for an endpoint of an identity, at second now of the host's clock. Errors: *WaitError when the
// logical clock would run ahead, *ClockError when the clock is not believed, *ExhaustedError when a counter has nothing left,
// *IdentityError.
func (a *Allocator) Allocate(now Seconds, identity uint16) (Given, error) {
	if !Workload(identity) {
		return Given{}, &IdentityError{Identity: identity}
	}
	if a.counter != nil {
		return a.count(now, identity)
	}
	if !a.Believes(now) {
		return Given{}, &ClockError{
			Why: ClockFarAhead, Now: now, Reference: a.last.Born(),
			Detail: fmt.Sprintf("the last address says %s, at most %d days ahead are believed", a.last.Born(), a.maxJump/Day),
		}
	}
	next := max(StampAt(now), a.last+1)
	for {
		if err := a.behind(next, now); err != nil {
			return Given{}, err
		}
		clear := uint64(identity)<<48 | uint64(next)
		if !a.layout.reserved(clear) && !a.layout.reserved(clear|1<<47) { // the twin must be writable too
			a.last = next
			return Given{Addr: a.layout.join(clear), Position: uint64(next)}, nil
		}
		next++
	}
}

// Observe tells an idle allocator what the clock says, so that time that passes without an allocation is no leap of the clock. A
// clock that would be refused is ignored.
func (a *Allocator) Observe(now Seconds) {
	if a.counter == nil && a.Believes(now) {
		a.last = max(a.last, StampAt(now))
	}
}

// Believes reports whether the clock is no leap ahead of the last address.
func (a *Allocator) Believes(now Seconds) bool {
	return a.counter != nil || now <= a.last.Born()+a.maxJump && now+RunAhead <= maxBorn
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
