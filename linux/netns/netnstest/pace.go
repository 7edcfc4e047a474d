package netnstest

import (
	"sync/atomic"
	"time"
)

// Pace gives out the moments of a steady load to any number of callers: what was late is caught up with, so that in the long run there
// are as many as wanted.
type Pace struct {
	every time.Duration
	begun time.Time
	given atomic.Int64
	last  atomic.Int64 // nanoseconds after begun
}

// NewPace begins now with a moment in every so many nanoseconds.
func NewPace(every time.Duration) *Pace { return &Pace{every: every, begun: time.Now()} }

// Await takes the next moment and waits for it; false: done was closed.
func (p *Pace) Await(done <-chan struct{}) bool {
	due := p.begun.Add(time.Duration(p.given.Add(1)) * p.every)
	timer := time.NewTimer(time.Until(due)) // at once where it has passed
	defer timer.Stop()
	select {
	case <-done:
		return false
	case <-timer.C:
		p.last.Store(int64(time.Since(p.begun)))
		return true
	}
}

// Rate is how many moments came in a second, until the last one.
func (p *Pace) Rate() float64 {
	return float64(p.given.Load()) / time.Duration(p.last.Load()).Seconds()
}
