package policy

import (
	"errors"
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

// tables are those of one subject, or why it has none.
type tables struct {
	by  [2]*Table
	err error
}

// Tables returns the tables of a subject. Subjects that are alike get the same.
func (c *Compiler) Tables(s *Subject) ([2]*Table, error) {
	key := s.key()
	made, ok := c.made[key]
	if !ok {
		for d := range made.by {
			t, err := c.Compile(s, Direction(d))
			made.by[d], made.err = t, errors.Join(made.err, err)
		}
		c.made[key] = made
	}
	return made.by, made.err
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
