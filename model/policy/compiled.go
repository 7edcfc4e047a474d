package policy

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/transport"
)

// Compiled is what one host has to know to judge the flows of its endpoints.
type Compiled struct {
	Believed Believed
	Subjects map[netip.Addr][2]*Table // by the address of an endpoint, then by Direction
}

// CompileAll makes the tables of all subjects, by the addresses that each has. Subjects that are alike share theirs. One whose policies
// do not fit gets no tables, and an error names it: nothing passes to or from it.
func (c *Compiler) CompileAll(subjects map[netip.Addr]Subject, b Believed) (Compiled, error) {
	b.Known = c.known
	out := Compiled{Believed: b, Subjects: make(map[netip.Addr][2]*Table, len(subjects))}
	failed := map[string]error{} // said once for subjects that are alike
	for a, s := range subjects {
		tables, err := c.Tables(&s)
		if err != nil {
			failed[s.key()] = err
			continue
		}
		out.Subjects[a] = tables
	}
	return out, errors.Join(slices.Collect(maps.Values(failed))...)
}

// Tables returns the tables of a subject. Subjects that are alike get the same.
func (c *Compiler) Tables(s *Subject) ([2]*Table, error) {
	key := s.key()
	m, ok := c.bySubject[key]
	if !ok {
		m = c.make(s)
		c.bySubject[key] = m
	}
	return m.by, m.err
}

// asksForNames reports whether p sends to ports by name.
func (p *Policy) asksForNames() bool {
	return slices.ContainsFunc(p.Rules[Egress], func(r Rule) bool {
		return slices.ContainsFunc(r.Ports, func(q Port) bool { return q.Name != "" })
	})
}

// make makes the tables of a subject, unless those of another one are the same: what the same policies select has the same tables.
func (c *Compiler) make(s *Subject) *made {
	var from []*Policy
	var recipe []byte
	for t := range Tier(tiers) {
		for _, p := range c.of(t, s) {
			from = append(from, p)
			recipe = fmt.Appendf(recipe, "%p ", p)
		}
	}
	for _, p := range c.publications(s) {
		recipe = fmt.Appendf(recipe, "\x00%s %v", p.Name, p.Ports)
	}
	recipe = fmt.Appendf(recipe, "\x00%v %v", s.Host, s.Named)
	if m, ok := c.made[string(recipe)]; ok {
		return m
	}
	m, ok := c.kept[string(recipe)]
	if !ok {
		m = &made{from: from, asks: slices.ContainsFunc(from, (*Policy).asksForNames)}
		for d := range m.by {
			t, err := c.Compile(s, Direction(d))
			m.by[d], m.err = t, errors.Join(m.err, err)
		}
	}
	c.made[string(recipe)], c.recipeOf[m] = m, string(recipe)
	return m
}

// Answer tells what becomes of a flow between two addresses, and the verdict of each end that is an endpoint of this host: egress of
// the first, then ingress of the second. Rule is empty where an end is elsewhere.
type Answer struct {
	From, To        identity.Answer
	Egress, Ingress Verdict
}

// Accepted reports whether no end denies the flow.
func (a Answer) Accepted() bool { return a.Egress.Action != Deny && a.Ingress.Action != Deny }

// Ask answers for a flow. Addresses that are endpoints here and have no tables accept nothing.
func (c Compiled) Ask(d *identity.Directory, from, to netip.Addr, p transport.Protocol, port uint16) Answer {
	from, to = from.Unmap(), to.Unmap()
	out := Answer{From: d.Who(from), To: d.Who(to)}
	if t, ok := c.Subjects[from]; ok {
		out.Egress = t[Egress].Lookup(Flow{Direction: Egress, Other: Other{to, out.To}, Protocol: p, Port: port})
	}
	if t, ok := c.Subjects[to]; ok {
		out.Ingress = t[Ingress].Lookup(Flow{Direction: Ingress, Other: Other{from, out.From}, Protocol: p, Port: port})
	}
	return out
}
