package addressplan

import (
	"fmt"
	"net/netip"

	"hexapod.dev/model/prefix"
)

// Check returns everything that is wrong with the plan and its hosts, errors and warnings. It looks at what only the
// arithmetic of the plan knows; how a document is written is judged where it is read.
func (p Plan) Check() []Problem {
	// Each step stands on the one before: what follows from an error would be noise.
	var ps []Problem
	for _, step := range []func() []Problem{p.checkFabric, p.checkClusters, p.checkASNs, p.checkHosts, p.checkRouterIDs} {
		if ps = append(ps, step()...); len(Errors(ps)) > 0 {
			break
		}
	}
	return p.named(ps)
}

func (p Plan) named(ps []Problem) []Problem {
	for i := range ps {
		if ps[i].Object == "" {
			ps[i].Object = "plan " + p.Name
		}
	}
	return ps
}

func (p Plan) checkFabric() []Problem {
	if err := prefix.Valid(p.Prefix); err != nil {
		return []Problem{{Field: "prefix", Text: err.Error()}}
	}
	if !p.Prefix.Addr().Is6() {
		return []Problem{{Field: "prefix", Text: fmt.Sprintf("%s is IPv4: a fabric is an IPv6 prefix; IPv4 goes into spec.ipv4", p.Prefix)}}
	}
	ps := p.Lengths.check()
	if p.Prefix.Bits() != p.Lengths.Fabric {
		ps = append(ps, Problem{Field: "levels.fabric", Text: fmt.Sprintf("the fabric's level is /%d and its prefix is %s: make them equal", p.Lengths.Fabric, p.Prefix)})
	}
	if p.Sealed && p.Lengths.Host > 64 {
		ps = append(ps, Problem{Field: "hostPart", Text: fmt.Sprintf("hosts of /%d leave no 64 bits to seal: use readable, or hosts of /64", p.Lengths.Host)})
	}
	return ps
}

func (p Plan) checkClusters() []Problem {
	var ps []Problem
	names := map[string]int{}
	prefixes := make([]netip.Prefix, len(p.Clusters))
	for i, c := range p.Clusters {
		at := fmt.Sprintf("clusters[%d]", i)
		if first, twice := names[c.Name]; twice {
			ps = append(ps, Problem{Field: at + ".name", Text: fmt.Sprintf("cluster %q is also clusters[%d]: names are unique in a fabric", c.Name, first)})
		}
		names[c.Name] = i
		q, err := p.ClusterPrefix(c)
		if err != nil {
			ps = append(ps, Problem{Field: at + ".number", Text: err.Error()})
			continue
		}
		if q.Bits() >= p.Lengths.Rack {
			ps = append(ps, Problem{Field: at + ".prefix", Text: fmt.Sprintf("%s leaves no racks of /%d", q, p.Lengths.Rack)})
			continue
		}
		prefixes[i] = q
		ps = append(ps, p.checkRacks(at, c)...)
		for _, role := range RackRoles() {
			if _, err := p.RolePrefix(c, role); err != nil {
				ps = append(ps, Problem{Field: at, Warning: true, Text: err.Error()})
			}
		}
	}
	for _, pair := range prefix.Overlaps(prefixes) {
		outer, inner := p.Clusters[pair[0]], p.Clusters[pair[1]]
		ps = append(ps, Problem{Field: fmt.Sprintf("clusters[%d]", pair[1]),
			Text: fmt.Sprintf("cluster %s (%s) lies in cluster %s (%s): give one of them another number", inner.Name, prefixes[pair[1]], outer.Name, prefixes[pair[0]])})
	}
	return ps
}

func (p Plan) checkRacks(at string, c Cluster) []Problem {
	var ps []Problem
	names, numbers := map[string]int{}, map[uint64]int{}
	for i, r := range c.Racks {
		field := fmt.Sprintf("%s.racks[%d]", at, i)
		if first, twice := names[r.Name]; twice {
			ps = append(ps, Problem{Field: field + ".name", Text: fmt.Sprintf("rack %q is also racks[%d]: names are unique in a cluster", r.Name, first)})
		}
		if first, twice := numbers[r.Number]; twice {
			ps = append(ps, Problem{Field: field + ".number", Text: fmt.Sprintf("rack number %d is also that of racks[%d]", r.Number, first)})
		}
		names[r.Name], numbers[r.Number] = i, i
		switch _, err := p.RackPrefix(c, r.Number); {
		case r.Number == 0:
			ps = append(ps, Problem{Field: field + ".number", Text: "rack 0 is kept for roles: racks of hosts count from 1"})
		case err != nil:
			ps = append(ps, Problem{Field: field + ".number", Text: err.Error()})
		}
	}
	return ps
}

// checkASNs: two racks of one number would refuse each other's routes as loops (RFC 4271 section 9.1.2).
func (p Plan) checkASNs() []Problem {
	var ps []Problem
	owner := map[uint32]string{}
	if p.SpineASN != 0 {
		owner[p.SpineASN] = "the spine"
	}
	for i, c := range p.Clusters {
		for j, r := range c.Racks {
			field := fmt.Sprintf("clusters[%d].racks[%d].asn", i, j)
			tor, hosts, err := p.RackASN(c, r)
			if err != nil {
				ps = append(ps, Problem{Field: field, Text: err.Error()})
				continue
			}
			for _, n := range []struct {
				asn uint32
				who string
			}{{tor, "the ToR of rack " + c.Name + "/" + r.Name}, {hosts, "the hosts of rack " + c.Name + "/" + r.Name}} {
				if first, twice := owner[n.asn]; twice {
					ps = append(ps, Problem{Field: field, Text: fmt.Sprintf("AS %d would belong to %s and to %s: set another asn", n.asn, first, n.who)})
					continue
				}
				owner[n.asn] = n.who
			}
		}
	}
	return ps
}

func (p Plan) checkRouterIDs() []Problem {
	var ps []Problem
	owner := map[netip.Addr]string{}
	add := func(field, who string, id netip.Addr, err error) {
		switch first, twice := owner[id]; {
		case err != nil:
			// Only BGP needs router ids; a fabric that is one link lives without them.
			ps = append(ps, Problem{Field: "routerIDs", Warning: true, Text: err.Error()})
		case !id.Is4() || id.IsUnspecified():
			ps = append(ps, Problem{Field: field, Text: fmt.Sprintf("%s is no router id: write 32 bits as a.b.c.d, not 0.0.0.0 (RFC 6286)", id)})
		case twice:
			ps = append(ps, Problem{Field: field, Text: fmt.Sprintf("router id %s would belong to %s and to %s: give one of them another", id, first, who)})
		default:
			owner[id] = who
		}
	}
	for _, c := range p.Clusters {
		for _, r := range c.Racks {
			if r.Number == 0 {
				continue
			}
			id, err := p.ToRRouterID(c, r)
			add("routerIDs", "the ToR of rack "+c.Name+"/"+r.Name, id, err)
		}
	}
	for _, h := range p.Hosts {
		if h.Retired || h.Delegated {
			continue
		}
		id, err := p.RouterIDOf(h)
		add("routerIDs", "host "+h.Name, id, err)
	}
	return ps
}
