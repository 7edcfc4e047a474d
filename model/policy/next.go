package policy

import (
	"maps"
	"slices"

	"hexapod.dev/model/identity"
)

// made are the tables of a subject, or why it has none, with what they were made of.
type made struct {
	by   [2]*Table
	err  error
	asks bool      // for ports that identities have a name for
	from []*Policy // they are told apart by where they lie, so they have to stay there
}

// Next prepares the World after that of c, and takes c over: what both worlds agree on is not made again, and tables that stay follow the
// new world. Policies are the same when they are the same pointers. Identities that came or went cost a look at each selector;
// an identity with other labels, a change of namespaces that have identities, or one of hosts makes everything anew.
func (c *Compiler) Next(w *World) *Compiler {
	n := NewCompiler(w)
	came, alike := c.differ(w)
	if !alike {
		return n
	}
	for _, m := range c.made {
		if m.err != nil || m.asks && slices.ContainsFunc(came, func(i identity.Number) bool { return len(w.Named[i])+len(c.w.Named[i]) > 0 }) {
			continue
		}
		n.kept[c.recipeOf[m]] = m
		for _, t := range m.by {
			for _, g := range t.groups {
				n.selections[g.of.key] = g.of
			}
		}
	}
	for _, s := range n.selections {
		for _, i := range came {
			set, in := w.Identities[i]
			s.put(i, in && w.selects(s.of, set))
		}
	}
	return n
}

// differ lists the identities that came or went. alike is false where more is different than that and policies.
func (c *Compiler) differ(w *World) (came []identity.Number, alike bool) {
	old := c.w
	if old.CloseOutside != w.CloseOutside || old.UnknownInside != w.UnknownInside ||
		!slices.EqualFunc(old.Hosts, w.Hosts, func(a, b Host) bool {
			return a.Name == b.Name && maps.Equal(a.Labels, b.Labels) && slices.Equal(a.Addrs, b.Addrs)
		}) {
		return nil, false
	}
	for i, set := range w.Identities {
		before, known := old.Identities[i]
		switch {
		case !known:
			came = append(came, i)
		case before.Namespace != set.Namespace || !maps.Equal(before.Labels, set.Labels) || !slices.Equal(old.Named[i], w.Named[i]):
			return nil, false
		}
	}
	for i := range old.Identities {
		if _, still := w.Identities[i]; !still {
			came = append(came, i)
		}
	}
	for name := range c.local {
		before, known := old.Namespaces[name]
		if now, still := w.Namespaces[name]; known != still || !maps.Equal(before, now) {
			return nil, false
		}
	}
	return came, true
}
