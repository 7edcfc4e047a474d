package nat64

import (
	"slices"
	"testing"
	"time"
)

// await waits until something is so for what all gateways say of each other; there is no event of it.
func await(t *testing.T, what string, gates func() []*Translator, so func([]*Together) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var list []*Together
		for _, g := range gates() {
			list = append(list, g.Status(0).Together)
		}
		if so(list) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute: %+v", what, list)
		}
	}
}

// allLive is so when every gateway says that n of them translate.
func allLive(n int) func([]*Together) bool {
	return func(list []*Together) bool {
		return !slices.ContainsFunc(list, func(g *Together) bool { return len(g.Living) != n })
	}
}

// keep is so when gateways keep so many bindings of others.
func keep(bindings int) func([]*Together) bool {
	return func(list []*Together) bool {
		n := 0
		for _, g := range list {
			n += g.Kept
		}
		return n >= bindings
	}
}
