package policy

import (
	"fmt"
	"slices"

	"hexapod.dev/model/identity"
)

// selection is the identities that some Workloads select. All tables of a Compiler share it, so a new identity is asked once for each
// selector and not once for each rule.
type selection struct {
	key     string
	of      Workloads
	numbers []identity.Number // in order
}

// keyOf is equal for Workloads that select the same.
func keyOf(w *Workloads) string {
	if w.Namespaces == nil {
		return fmt.Sprintf("%s\x00%v", w.Namespace, w.Endpoints)
	}
	return fmt.Sprintf("\x00%v\x00%v", *w.Namespaces, w.Endpoints)
}

func (s *selection) has(n identity.Number) bool {
	_, in := slices.BinarySearch(s.numbers, n)
	return in
}

// put makes n one of the selection, or none of it.
func (s *selection) put(n identity.Number, in bool) {
	at, was := slices.BinarySearch(s.numbers, n)
	switch {
	case in && !was:
		s.numbers = slices.Insert(s.numbers, at, n)
	case !in && was:
		s.numbers = slices.Delete(s.numbers, at, at+1)
	}
}

// selected returns the selection of w.
func (c *Compiler) selected(w *Workloads) *selection {
	key := keyOf(w)
	if known, ok := c.selections[key]; ok {
		return known
	}
	s := &selection{key: key, of: *w}
	for ns, members := range c.local {
		if !c.w.selectsNamespace(*w, ns) {
			continue
		}
		for _, m := range members {
			if w.Endpoints.Matches(m.labels) {
				s.numbers = append(s.numbers, m.number)
			}
		}
	}
	slices.Sort(s.numbers)
	c.selections[key] = s
	return s
}
