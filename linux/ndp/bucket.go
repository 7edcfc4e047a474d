package ndp

import "time"

// bucket bounds a rate: it refills at rate per second up to burst.
type bucket struct {
	rate, burst float64
	tokens      float64
	filled      time.Time
}

func newBucket(rate, burst float64) bucket { return bucket{rate: rate, burst: burst, tokens: burst} }

// take reports whether one more is allowed at now.
func (b *bucket) take(now time.Time) bool {
	if !b.filled.IsZero() {
		b.tokens = min(b.burst, b.tokens+b.rate*max(0, now.Sub(b.filled).Seconds()))
	}
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// ready returns when to ask again after a refusal. A moment gathers some, so that few wake-ups send many.
func (b *bucket) ready(now time.Time) time.Time {
	const moment = 10 * time.Millisecond
	return now.Add(max(moment, time.Duration((1-b.tokens)/b.rate*float64(time.Second))))
}
