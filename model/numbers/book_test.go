package numbers

import (
	"errors"
	"math/rand/v2"
	"testing"

	"hexapod.dev/model/ipam"
)

func TestNext(t *testing.T) {
	const rest = 7 * ipam.Day
	odd := func(n uint64) bool { return n%2 == 1 }
	tests := map[string]struct {
		book     *Book
		know     func(*Book)
		now      ipam.Seconds
		silent   bool
		want     uint64
		returned bool
		full     *FullError
	}{
		"the first":                     {book: New(1, 4, nil), want: 1},
		"above the highest":             {book: New(0, 9, nil), know: func(b *Book) { b.Living(3) }, want: 4},
		"above one that was only seen":  {book: New(0, 9, nil), know: func(b *Book) { b.Living(1); b.Seen(5) }, want: 6},
		"above one that rests":          {book: New(0, 9, nil), know: func(b *Book) { b.Resting(5, 0) }, now: 2 * rest, want: 6},
		"above one that was returned":   {book: New(0, 9, nil), know: func(b *Book) { b.Resting(5, 0); b.Returned(5) }, want: 6},
		"usable ones alone":             {book: New(0, 9, odd), know: func(b *Book) { b.Living(3) }, want: 5},
		"a gap when the top is reached": {book: New(0, 3, nil), know: func(b *Book) { b.Living(0); b.Living(3) }, want: 1},
		"no gap while somebody is silent": {book: New(0, 3, nil), know: func(b *Book) { b.Living(0); b.Living(3) }, silent: true,
			full: &FullError{Numbers: 4, Living: 2, Silent: true}},
		"none that rests while somebody is silent": {book: New(0, 0, nil), know: func(b *Book) { b.Resting(0, 0) }, now: 2 * rest, silent: true,
			full: &FullError{Numbers: 1, Resting: 1, Silent: true}},
		"the one that has rested longest": {book: New(0, 2, nil), know: func(b *Book) { b.Resting(0, 20); b.Resting(1, 10); b.Living(2) }, now: rest + 10, want: 1, returned: true},
		"a second too early": {book: New(0, 2, nil), know: func(b *Book) { b.Resting(0, 20); b.Resting(1, 10); b.Living(2) }, now: rest + 9,
			full: &FullError{Numbers: 3, Living: 1, Resting: 2, Wait: 1}},
		"a gap before one that rests":      {book: New(0, 2, nil), know: func(b *Book) { b.Resting(0, 0); b.Living(2) }, now: 2 * rest, want: 1},
		"nothing at all":                   {book: New(0, 0, nil), know: func(b *Book) { b.Living(0) }, full: &FullError{Numbers: 1, Living: 1}},
		"found with somebody, not resting": {book: New(0, 0, nil), know: func(b *Book) { b.Living(0); b.Resting(0, 0) }, now: 2 * rest, full: &FullError{Numbers: 1, Living: 1}},
		"none of those that are usable":    {book: New(0, 2, odd), know: func(b *Book) { b.Living(1) }, full: &FullError{Numbers: 3, Living: 1}},
		"outside the range":                {book: New(5, 6, nil), know: func(b *Book) { b.Living(9); b.Seen(100); b.Resting(1, 0) }, want: 5},
		"the last number there is":         {book: New(0, ^uint64(0), nil), know: func(b *Book) { b.Seen(^uint64(0) - 1) }, want: ^uint64(0)},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			if c.know != nil {
				c.know(c.book)
			}
			n, returned, err := c.book.Next(c.now, rest, !c.silent)
			var full *FullError
			if errors.As(err, &full) != (c.full != nil) || c.full != nil && *full != *c.full {
				t.Fatalf("%v, want %+v", err, c.full)
			}
			if err == nil && (n != c.want || returned != c.returned) {
				t.Errorf("%d (returned %t), want %d (%t)", n, returned, c.want, c.returned)
			}
		})
	}
}

// slow is Next by looking at every number: the twin.
func slow(b *Book, now, rest ipam.Seconds, whole bool) (uint64, bool, bool) {
	for n := b.first; n <= b.last; n++ {
		if b.usable(n) && (!b.any || n > b.highest) {
			return n, false, true
		}
	}
	if !whole {
		return 0, false, false
	}
	best, found := uint64(0), false
	for n := b.first; n <= b.last; n++ {
		since, rests := b.resting[n]
		switch {
		case b.living[n]:
		case !rests && b.usable(n):
			return n, false, true
		case rests && since+rest <= now && (!found || since < b.resting[best]):
			best, found = n, true
		}
	}
	return best, true, found
}

// TestNextAgainstSlow: lives of hosts at random, decided fast and slow alike, and no number ever has two owners, though the writer
// forgets now and then what it knew and learns it from those that report.
func TestNextAgainstSlow(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 18))
	for range 300 {
		const rest = 50
		usable := func(n uint64) bool { return n%7 != 3 }
		b := New(1, 1+r.Uint64N(20), usable)
		owned := map[uint64]ipam.Seconds{} // living owners, as they are
		gone := map[uint64]ipam.Seconds{}
		for now := ipam.Seconds(0); now < 300; now++ {
			whole := r.IntN(3) > 0
			if r.IntN(40) == 0 { // the store was put back: objects are lost, the living report, the mark is heard of them
				mark, any := b.Highest()
				b = New(b.first, b.last, usable)
				if any {
					b.Seen(mark)
				}
				for n := range owned {
					b.Living(n)
				}
				for n, since := range gone {
					b.Resting(n, since)
				}
			}
			n, returned, err := b.Next(now, rest, whole)
			sn, sreturned, ok := slow(b, now, rest, whole)
			if (err == nil) != ok || ok && (n != sn || returned != sreturned) {
				t.Fatalf("fast %d %t %v, slow %d %t %t", n, returned, err, sn, sreturned, ok)
			}
			if err == nil && r.IntN(2) == 0 {
				if _, twice := owned[n]; twice {
					t.Fatalf("number %d has two owners", n)
				}
				if since, rests := gone[n]; rests && since+rest > now {
					t.Fatalf("number %d is given %d after it was retired", n, now-since)
				}
				delete(gone, n)
				owned[n] = now
				b.Living(n)
			}
			for n := range owned {
				if r.IntN(10) == 0 {
					delete(owned, n)
					gone[n] = now
					b.Retire(n, now)
				}
			}
		}
	}
}
