package objects

import (
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/desired"
)

// Pools returns the pools of a set, by name.
func Pools(s v1alpha1.Set) []desired.Pool {
	var out []desired.Pool
	for _, p := range s.Pools {
		out = append(out, desired.Pool{Name: p.ObjectName(), Prefix: p.Spec.Prefix.Prefix, Namespaces: slices.Clone(p.Spec.Namespaces)})
	}
	return out
}

// poolsBesideHosts reports pools that share addresses with the prefix of a host, or that lie in a rack of hosts: the address
// of an endpoint says who it is, and an address that a user picked must not.
func poolsBesideHosts(s v1alpha1.Set, p addressplan.Plan) (out v1alpha1.Problems) {
	hosts := hostPrefixes(p)
	for _, pool := range s.Pools {
		r := pool.Spec.Prefix.Prefix
		if h, ok := overlapping(hosts, r); ok {
			out = append(out, v1alpha1.ProblemAt(pool, "spec.prefix", fmt.Sprintf("%s overlaps the prefix of host %s, %s", r, h.name, h.prefix), poolAdvice))
			continue
		}
		if rack, ok := rackOfHosts(p, r); ok {
			out = append(out, v1alpha1.ProblemAt(pool, "spec.prefix", fmt.Sprintf("%s lies where hosts of %s are numbered", r, rack), poolAdvice))
		}
	}
	return out
}

const poolAdvice = "take it from rack 0 of a cluster, which is kept for roles, or from outside the fabric"

type hostPrefix struct {
	name   string
	prefix netip.Prefix
}

// living lists the hosts that are there and have a prefix.
func living(p addressplan.Plan) []addressplan.Host {
	return slices.DeleteFunc(slices.Clone(p.Hosts), func(h addressplan.Host) bool {
		_, err := p.PrefixOf(h)
		return err != nil || h.Retired
	})
}

// hostPrefixes lists the prefixes of living hosts in order of their addresses. They do not overlap, or are shared and equal: the
// plan's check says so.
func hostPrefixes(p addressplan.Plan) (out []hostPrefix) {
	for _, h := range living(p) {
		q, _ := p.PrefixOf(h) // living has looked
		out = append(out, hostPrefix{h.Name, q})
	}
	slices.SortFunc(out, func(a, b hostPrefix) int { return a.prefix.Compare(b.prefix) })
	return out
}

// overlapping finds a host prefix that shares addresses with r: the last that begins at or before r, or the first after it.
func overlapping(sorted []hostPrefix, r netip.Prefix) (hostPrefix, bool) {
	i, _ := slices.BinarySearchFunc(sorted, r.Addr(), func(h hostPrefix, a netip.Addr) int { return h.prefix.Addr().Compare(a) })
	for _, j := range []int{i - 1, i} {
		if j >= 0 && j < len(sorted) && sorted[j].prefix.Overlaps(r) {
			return sorted[j], true
		}
	}
	return hostPrefix{}, false
}

// rackOfHosts says which part of the fabric a range would take from hosts. Rack 0 of each cluster is free for it.
func rackOfHosts(p addressplan.Plan, r netip.Prefix) (string, bool) {
	for _, c := range p.Clusters {
		q, err := p.ClusterPrefix(c)
		if err != nil || !q.Overlaps(r) {
			continue
		}
		zero, err := p.RackPrefix(c, 0)
		if err == nil && zero.Overlaps(r) && zero.Bits() <= r.Bits() {
			return "", false
		}
		return "cluster " + c.Name, true
	}
	return "", false
}
