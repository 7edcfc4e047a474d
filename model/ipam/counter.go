package ipam

import "net/netip"

// Rests of an address of a prefix that is too small for never.
const (
	DefaultRest = 24 * Hour
	MinRest     = 10 * Minute
)

// queueLimit bounds what is remembered of retired addresses past their rest: beyond it the counter finds them again on its
// next round. Prefixes of up to 2^20 addresses are reused strictly oldest first.
const queueLimit = 1 << 20

// CounterStart is what a counter begins with.
type CounterStart struct {
	Begin   uint64    // the first address to try: the highest of the journal plus one, or any for a host without history
	Now     Seconds   // the host's clock, as it was believed at the start (see Start.Begin); 0: not known
	MaxJump Seconds   // the leap of the clock that is still believed while it runs; 0: MaxClockJump
	Rest    Seconds   // 0: DefaultRest
	MinRest Seconds   // 0: MinRest; never below a second
	Living  []uint64  // counters in use
	Resting []Resting // oldest first
}

// Resting is a retired counter that waits for its next life.
type Resting struct {
	Counter uint64
	Since   Seconds
}

// counter gives out plain numbers: upwards, around, past what is in use; when nothing fresh is left, the one that was retired
// longest ago.
type counter struct {
	next          uint64
	size          uint64
	rest, minRest Seconds
	used          map[uint64]bool // true: living, false: in the queue
	queue         []Resting       // oldest first
}

// NewCounter returns the allocator of a mid or narrow layout.
func NewCounter(layout Layout, start CounterStart) (*Allocator, error) {
	if layout.counter == 0 {
		return nil, &layoutError{layout}
	}
	c := &counter{
		size: 1 << layout.counter, next: start.Begin % (1 << layout.counter),
		rest: start.Rest, minRest: start.MinRest, used: map[uint64]bool{},
	}
	if c.rest == 0 {
		c.rest = DefaultRest
	}
	if c.minRest <= 0 {
		c.minRest = MinRest
	}
	c.rest = max(c.rest, c.minRest)
	for _, n := range start.Living {
		c.used[n] = true
	}
	for _, r := range start.Resting {
		if _, ok := c.used[r.Counter]; !ok {
			c.used[r.Counter] = false
			c.queue = append(c.queue, r)
		}
	}
	a := &Allocator{layout: layout, last: StampAt(start.Now), maxJump: start.MaxJump, counter: c}
	if a.maxJump == 0 {
		a.maxJump = MaxClockJump
	}
	return a, nil
}

type layoutError struct{ layout Layout }

func (e *layoutError) Error() string {
	return "host prefix " + e.layout.prefix.String() + ": has a clock, want NewAllocator"
}

// count is Allocate for mid and narrow layouts.
func (a *Allocator) count(now Seconds, identity uint16) (Given, error) {
	c := a.counter
	c.trim(now)
	for {
		n, pressed, err := c.take(now)
		if err != nil {
			err.Prefix = a.layout.prefix
			return Given{}, err
		}
		c.used[n] = true
		if addr, ok := a.write(identity, n); ok {
			return Given{Addr: addr, Position: n, Pressed: pressed}, nil
		}
		// Reserved for every identity in a narrow prefix: it stays used for good. In a mid one it is so for this identity alone,
		// which costs the others one of 2^31.
	}
}

func (a *Allocator) write(identity uint16, n uint64) (netip.Addr, bool) {
	clear := n
	if a.layout.kind == Mid {
		clear = uint64(identity)<<32 | n
		if a.layout.reserved(clear | 1<<31) {
			return netip.Addr{}, false
		}
	}
	return a.layout.join(clear), !a.layout.reserved(clear)
}

// take returns the next fresh number, else the oldest retired one.
func (c *counter) take(now Seconds) (uint64, bool, *ExhaustedError) {
	if uint64(len(c.used)) < c.size {
		for {
			n := c.next
			c.next = (c.next + 1) % c.size
			if _, used := c.used[n]; !used {
				return n, false, nil
			}
		}
	}
	if len(c.queue) == 0 {
		return 0, false, &ExhaustedError{Why: PrefixFull}
	}
	oldest := c.queue[0]
	age := now - oldest.Since
	if age < c.minRest {
		return 0, false, &ExhaustedError{Why: PrefixResting, Until: oldest.Since + c.minRest}
	}
	c.queue = c.queue[1:]
	return oldest.Counter, age < c.rest, nil
}

// trim forgets retired addresses past their rest when there are too many to remember.
func (c *counter) trim(now Seconds) {
	for len(c.queue) > queueLimit && now-c.queue[0].Since >= c.rest {
		delete(c.used, c.queue[0].Counter)
		c.queue = c.queue[1:]
	}
}

// Retire marks an address as used up at second now. Wide and sealed ones are never given out again and need no memory; a mid or
// narrow one begins its rest.
func (a *Allocator) Retire(addr netip.Addr, now Seconds) {
	if a.counter == nil {
		return
	}
	f, err := a.layout.Decode(addr)
	if err != nil {
		return
	}
	if a.counter.used[f.Counter] {
		a.counter.used[f.Counter] = false
		a.counter.queue = append(a.counter.queue, Resting{f.Counter, now})
	}
}

// Resting returns the retired counters that are remembered, oldest first; nil for wide and sealed layouts. The slice is the
// allocator's own.
func (a *Allocator) Resting() []Resting {
	if a.counter == nil {
		return nil
	}
	return a.counter.queue
}

// Next returns the counter tried next; 0 for wide and sealed layouts.
func (a *Allocator) Next() uint64 {
	if a.counter == nil {
		return 0
	}
	return a.counter.next
}
