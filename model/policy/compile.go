package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/transport"
)

// Compiler makes the tables of endpoints. It keeps what they share: the order of the policies, and which identities a selector
// selects. It belongs to one World and one goroutine.
type Compiler struct {
	w       *World
	numbers []identity.Number // all that are known, in order
	known   *Numbers
	local   map[string][]member // by namespace
	order   [tiers][]*Policy
	narrow  [tiers]map[string][]int // places in order of the policies whose subject is one namespace
	broad   [tiers][]int            // and of all others
	asked   map[string]bool         // the labels that subjects are selected by
	open    map[string][]int        // publications by namespace
	openAll []int                   // and of several

	selections map[string]*selection
	bySubject  map[string]*made // by what makes a subject the same
	made       map[string]*made // by recipe
	recipeOf   map[*made]string
	kept       map[string]*made // by recipe, of the world before
}

// member is an identity among those of its namespace.
type member struct {
	number identity.Number
	labels map[string]string
}

// NewCompiler prepares a World.
func NewCompiler(w *World) *Compiler {
	c := &Compiler{
		w: w, local: map[string][]member{}, asked: map[string]bool{}, open: map[string][]int{}, selections: map[string]*selection{},
		bySubject: map[string]*made{}, made: map[string]*made{}, recipeOf: map[*made]string{}, kept: map[string]*made{},
	}
	c.numbers, c.known = slices.Sorted(maps.Keys(w.Identities)), w.Known()
	for _, n := range c.numbers {
		set := w.Identities[n]
		c.local[set.Namespace] = append(c.local[set.Namespace], member{n, set.Labels})
	}
	ask := func(key string) { c.asked[key] = true }
	for i := range w.Policies {
		w.Policies[i].Subject.Endpoints.Keys(ask)
	}
	for i := range w.Published {
		s := &w.Published[i].Subject
		s.Endpoints.Keys(ask)
		if s.Namespaces == nil {
			c.open[s.Namespace] = append(c.open[s.Namespace], i)
		} else {
			c.openAll = append(c.openAll, i)
		}
	}
	for t := range Tier(tiers) {
		c.order[t], c.narrow[t] = w.inOrder(t), map[string][]int{}
		for i, p := range c.order[t] {
			if p.Subject.Namespaces == nil {
				c.narrow[t][p.Subject.Namespace] = append(c.narrow[t][p.Subject.Namespace], i)
			} else {
				c.broad[t] = append(c.broad[t], i)
			}
		}
	}
	return c
}

// Seen is what subjects are selected by of a set: sets that differ in other labels alone have the same tables.
func (c *Compiler) Seen(s identity.Set) identity.Set {
	seen := identity.Set{Namespace: s.Namespace, Labels: map[string]string{}}
	for k, v := range s.Labels {
		if c.asked[k] {
			seen.Labels[k] = v
		}
	}
	return seen
}

// Compile makes the table of a subject. It fails when more than MaxRows rows would be needed, even with the rules of tier Namespace that
// accept the same ports in one.
func (c *Compiler) Compile(s *Subject, d Direction) (*Table, error) {
	rows := c.drafts(s, d)
	if len(rows) > MaxRows {
		rows = squeeze(rows)
	}
	if len(rows) > MaxRows {
		return nil, fmt.Errorf("policies of %s, %s: %d rules select it, %d fit; join rules that name the same ports", s.Set, d, len(rows), MaxRows)
	}
	t := &Table{longest: new(bart.Table[Bits])}
	group := map[*selection]int{}
	for i, r := range rows {
		t.Rows = append(t.Rows, r.Row)
		if r.anyone {
			t.Anyone.set(i)
		}
		if r.outside {
			t.Outside.set(i)
		}
		if r.unknown || r.outside && !c.w.UnknownInside {
			t.Unknown.set(i)
		}
		for _, s := range r.selections {
			g, there := group[s]
			if !there {
				g, group[s] = len(t.groups), len(t.groups)
				t.groups = append(t.groups, groupRows{of: s})
			}
			t.groups[g].rows.set(i)
		}
		if len(r.ports) == 0 {
			t.AnyPort.set(i)
		}
	}
	t.Prefixes, t.Ports = prefixes(rows), portRanges(rows)
	for _, p := range t.Prefixes {
		t.longest.Insert(p.Prefix, p.Rows)
	}
	return t, nil
}

