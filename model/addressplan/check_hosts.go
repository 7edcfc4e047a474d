package addressplan

import (
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/model/ipam"
	"hexapod.dev/model/prefix"
)

func (p Plan) checkHosts() []Problem {
	var ps []Problem
	names := map[string]bool{}
	prefixes := make([]netip.Prefix, len(p.Hosts)) // of the living
	for i, h := range p.Hosts {
		wrong := func(field, format string, a ...any) {
			ps = append(ps, Problem{Object: "host " + h.Name, Field: field, Text: fmt.Sprintf(format, a...)})
		}
		if names[h.Name] {
			wrong("", "there are two hosts of this name: a retired host keeps its record, so the new one needs another name")
		}
		names[h.Name] = true
		if h.Delegated {
			continue
		}
		if _, _, err := p.Place(h); err != nil && !h.Adopted {
			wrong("rack", "%v", err)
			continue
		}
		q, err := p.PrefixOf(h)
		switch {
		case err != nil:
			wrong("number", "%v", err)
			continue
		case !q.Addr().Is6() || q.Bits() > 126:
			wrong("prefix", "%s cannot be a host prefix: want IPv6 and at most /126", q)
			continue
		case h.Prefix.IsValid() && h.Prefix != q:
			wrong("prefix", "%s is not what the plan gives to number %d: remove it or write %s", h.Prefix, h.Number, q)
			continue
		case h.Adopted && !p.AdoptHosts && p.Prefix.Contains(q.Addr()):
			wrong("prefix", "%s lies in the fabric %s, so it is numbered there: write rack and number", q, p.Prefix)
			continue
		}
		if h.Shared && (!h.Adopted || q.Bits() != 64) {
			wrong("prefix", "%s cannot be shared with others on a link: write the /64 of the link, without rack and number", q)
			continue
		}
		if !h.Retired {
			prefixes[i] = q
		}
		if p.IPv4.Prefix.IsValid() && !h.Adopted && !h.Retired {
			if _, err := p.HostIPv4(q); err != nil {
				wrong("number", "%v", err)
			}
		}
	}
	for _, pair := range prefix.Overlaps(prefixes) {
		a, b := p.Hosts[pair[0]], p.Hosts[pair[1]]
		if a.Shared && b.Shared && prefixes[pair[0]] == prefixes[pair[1]] {
			if ipam.GroupOf(a.Name) == ipam.GroupOf(b.Name) {
				ps = append(ps, Problem{Object: "host " + b.Name, Text: fmt.Sprintf(
					"its addresses in the shared prefix %s would end like those of host %s, in %06x: give one of them another name", prefixes[pair[1]], a.Name, ipam.GroupOf(a.Name))})
			}
			continue
		}
		ps = append(ps, Problem{Object: "host " + b.Name, Field: "number",
			Text: fmt.Sprintf("prefix %s overlaps %s of host %s: give one of them another number", prefixes[pair[1]], prefixes[pair[0]], a.Name)})
	}
	return append(ps, p.checkAgainstClusters(prefixes)...)
}

// checkAgainstClusters finds adopted prefixes that cover a cluster which the plan took from elsewhere.
func (p Plan) checkAgainstClusters(hosts []netip.Prefix) []Problem {
	if p.AdoptHosts {
		return nil
	}
	var ps []Problem
	for i, q := range hosts {
		if !p.Hosts[i].Adopted || !q.IsValid() {
			continue
		}
		for _, c := range p.Clusters {
			cq, err := p.ClusterPrefix(c)
			if err == nil && cq.Overlaps(q) {
				ps = append(ps, Problem{Object: "host " + p.Hosts[i].Name, Field: "prefix",
					Text: fmt.Sprintf("adopted prefix %s overlaps cluster %s (%s): write rack and number", q, c.Name, cq)})
			}
		}
	}
	return ps
}

// Renumbered compares two plans and returns an error for each living host whose prefix the new one would change: what runs
// there has its addresses for life. Hosts that only one of the two knows are not compared.
func Renumbered(before, after Plan) []Problem {
	var ps []Problem
	for _, h := range before.Hosts {
		i := slices.IndexFunc(after.Hosts, func(g Host) bool { return g.Name == h.Name && !g.Retired })
		if h.Retired || i < 0 {
			continue
		}
		was, err := before.PrefixOf(h)
		if err != nil {
			continue
		}
		is, err := after.PrefixOf(after.Hosts[i])
		switch {
		case err != nil:
			ps = append(ps, Problem{Object: "host " + h.Name, Text: fmt.Sprintf("has %s and would lose it: %v", was, err)})
		case is != was:
			ps = append(ps, Problem{Object: "host " + h.Name, Text: fmt.Sprintf("has %s and would be renumbered to %s: retire it first, or undo the change of the plan", was, is)})
		}
	}
	if before.Sealed != after.Sealed && slices.ContainsFunc(before.Hosts, func(h Host) bool { return !h.Retired }) {
		ps = append(ps, Problem{Object: "plan " + after.Name, Field: "hostPart", Text: "readable or sealed is chosen when the plan is made: retire all hosts first"})
	}
	return ps
}
