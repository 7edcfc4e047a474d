package desired

import "net/netip"

// What one endpoint needs can be asked without the rest of the state: a CNI ADD makes these three and nothing else.

// LinkFor returns the link of e.
func LinkFor(e Endpoint, sizes Sizes) Link {
	return Link{
		Key:     e.Key,
		Name:    LinkName(e.Key),
		NetNS:   e.NetNS,
		HostMAC: HostMAC(e.Key),
		MAC:     EndpointMAC(e.Key),
		Addrs:   e.Addrs,
		Sizes:   sizes,

		Bandwidth: e.Bandwidth,
	}
}

// RoutesFor returns the host's routes to e, one /128 per address. An IPv4 address is a /32 behind the first IPv6 one.
func RoutesFor(e Endpoint) []Route {
	routes := make([]Route, len(e.Addrs))
	for i, a := range e.Addrs {
		routes[i] = Route{Dst: netip.PrefixFrom(a, a.BitLen()), Link: LinkName(e.Key)}
		if a.Is4() {
			routes[i].Via = e.Addrs[0]
		}
	}
	return routes
}

// NeighboursFor returns the host's permanent neighbours for e, one per IPv6 address: without them the first packet would wait
// for neighbour discovery (RFC 4861), which endpoints do not take part in.
func NeighboursFor(e Endpoint) []Neighbour {
	neighbours := make([]Neighbour, 0, len(e.Addrs))
	for _, a := range e.Addrs {
		if a.Is6() {
			neighbours = append(neighbours, Neighbour{Link: LinkName(e.Key), Addr: a, MAC: EndpointMAC(e.Key)})
		}
	}
	return neighbours
}
