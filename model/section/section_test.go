package section

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The slow twin is a plain map, copied at each change.
func TestMapAgainstPlainMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var m Map[int, int]
	twin := map[int]int{}
	type version struct {
		m    Map[int, int]
		twin map[int]int
	}
	var kept []version
	for i := range 20_000 {
		k := r.IntN(3000)
		if r.IntN(3) == 0 {
			m = m.Delete(k)
			delete(twin, k)
		} else {
			m = m.Set(k, i)
			twin[k] = i
		}
		if i%2000 == 0 {
			kept = append(kept, version{m, maps.Clone(twin)})
		}
	}
	kept = append(kept, version{m, twin})
	for _, v := range kept { // old versions did not change under later writes
		if d := cmp.Diff(v.twin, maps.Collect(v.m.All())); d != "" {
			t.Fatalf("map differs from plain map (-want +have):\n%s", d)
		}
		if v.m.Len() != len(v.twin) {
			t.Fatalf("Len = %d, want %d", v.m.Len(), len(v.twin))
		}
		for k := range 3000 {
			have, ok := v.m.Get(k)
			want, wantOK := v.twin[k]
			if have != want || ok != wantOK {
				t.Fatalf("Get(%d) = %d, %t; want %d, %t", k, have, ok, want, wantOK)
			}
		}
	}
}

func TestZeroMapIsEmpty(t *testing.T) {
	var m Map[string, int]
	if _, ok := m.Get("a"); ok || m.Len() != 0 || m.Delete("a").Len() != 0 {
		t.Error("zero map has entries")
	}
	for range m.All() {
		t.Error("zero map yields an entry")
	}
}

func TestDeleteToEmptyAndAgain(t *testing.T) {
	var m Map[int, string]
	for i := range 100 {
		m = m.Set(i, "x")
	}
	for i := range 100 {
		m = m.Delete(i)
	}
	if m.Len() != 0 {
		t.Errorf("Len = %d after deleting all, want 0", m.Len())
	}
	if v, ok := m.Set(7, "again").Get(7); !ok || v != "again" {
		t.Errorf("Get after refill = %q, %t", v, ok)
	}
}

// Entries whose hashes agree in all bits end in one list node.
func TestFullHashCollision(t *testing.T) {
	m := Map[int, int]{}.Set(0, 0)
	n := &node[int, int]{}
	for i := range 3 {
		n, _ = m.set(n, maxDepth, 0, slot[int, int]{key: i, value: i})
	}
	n, added := m.set(n, maxDepth, 0, slot[int, int]{key: 1, value: 10})
	if added || n.slots[n.listed(1)].value != 10 {
		t.Errorf("replacing in a list node: added %t, value %d", added, n.slots[n.listed(1)].value)
	}
	n = n.without(maxDepth, 0, 0)
	if len(n.slots) != 2 || n.listed(0) >= 0 {
		t.Errorf("list node after delete: %+v", n.slots)
	}
}

func TestSharing(t *testing.T) {
	var m Map[int, int]
	for i := range 10_000 {
		m = m.Set(i, i)
	}
	next := m.Set(1, 2)
	shared := 0
	for i := range m.root.slots {
		if m.root.slots[i].child == next.root.slots[i].child {
			shared++
		}
	}
	if shared != len(m.root.slots)-1 {
		t.Errorf("%d of %d subtrees shared after one change, want all but one", shared, len(m.root.slots))
	}
}
