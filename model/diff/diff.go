// Package diff tells what must change to make what is present equal to what is wanted.
package diff

import (
	"cmp"
	"maps"
	"slices"
)

// Delta is the difference of two keyed sets. Keys are sorted, so a delta prints the same every time.
type Delta[K cmp.Ordered] struct {
	Add    []K // wanted, not present
	Change []K // present with another value
	Remove []K // present, not wanted
}

// Empty reports whether nothing has to change.
func (d Delta[K]) Empty() bool { return len(d.Add)+len(d.Change)+len(d.Remove) == 0 }

// For compares want with have. equal decides whether two values under one key are the same thing.
func For[K cmp.Ordered, W, H any](want map[K]W, have map[K]H, equal func(W, H) bool) Delta[K] {
	var d Delta[K]
	for _, k := range slices.Sorted(maps.Keys(want)) {
		h, ok := have[k]
		switch {
		case !ok:
			d.Add = append(d.Add, k)
		case !equal(want[k], h):
			d.Change = append(d.Change, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[k]; !ok {
			d.Remove = append(d.Remove, k)
		}
	}
	return d
}
