package v1alpha1

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Check reports what is wrong between objects that are right one by one. It takes every object of a configuration and
// looks at nothing else, so the agent, the command line and an admission webhook give the same answer. Objects that were
// understood in part only may be among them: what is not known is not judged.
func Check(objects []Object) Problems {
	s := Group(objects)
	var found Problems
	found = append(found, checkNames(objects)...)
	found = append(found, checkPlans(objects, s)...)
	found = append(found, checkDocumentation(objects, s)...)
	found = append(found, checkPlaces(s)...)
	found = append(found, checkHostAddresses(s)...)
	found = append(found, checkOverlaps(s)...)
	found = append(found, checkClaims(s)...)
	found = append(found, checkPeersOf(s)...)
	found = append(found, checkServices(s)...)
	found = append(found, checkPublications(s)...)
	found = append(found, checkTranslations(s)...)
	return found.Sort()
}

func problemf(o Object, field, next, format string, a ...any) Problem {
	return ProblemAt(o, field, fmt.Sprintf(format, a...), next)
}

// place names where an object was written.
func place(o Object) string {
	s := o.Head().Source
	if s.File == "" {
		return o.Head().Kind + " " + o.ObjectName()
	}
	return fmt.Sprintf("%s:%d", s.File, s.start.Line)
}

// checkNames: one owner of each name. For identities and addresses the name is the thing itself.
func checkNames(objects []Object) (found Problems) {
	first := map[[2]string]Object{}
	for _, o := range objects {
		key := [2]string{o.Head().Kind, o.Head().Metadata.Namespace + "/" + o.ObjectName()}
		before, twice := first[key]
		switch {
		case !twice:
			first[key] = o
		case key[0] == KindIdentity:
			found = append(found, problemf(o, "spec.number", "hexapod identity add gives the next free number", "has two owners, the other in %s", place(before)))
		case key[0] == KindAddress:
			found = append(found, problemf(o, "spec.address", "remove one of the claims", "has two owners, the other in %s", place(before)))
		default:
			found = append(found, problemf(o, "metadata.name", "give each its own", "is used twice, first in %s", place(before)))
		}
	}
	return found
}

func checkPlans(objects []Object, s Set) (found Problems) {
	if s.Plan == nil {
		return Problems{{Kind: KindAddressPlan, Severity: Error, What: "there is none", Next: "make one with hexapod plan new"}}
	}
	for _, o := range objects {
		if _, ok := o.(*AddressPlan); ok && o != Object(s.Plan) {
			found = append(found, problemf(o, "", "keep one", "a configuration has one plan, and %s in %s is another", s.Plan.ObjectName(), place(s.Plan)))
		}
	}
	return found
}

// checkDocumentation: RFC 3849 and RFC 9637 keep these ranges out of every real network.
func checkDocumentation(objects []Object, s Set) (found Problems) {
	if s.Plan == nil || s.Plan.Spec.Lab {
		return nil
	}
	for _, o := range objects {
		for _, f := range o.ranges() {
			if !f.r.IsValid() {
				continue
			}
			if name, ok := within(f.r, documentation); ok {
				found = append(found, problemf(o, f.field, "use a prefix of your own, or write lab: true in the spec of the AddressPlan",
					"%s is for %s", rangeText(f.r), name))
			}
		}
	}
	return found
}

// checkPlaces: every host has a place in the plan, and no two living hosts have the same.
func checkPlaces(s Set) (found Problems) {
	if s.Plan == nil {
		return nil
	}
	levels := s.Plan.Spec.Levels
	taken := map[string]*Host{}
	for _, h := range s.Hosts {
		if h.Spec.Cluster == "" && h.Spec.Rack == "" {
			continue
		}
		c, ok := s.Plan.Cluster(h.Spec.Cluster)
		if !ok {
			found = append(found, noCluster(h, s.Plan))
			continue
		}
		if h.Spec.Rack == "" {
			continue
		}
		k, ok := c.Rack(h.Spec.Rack)
		if !ok {
			found = append(found, problemf(h, "spec.rack", "add it to the plan or name one of: "+strings.Join(rackNames(c), ", "), "cluster %s has no rack %s", c.Name, h.Spec.Rack))
			continue
		}
		r := &report{object: h}
		bits := levels.Cluster
		if c.Edge {
			bits = levels.EdgeCluster
		}
		checkNumber(r, "spec.rack", k.Number, bits, levels.Rack, "rack")
		if h.Spec.Number == nil {
			found = append(found, r.problems...)
			continue
		}
		checkNumber(r, "spec.number", *h.Spec.Number, levels.Rack, levels.Host, "host")
		found = append(found, r.problems...)
		key := fmt.Sprintf("host %d of rack %s of cluster %s", *h.Spec.Number, k.Name, c.Name)
		if other, twice := taken[key]; twice && h.Living() {
			found = append(found, problemf(h, "spec.number", "give each its own, or write retired: for the one that is gone", "%s is also %s in %s", key, other.ObjectName(), place(other)))
		} else if h.Living() {
			taken[key] = h
		}
	}
	return found
}

