// Package numbers decides which number is given out next, so that none is given twice by a writer that may not know all of the past.
//
// Host numbers of a rack, IPv4 ranges, identities and addresses of a pool are all numbers of a range. The rule is the same for all:
// first those above the highest that anybody was ever seen with; then, if everybody has said what they hold, gaps; then, of those
// that rest, the one that has rested longest.
package numbers

import (
	"cmp"
	"fmt"
	"slices"

	"hexapod.dev/model/ipam"
)

// Book is what is known of the numbers of one range, which is never empty. The zero value is not valid; New makes one.
type Book struct {
	first, last uint64
	usable      func(uint64) bool
	living      map[uint64]bool
	resting     map[uint64]ipam.Seconds // since when
	highest     uint64                  // of all that were seen
	any         bool                    // highest means something
}

// New makes a book of the numbers from first to last. usable may exclude some; nil excludes none.
func New(first, last uint64, usable func(uint64) bool) *Book {
	if usable == nil {
		usable = func(uint64) bool { return true }
	}
	return &Book{first: first, last: max(first, last), usable: usable, living: map[uint64]bool{}, resting: map[uint64]ipam.Seconds{}}
}

// Living says that somebody has a number. A number outside the range is nobody's business here.
func (b *Book) Living(n uint64) {
	if n < b.first || n > b.last {
		return
	}
	delete(b.resting, n)
	b.living[n] = true
	b.Seen(n)
}

// Resting says that nobody has a number since a second, unless somebody was found to have it.
func (b *Book) Resting(n uint64, since ipam.Seconds) {
	if n < b.first || n > b.last || b.living[n] {
		return
	}
	b.resting[n] = since
	b.Seen(n)
}

// Retire says that a number's owner is gone since a second.
func (b *Book) Retire(n uint64, since ipam.Seconds) {
	delete(b.living, n)
	b.Resting(n, since)
}

// Returned says that a number was taken back: it is as if it had never been given, but for the mark of the highest.
func (b *Book) Returned(n uint64) {
	delete(b.living, n)
	delete(b.resting, n)
}

// Seen raises the mark: a number was given to somebody once, who may be out of sight.
func (b *Book) Seen(n uint64) {
	if n < b.first || n > b.last {
		return
	}
	if !b.any || n > b.highest {
		b.highest, b.any = n, true
	}
}

// Highest returns the mark; false: no number was ever seen.
func (b *Book) Highest() (uint64, bool) { return b.highest, b.any }

// Count returns how many numbers have an owner and how many rest.
func (b *Book) Count() (living, resting int) { return len(b.living), len(b.resting) }

// Next decides. whole says that everybody who may hold a number has said so. A number that comes back from its rest has returned
// true: its record is to be removed first. Nothing is written into the book. The error is a [*FullError].
func (b *Book) Next(now, rest ipam.Seconds, whole bool) (n uint64, returned bool, err error) {
	if n, ok := b.above(); ok {
		return n, false, nil
	}
	full := &FullError{Numbers: b.last - b.first + 1, Living: len(b.living), Resting: len(b.resting), Silent: !whole}
	if !whole {
		return 0, false, full
	}
	for n := b.first; ; n++ {
		if _, rests := b.resting[n]; !rests && !b.living[n] && b.usable(n) {
			return n, false, nil
		}
		if n == b.last {
			break
		}
	}
	oldest, ok := b.oldest()
	if !ok {
		return 0, false, full
	}
	if full.Wait = b.resting[oldest] + rest - now; full.Wait <= 0 {
		return oldest, true, nil
	}
	return 0, false, full
}

// above finds the first usable number above the mark.
func (b *Book) above() (uint64, bool) {
	n := b.first
	if b.any {
		if b.highest == b.last {
			return 0, false
		}
		n = b.highest + 1
	}
	for ; ; n++ {
		if b.usable(n) {
			return n, true
		}
		if n == b.last {
			return 0, false
		}
	}
}

// oldest finds the number that has rested longest; of several the lowest.
func (b *Book) oldest() (uint64, bool) {
	var all []uint64
	for n := range b.resting {
		all = append(all, n)
	}
	if len(all) == 0 {
		return 0, false
	}
	return slices.MinFunc(all, func(x, y uint64) int {
		return cmp.Or(cmp.Compare(b.resting[x], b.resting[y]), cmp.Compare(x, y))
	}), true
}

// FullError says that there is no number to give now, and what would bring one.
type FullError struct {
	Numbers         uint64 // in the range
	Living, Resting int
	Silent          bool         // somebody did not say yet what they hold, so gaps cannot be trusted
	Wait            ipam.Seconds // until one has rested; 0: none rests
}

func (e *FullError) Error() string {
	s := fmt.Sprintf("all %d numbers were given, %d are in use and %d rest", e.Numbers, e.Living, e.Resting)
	switch {
	case e.Silent:
		return s + "; gaps are given when every host has reported"
	case e.Wait > 0:
		return s + fmt.Sprintf("; the next returns in %ds", e.Wait)
	}
	return s
}
