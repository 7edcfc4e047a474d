package link

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// linkLocal is the address of every host side that is not bare: the next hop of its endpoint. It stands alone: with a length of 64 the kernel would keep
// two more routes for each link, and it walks all routes whenever a link comes up.
func linkLocal() netip.Prefix { return netip.PrefixFrom(desired.Gateway(), 128) }

// hostSteps is what is missing on the host side: nothing when it is as wanted. With late, its own address is left for Complete. bare
// links have none.
func hostSteps(want desired.Link, have rtnl.Link, addrs []rtnl.Addr, late, bare bool) []*rtnl.Request {
	var steps []*rtnl.Request
	alias := desired.LinkAlias(want.Key)
	if have.AddrGenMode != rtnl.GenNone || have.Alias != alias {
		r := rtnl.SetAddrGenMode(have.Index, want.Name, rtnl.GenNone)
		r.Bytes(unix.IFLA_IFALIAS, []byte(alias))
		steps = append(steps, r)
	}
	if have.Group != Living {
		r := rtnl.SetLink(have.Index, want.Name, "set group")
		r.Uint32(unix.IFLA_GROUP, Living)
		steps = append(steps, r)
	}
	steps = append(steps, endSteps(have, want.Name, want.HostMAC, want.Sizes)...)
	found := false
	for _, a := range addrs {
		if a.Prefix == linkLocal() && (late || !bare) {
			found = true
			continue
		}
		steps = append(steps, rtnl.DeleteAddr(a, want.Name))
	}
	if !found && !late && !bare { // without the route nobody would hear who asks for the address; an agent may have taken it away
		steps = append(steps, addLinkLocal(have.Index, want.Name), rtnl.AddGroups(have.Index, want.Name))
	}
	return steps
}

func addLinkLocal(index int, name string) *rtnl.Request {
	return rtnl.AddAddr(rtnl.Addr{Index: index, Prefix: linkLocal(), Flags: unix.IFA_F_NOPREFIXROUTE, Protocol: Protocol}, name, rtnl.Replace)
}

// endSteps is what both ends have in common.
func endSteps(have rtnl.Link, name string, mac desired.MAC, sizes desired.Sizes) []*rtnl.Request {
	var steps []*rtnl.Request
	if have.MAC != mac {
		r := rtnl.SetLink(have.Index, name, "set address")
		r.Bytes(unix.IFLA_ADDRESS, mac[:])
		steps = append(steps, r)
	}
	if mtu := sizes.LinkMTU(); mtu != 0 && have.MTU != mtu {
		r := rtnl.SetLink(have.Index, name, "set mtu")
		r.Uint32(unix.IFLA_MTU, uint32(mtu))
		steps = append(steps, r)
	}
	if n := sizes.Segments; n != 0 && (have.Segments != n || have.Merged != n) {
		steps = append(steps, rtnl.SetSegments(have.Index, name, n))
	}
	if !have.Up {
		steps = append(steps, rtnl.SetUp(have.Index, name, true))
	}
	return steps
}

// inside is what an endpoint's namespace holds for one of its interfaces.
type inside struct {
	link   rtnl.Link
	addrs  []rtnl.Addr
	neighs []rtnl.Neigh
	routes []rtnl.Route
}

// insideSteps is what is missing inside the endpoint. Addresses and routes that the endpoint gave itself are left alone.
func insideSteps(want desired.Link, have inside) []*rtnl.Request {
	name, index := want.Key.Interface, have.link.Index
	var steps []*rtnl.Request
	if have.link.AddrGenMode != rtnl.GenNone {
		steps = append(steps, rtnl.SetAddrGenMode(index, name, rtnl.GenNone))
	}
	steps = append(steps, endSteps(have.link, name, want.MAC, want.Sizes)...)
	for _, a := range have.addrs {
		if a.Protocol == Protocol && !slices.Contains(want.Addrs, a.Prefix.Addr()) {
			steps = append(steps, rtnl.DeleteAddr(a, name))
		}
	}
	for _, a := range want.Addrs {
		p := netip.PrefixFrom(a, a.BitLen())
		if !slices.ContainsFunc(have.addrs, func(h rtnl.Addr) bool { return h.Prefix == p }) {
			steps = append(steps, rtnl.AddAddr(rtnl.Addr{Index: index, Prefix: p, Protocol: Protocol}, name, rtnl.Replace))
		}
	}
	gateway := rtnl.Neigh{Index: index, Addr: desired.Gateway(), MAC: want.HostMAC, Protocol: Protocol, Permanent: true}
	if !slices.Contains(have.neighs, gateway) {
		steps = append(steps, rtnl.AddNeigh(gateway, name, rtnl.Replace))
	}
	routes := routesInside(want, index)
	for _, r := range have.routes {
		if r.Index == index && r.Protocol == Protocol && !slices.ContainsFunc(routes, func(w rtnl.Route) bool { return w.Dst == r.Dst }) {
			steps = append(steps, rtnl.DeleteRoute(r))
		}
	}
	for _, w := range routes {
		if !slices.ContainsFunc(have.routes, func(r rtnl.Route) bool {
			return r.Dst == w.Dst && r.Via == w.Via && r.Index == index && r.Type == unix.RTN_UNICAST && r.MTU == w.MTU
		}) {
			steps = append(steps, rtnl.AddRoute(w, rtnl.Replace))
		}
	}
	return steps
}

// routesInside is the routes of an endpoint: everywhere, and with an MTU of its own to what is on the same host.
func routesInside(l desired.Link, index int) []rtnl.Route {
	var list []rtnl.Route
	for _, any := range everywhere(l) {
		list = append(list, gatewayRoute(any, index, l.RouteMTU()))
	}
	if l.Near != 0 {
		list = append(list, gatewayRoute(l.Home, index, l.HomeMTU()))
	}
	return list
}

// everywhere is the destinations of an endpoint's default routes. IPv4 leads to the same next hop, fe80::1, which every kernel since
// 5.2 takes: the neighbour that is there already serves both, and nobody asks by ARP.
func everywhere(l desired.Link) []netip.Prefix {
	list := []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	if dual(l) {
		list = append(list, netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	}
	return list
}

// gatewayRoute has a metric of its own for each interface of an endpoint: with equal ones the kernel would join them to
// one route with two paths and send from one address through the link of the other.
func gatewayRoute(dst netip.Prefix, index, mtu int) rtnl.Route {
	return rtnl.Route{
		Dst: dst, Via: desired.Gateway(), Index: index, MTU: mtu,
		Protocol: Protocol, Metric: rtnl.DefaultMetric + uint32(index),
	}
}
