package identity

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// Entry is one number and what it stands for.
type Entry struct {
	Number  Number
	Set     Set
	Retired bool // out of use; the number is not given again
}

// Table holds the sets that have a number. It is a value that does not change once made.
type Table struct {
	rules    Rules
	byKey    map[Key]Number
	byNumber map[Number]Entry
}

// NewTable makes a table. A reserved number and a number with two owners are errors; two numbers of one set are harmless,
// and the lower one is given to new endpoints.
func NewTable(rules Rules, entries []Entry) (*Table, error) {
	t := &Table{rules, map[Key]Number{}, map[Number]Entry{}}
	for _, e := range entries {
		if !e.Number.Workload() {
			return nil, fmt.Errorf("identity %s of %s: the number is none of a set of labels, take one from %d to %d", e.Number, e.Set, FirstWorkload, LastWide)
		}
		if other, twice := t.byNumber[e.Number]; twice {
			return nil, fmt.Errorf("identity %s has two owners, %s and %s: give one of them another number", e.Number, other.Set, e.Set)
		}
		t.byNumber[e.Number] = e
		key := rules.Key(e.Set)
		if first, known := t.byKey[key]; !e.Retired && (!known || e.Number < first) {
			t.byKey[key] = e.Number
		}
	}
	return t, nil
}

// Rules returns the rules of the table's keys.
func (t *Table) Rules() Rules { return t.rules }

// Number returns the number for new endpoints of a set; Unknown and false if it has none.
func (t *Table) Number(s Set) (Number, bool) {
	n, ok := t.byKey[t.rules.Key(s)]
	return n, ok
}

// Entry returns what a number stands for, retired or not.
func (t *Table) Entry(n Number) (Entry, bool) {
	e, ok := t.byNumber[n]
	return e, ok
}

// Entries lists the table by number.
func (t *Table) Entries() []Entry {
	out := make([]Entry, 0, len(t.byNumber))
	for _, e := range t.byNumber {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// ErrFull says that every number that fits into an address was used once.
var ErrFull = fmt.Errorf("all %d identity numbers were used: retired ones return when no endpoint carries them, by removing their entry", LastWorkload-FirstWorkload+1)

// Next returns a number that was never used and fits into addresses: the one above the highest, so that a number whose entry was lost
// from the middle of a file is not given again either; when the top is reached, the lowest without an entry.
func (t *Table) Next() (Number, error) {
	highest := FirstWorkload - 1
	for n := range t.byNumber {
		if !n.Wide() {
			highest = max(highest, n)
		}
	}
	if highest < LastWorkload {
		return highest + 1, nil
	}
	for n := FirstWorkload; n < LastWorkload; n++ {
		if _, used := t.byNumber[n]; !used {
			return n, nil
		}
	}
	return Unknown, ErrFull
}

// Fingerprint is short and equal exactly where two tables have the same numbers for the same sets: people compare it between
// hosts. It is the first 8 bytes of a SHA-256 in hexadecimal.
func (t *Table) Fingerprint() string {
	h := sha256.New()
	for _, e := range t.Entries() {
		key := t.rules.Key(e.Set)
		fmt.Fprintf(h, "%d %t %d %s\n", e.Number, e.Retired, len(key), key)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
