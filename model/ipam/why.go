package ipam

import (
	"fmt"
	"net/netip"
)

// Why is the reason an address was not given out, in the same words for log, metric, status and doctor.
type Why string

const (
	RunAheadUsed  Why = "more addresses were asked for than the clock has passed seconds for"
	ClockBehind   Why = "the clock is behind addresses that were already given out"
	ClockPreBuild Why = "the clock is before the day this program was built"
	ClockFarAhead Why = "the clock is too far ahead of the last address given out"
	ClockUnproven Why = "this machine, its virtual machine or its boot is not the one that wrote the journal, and nothing vouches for the clock"
	ClockRunOut   Why = "the clock is past the last second an address can carry"
	PrefixFull    Why = "every address of the prefix is in use"
	PrefixResting Why = "every free address of the prefix was in use too short a time ago"
	IdentityUnfit Why = "the identity is not one a workload may carry"
	PressureReuse Why = "the prefix is nearly used up: an address was reused before its usual rest"

	acceptClock = "if the clock is right, run `hexapod ipam accept-clock`"
)

// WaitError says that the same call succeeds once the host's clock reads Until. Nothing was given out.
type WaitError struct {
	Why   Why
	Until Seconds
}

func (e *WaitError) Error() string {
	return fmt.Sprintf("allocate an address: %s; wait until %s", e.Why, e.Until)
}

// ClockError says that the clock was not believed. The mark is as it was.
type ClockError struct {
	Why       Why
	Now       Seconds // what the clock said
	Reference Seconds // what it was compared with
	Detail    string  // which thing the reference is, or what changed
}

func (e *ClockError) Error() string {
	next := acceptClock
	switch e.Why {
	case ClockBehind, ClockPreBuild:
		next = "set the clock (is NTP running?) and try again"
	case ClockRunOut:
		next = "give the host a new prefix"
	case ClockUnproven:
		next = "wait for NTP, set `clock: trusted` for this host, or " + acceptClock
	}
	return fmt.Sprintf("allocate an address: the clock says %s: %s (%s); %s", e.Now, e.Why, e.Detail, next)
}

// ExhaustedError says that a prefix has no address to give. Until is the second at which the next one has rested, or 0 when
// only a retirement helps.
type ExhaustedError struct {
	Prefix netip.Prefix
	Why    Why
	Until  Seconds
}

func (e *ExhaustedError) Error() string {
	if e.Until > 0 {
		return fmt.Sprintf("allocate an address from %s: %s; the next is free at %s, or give the host a larger prefix", e.Prefix, e.Why, e.Until)
	}
	return fmt.Sprintf("allocate an address from %s: %s; remove endpoints or give the host a larger prefix", e.Prefix, e.Why)
}
