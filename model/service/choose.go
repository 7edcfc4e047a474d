package service

import (
	"net/netip"
	"slices"
)

// choose returns who of all answers on the host at p. all is sorted and holds each address and port once.
func choose(svc Service, all []candidate, p Place) ([]netip.AddrPort, Why) {
	if len(all) == 0 {
		return nil, NoEndpoints
	}
	if svc.NotReadyToo {
		all = slices.Clone(all)
		for i := range all {
			all[i].state |= Ready
		}
	}
	within := all
	none := NoneReady
	if svc.LocalOnly {
		within = only(all, func(c candidate) bool { return p.Node != "" && c.Node == p.Node })
		none = NoneHere
	}
	ready := only(within, func(c candidate) bool { return c.state.Is(Ready) })
	if !svc.LocalOnly {
		ready = near(svc.Distribution, ready, p)
	}
	if len(ready) > 0 {
		return addresses(ready)
	}
	// KEP-1669: with nobody ready, those that are on their way out and still serve are better than nobody.
	leaving := only(within, func(c candidate) bool { return c.state.Is(Serving) && c.state.Is(Terminating) })
	if len(leaving) == 0 {
		return nil, none
	}
	list, why := addresses(leaving)
	if why == "" {
		why = OnlyLeaving
	}
	return list, why
}

// near keeps the endpoints that are meant for this host, or for its zone. A hint counts only when every ready endpoint has one
// and at least one of them is for us, as kube-proxy has it: half a plan would overload some and starve others.
func near(d Distribution, ready []candidate, p Place) []candidate {
	for _, level := range []struct {
		hints func(candidate) []string
		here  string
	}{
		{func(c candidate) []string { return c.nodeHints(d) }, p.Node},
		{func(c candidate) []string { return c.zoneHints(d) }, p.Zone},
	} {
		if level.here == "" || slices.ContainsFunc(ready, func(c candidate) bool { return len(level.hints(c)) == 0 }) {
			continue
		}
		if ours := only(ready, func(c candidate) bool { return slices.Contains(level.hints(c), level.here) }); len(ours) > 0 {
			return ours
		}
	}
	return ready
}

// nodeHints are the planned ones; where nobody planned and the service prefers its own host, where the endpoint is.
func (c candidate) nodeHints(d Distribution) []string {
	if len(c.HintNodes) == 0 && d == PreferSameNode && c.Node != "" {
		return []string{c.Node}
	}
	return c.HintNodes
}

// zoneHints are the planned ones; where nobody planned and the service prefers what is near, where the endpoint is.
func (c candidate) zoneHints(d Distribution) []string {
	if len(c.HintZones) == 0 && d != Anywhere && c.Zone != "" {
		return []string{c.Zone}
	}
	return c.HintZones
}

func only(list []candidate, keep func(candidate) bool) []candidate {
	var out []candidate
	for _, c := range list {
		if keep(c) {
			out = append(out, c)
		}
	}
	return out
}

// addresses returns the addresses of list, as many as a table holds.
func addresses(list []candidate) ([]netip.AddrPort, Why) {
	why := Why("")
	if len(list) > MaxBackends {
		list, why = list[:MaxBackends], TooMany
	}
	out := make([]netip.AddrPort, len(list))
	for i, c := range list {
		out[i] = c.at
	}
	return out, why
}
