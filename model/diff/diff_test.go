package diff

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFor(t *testing.T) {
	eq := func(a, b int) bool { return a == b }
	for _, tc := range []struct {
		name       string
		want, have map[string]int
		delta      Delta[string]
	}{
		{"both empty", nil, nil, Delta[string]{}},
		{"same", map[string]int{"a": 1}, map[string]int{"a": 1}, Delta[string]{}},
		{"all three, sorted",
			map[string]int{"new": 1, "also": 2, "kept": 3, "moved": 4},
			map[string]int{"kept": 3, "moved": 5, "old": 6},
			Delta[string]{Add: []string{"also", "new"}, Change: []string{"moved"}, Remove: []string{"old"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := For(tc.want, tc.have, eq)
			if d := cmp.Diff(tc.delta, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if got.Empty() != (len(tc.delta.Add)+len(tc.delta.Change)+len(tc.delta.Remove) == 0) {
				t.Errorf("Empty() = %v for %v", got.Empty(), got)
			}
		})
	}
}