// of returns the policies of a tier that select a subject, in order.
func (c *Compiler) of(t Tier, s *Subject) []*Policy {
	var in []int
	for _, places := range [][]int{c.narrow[t][s.Set.Namespace], c.broad[t]} {
		for _, i := range places {
			if c.w.selects(c.order[t][i].Subject, s.Set) {
				in = append(in, i)
			}
		}
	}
	slices.Sort(in)
	policies := make([]*Policy, len(in))
	for k, i := range in {
		policies[k] = c.order[t][i]
	}
	return policies
}

// publications returns those that open ports of a subject, in order.
func (c *Compiler) publications(s *Subject) (open []*Publication) {
	var in []int
	for _, places := range [][]int{c.open[s.Set.Namespace], c.openAll} {
		for _, i := range places {
			if c.w.selects(c.w.Published[i].Subject, s.Set) {
				in = append(in, i)
			}
		}
	}
	slices.Sort(in)
	for _, i := range in {
		open = append(open, &c.w.Published[i])
	}
	return open
}

// prefixes returns every prefix that a row names, also as an exception, with all rows that match the addresses whose longest
// prefix it is. Each edge between what a row matches and what not is one of these prefixes.
func prefixes(rows []draft) []PrefixRows {
	nodes := map[netip.Prefix]bool{}
	for _, r := range rows {
		for _, b := range r.blocks {
			nodes[b.Prefix.Masked()] = true
			for _, e := range b.Except {
				nodes[e.Masked()] = true
			}
		}
	}
	var out []PrefixRows
	for _, p := range slices.SortedFunc(maps.Keys(nodes), netip.Prefix.Compare) {
		at := PrefixRows{Prefix: p}
		for i, r := range rows {
			if slices.ContainsFunc(r.blocks, func(b Block) bool { return b.covers(p) }) {
				at.Rows.set(i)
			}
		}
		out = append(out, at)
	}
	return out
}

// covers reports whether all of p is in the block, given that p is a prefix of the block, one of its exceptions, or not cut by them.
func (b Block) covers(p netip.Prefix) bool {
	if !within(p, b.Prefix) {
		return false
	}
	return !slices.ContainsFunc(b.Except, func(e netip.Prefix) bool { return within(p, e) })
}

func within(p, outer netip.Prefix) bool { return outer.Bits() <= p.Bits() && outer.Contains(p.Addr()) }

// portRanges cuts the ports of each protocol where a row begins or ends.
func portRanges(rows []draft) []PortRange {
	edges := map[transport.Protocol]map[int]bool{}
	for _, r := range rows {
		for _, p := range r.ports {
			if edges[p.Protocol] == nil {
				edges[p.Protocol] = map[int]bool{}
			}
			edges[p.Protocol][int(p.First)], edges[p.Protocol][int(p.Last)+1] = true, true
		}
	}
	var out []PortRange
	for _, protocol := range slices.Sorted(maps.Keys(edges)) {
		cuts := slices.Sorted(maps.Keys(edges[protocol]))
		for i := range len(cuts) - 1 {
			at := PortRange{Protocol: protocol, First: uint16(cuts[i]), Last: uint16(cuts[i+1] - 1)}
			for row, r := range rows {
				if slices.ContainsFunc(r.ports, func(p Port) bool {
					return p.Protocol == protocol && p.First <= at.First && at.Last <= p.Last
				}) {
					at.Rows.set(row)
				}
			}
			if at.Rows != (Bits{}) {
				out = append(out, at)
			}
		}
	}
	return out
}
