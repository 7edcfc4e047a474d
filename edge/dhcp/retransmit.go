package dhcp

import "time"

// exchange is one message that is sent again until it is answered (RFC 8415 15). It knows no clock.
type exchange struct {
	initial time.Duration // IRT
	longest time.Duration // MRT; 0: none
	count   int           // MRC: how often it is sent; 0: without end
	within  time.Duration // MRD: how long it is tried; 0: without end

	begin   time.Time // of the first transmission
	next    time.Time // when to send again, or to give up
	timeout time.Duration
	sent    int
}

// The parameters of RFC 8415 7.6.
var (
	solicitExchange = exchange{initial: time.Second, longest: time.Hour}
	requestExchange = exchange{initial: time.Second, longest: 30 * time.Second, count: 10}
	renewExchange   = exchange{initial: 10 * time.Second, longest: 10 * time.Minute}
	rebindExchange  = exchange{initial: 10 * time.Second, longest: 10 * time.Minute}
	// A Rebind after a restart or a new cable is sent as a Confirm would be (RFC 8415 18.2.12).
	verifyExchange = exchange{initial: time.Second, longest: 4 * time.Second, within: 10 * time.Second}
)

// maxSolicitDelay is SOL_MAX_DELAY: hosts that start together do not ask together.
const maxSolicitDelay = time.Second

// transmit notes that the message is sent now and plans the next time. spread is RAND, between -0.1 and 0.1.
func (e *exchange) transmit(now time.Time, spread float64) {
	if e.sent == 0 {
		e.begin = now
		e.timeout = e.initial + time.Duration(spread*float64(e.initial))
	} else {
		e.timeout = 2*e.timeout + time.Duration(spread*float64(e.timeout))
	}
	if e.longest != 0 && e.timeout > e.longest {
		e.timeout = e.longest + time.Duration(spread*float64(e.longest))
	}
	e.sent++
	e.next = now.Add(e.timeout)
	if end := e.begin.Add(e.within); e.within != 0 && e.next.After(end) {
		e.next = end
	}
}

// over tells whether the exchange has failed: it was sent as often, or tried as long, as it may be.
func (e *exchange) over(now time.Time) bool {
	return e.count != 0 && e.sent >= e.count || e.within != 0 && e.sent > 0 && !now.Before(e.begin.Add(e.within))
}

// elapsed is how long the exchange has been going on (RFC 8415 21.9: of the first transmission, 0).
func (e *exchange) elapsed(now time.Time) time.Duration {
	if e.sent == 0 {
		return 0
	}
	return now.Sub(e.begin)
}
