package resolver

import (
	"net/netip"
	"slices"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/dns64"
)

// Clients tells which endpoints of this host have IPv4 of their own, so that nothing is made for them: those that have an IPv4 address
// here, those of the ranges that the configuration names, and those whose owner says so; said returns the annotation of an endpoint's owner.
//
// What most endpoints of the host are is told by range, so that it holds for a new one from its first question on.
func Clients(s desired.Snapshot, named []v1alpha1.Prefix, said func(desired.Endpoint) string) dns64.Clients {
	var written dns64.Clients
	for _, x := range named {
		written.Capable = append(written.Capable, x.Prefix)
	}
	c := dns64.Clients{Capable: slices.Clone(written.Capable)}
	if s.Config.Self.IPv4.IsValid() { // every new endpoint gets an address of it
		c.Capable = append(c.Capable, s.Own()...)
	}
	four := map[string]bool{} // containers: what one of its links has, they all use
	for k, e := range s.Endpoints.All() {
		if slices.ContainsFunc(e.Addrs, netip.Addr.Is4) {
			four[k.Container] = true
		}
	}
	for k, e := range s.Endpoints.All() {
		word := said(e)
		for _, a := range e.Addrs {
			if a.Is4() {
				continue
			}
			is := written.InRange(a)
			switch {
			case word == kube.SynthesisOff:
				is = dns64.Capable
			case word == kube.SynthesisOn:
				is = dns64.SixOnly
			case four[k.Container]:
				is = dns64.Capable
			}
			if is != c.InRange(a) {
				c.Unlike = append(c.Unlike, a)
			}
		}
	}
	slices.SortFunc(c.Unlike, netip.Addr.Compare)
	return c
}