func noCluster(h *Host, p *AddressPlan) Problem {
	var names []string
	for _, c := range p.Spec.Clusters {
		names = append(names, c.Name)
	}
	switch {
	case len(names) == 0:
		return problemf(h, "spec.cluster", "write clusters: with name and number in "+place(p), "the plan has no clusters")
	case h.Spec.Cluster == "":
		return problemf(h, "spec.cluster", "write one of: "+strings.Join(names, ", "), "is missing, and the plan has %d clusters", len(names))
	}
	return problemf(h, "spec.cluster", "add it to the plan or name one of: "+strings.Join(names, ", "), "the plan has no cluster %s", h.Spec.Cluster)
}

func rackNames(c Cluster) (names []string) {
	for _, k := range c.Racks {
		names = append(names, k.Name)
	}
	if names == nil {
		return []string{"(it has none yet)"}
	}
	return names
}

// checkHostAddresses: an address that two living hosts have is answered by both. Link-local ones count within a segment only.
func checkHostAddresses(s Set) (found Problems) {
	type key struct {
		a       netip.Addr
		segment string
	}
	taken := map[key]*Host{}
	claim := func(h *Host, field string, k key) {
		other, twice := taken[k]
		if twice && other != h {
			found = append(found, problemf(h, field, "give each host its own", "%s is also an address of host %s in %s", k.a, other.ObjectName(), place(other)))
			return
		}
		taken[k] = h
	}
	for _, h := range s.Hosts {
		if !h.Living() {
			continue
		}
		for i, a := range h.Spec.Addresses {
			if a.IsValid() {
				claim(h, fmt.Sprintf("spec.addresses[%d]", i), key{a.Addr, ""})
			}
		}
		for i, u := range h.Spec.Uplinks {
			field := fmt.Sprintf("spec.uplinks[%d].address", i)
			switch {
			case u.Address.IsLinkLocalUnicast() && u.Segment != "":
				claim(h, field, key{u.Address.Addr, u.Segment})
			case u.Address.IsValid() && !u.Address.IsLinkLocalUnicast():
				claim(h, field, key{u.Address.Addr, ""})
			}
		}
	}
	return found
}

// owned is a range that must be one object's alone.
type owned struct {
	o     Object
	field string
	r     netip.Prefix
	what  string
}

// checkOverlaps: pools, peers and the prefixes that hosts were given share no address. What the plan gives to hosts is
// arithmetic, which this package does not have; whoever has it checks pools against that as well.
func checkOverlaps(s Set) (found Problems) {
	var all []owned
	add := func(o Object, field string, p Prefix, what string) {
		if p.IsValid() {
			all = append(all, owned{o, field, p.Masked(), what})
		}
	}
	for _, h := range s.Hosts {
		if h.Living() {
			add(h, "spec.prefix", h.Spec.Prefix, "the prefix of host "+h.ObjectName())
		}
	}
	for _, p := range s.Pools {
		add(p, "spec.prefix", p.Spec.Prefix, "pool "+p.ObjectName())
	}
	if s.Plan != nil {
		for i, q := range s.Plan.Spec.Peers {
			add(s.Plan, fmt.Sprintf("spec.peers[%d].prefix", i), q.Prefix, "peer "+q.Name)
		}
	}
	// Sorted by address and then shortest first, a range overlaps another exactly if it begins inside one that is still open.
	slices.SortStableFunc(all, func(a, b owned) int { return a.r.Compare(b.r) })
	var open owned
	for _, x := range all {
		if open.r.IsValid() && open.r.Overlaps(x.r) {
			if open.o != x.o && !sharedLink(open, x) { // within one object, its own checks have said so
				found = append(found, overlap(open, x))
			}
			continue
		}
		open = x
	}
	return found
}

// sharedLink reports whether both are hosts that share the prefix of one link.
func sharedLink(a, b owned) bool {
	x, ok := a.o.(*Host)
	y, also := b.o.(*Host)
	return ok && also && x.Shared() && y.Shared() && a.r == b.r
}

// overlap blames the pool if one is a pool: a pool is the range that can be moved.
func overlap(a, b owned) Problem {
	if _, ok := b.o.(*Pool); !ok {
		a, b = b, a
	}
	next := "give each its own range"
	if _, ok := b.o.(*Pool); ok {
		next = "take the pool from a range that no host has, such as rack 0 of a cluster"
	}
	return problemf(b.o, b.field, next, "%s overlaps %s, %s", b.r, a.what, a.r)
}

// checkClaims: a fixed address is one of a pool that its namespace was granted.
func checkClaims(s Set) (found Problems) {
	for _, a := range s.Addresses {
		i := slices.IndexFunc(s.Pools, func(p *Pool) bool { return p.ObjectName() == a.Spec.Pool })
		if i < 0 {
			if a.Spec.Pool != "" {
				found = append(found, problemf(a, "spec.pool", "add the pool or name another", "there is no pool %s", a.Spec.Pool))
			}
			continue
		}
		p := s.Pools[i]
		if a.Spec.Address.IsValid() && p.Spec.Prefix.IsValid() && !p.Spec.Prefix.Contains(a.Spec.Address.Addr) {
			found = append(found, problemf(a, "spec.address", "take an address of the pool", "%s is not in pool %s, %s", a.Spec.Address, p.ObjectName(), p.Spec.Prefix))
		}
		if !slices.Contains(p.Spec.Namespaces, a.Spec.Namespace) {
			found = append(found, problemf(a, "spec.namespace", "add it to spec.namespaces of the pool, in "+place(p), "pool %s is not granted to namespace %q", p.ObjectName(), a.Spec.Namespace))
		}
	}
	return found
}
