package topology

import (
	"fmt"
	"net/netip"
)

// End is one side of a link.
type End struct {
	Machine string
	Link    string // interface name, at most 15 bytes
	Addr    netip.Addr
}

// Link is one cable of the fabric.
type Link struct{ Above, Below End }

// DownlinkName is the name of a router's interface towards the machine below it.
func DownlinkName(machine string) string { return "to-" + machine }

func cable(above, below string) Link {
	return Link{End{above, DownlinkName(below), Above}, End{below, UplinkName, Below}}
}

// Links lists the cables for hosts in racks: host to ToR, ToR to spine, outside to spine.
func Links(racks int, hosts []Host) []Link {
	links := []Link{cable(Spine, Outside)}
	for r := 1; r <= racks; r++ {
		links = append(links, cable(Spine, TorName(r)))
	}
	for _, h := range hosts {
		links = append(links, HostLink(h))
	}
	return links
}

// HostLink is the cable of one host.
func HostLink(h Host) Link { return cable(TorName(h.Rack), h.Name) }

// Machines lists what a lab consists of: routers first, from the outside in, then the hosts.
func Machines(racks int, hosts []Host) []string {
	names := []string{Outside, Spine}
	for r := 1; r <= racks; r++ {
		names = append(names, TorName(r))
	}
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	return names
}

// Route is one route of a machine that the lab writes. Without a link it discards.
type Route struct {
	Dst  netip.Prefix
	Via  netip.Addr
	Link string
}

func (r Route) String() string {
	if r.Link == "" {
		return fmt.Sprintf("blackhole %s", r.Dst)
	}
	return fmt.Sprintf("%s via %s dev %s", r.Dst, r.Via, r.Link)
}

// Default is the route of everything to the router above.
var Default = Route{netip.PrefixFrom(netip.IPv6Unspecified(), 0), Above, UplinkName}

// HostRoute is the ToR's route to the prefix of a host.
func HostRoute(h Host, prefix netip.Prefix) Route {
	return Route{prefix, Below, DownlinkName(h.Name)}
}

// Prefixes are the ranges that routing needs, as the address plan gives them.
type Prefixes struct {
	Fabric netip.Prefix
	Rack   map[int]netip.Prefix
	Host   map[string]netip.Prefix
}

// Routes lists for every router what it forwards by. A router that announces an aggregate also discards what is unused in it,
// or a scan would bounce between it and the router above until the hop limit ends it.
func Routes(racks int, hosts []Host, p Prefixes) map[string][]Route {
	routes := map[string][]Route{
		Outside: {Default},
		Spine: {
			{Dst: p.Fabric},
			{Dst: routerPrefix},
			{OutsidePrefix, Below, DownlinkName(Outside)},
		},
	}
	for r := 1; r <= racks; r++ {
		tor := TorName(r)
		routes[Spine] = append(routes[Spine],
			Route{p.Rack[r], Below, DownlinkName(tor)},
			Route{hostRange(RouterAddr(tor)), Below, DownlinkName(tor)})
		routes[tor] = []Route{Default, {Dst: p.Rack[r]}}
	}
	for _, h := range hosts {
		routes[TorName(h.Rack)] = append(routes[TorName(h.Rack)], HostRoute(h, p.Host[h.Name]))
		routes[h.Name] = []Route{Default}
	}
	return routes
}

func hostRange(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// RouterAddr is the address of a router or of the outside host on its loopback interface; hosts get theirs from their agent.
func RouterAddr(machine string) netip.Addr {
	if machine == Outside {
		return OutsideAddr
	}
	number := 0xff // spine
	if machine != Spine {
		if n, err := fmt.Sscanf(machine, "tor%d", &number); n != 1 || err != nil {
			return netip.Addr{}
		}
	}
	b := routerPrefix.Addr().As16()
	b[15] = byte(number)
	return netip.AddrFrom16(b)
}
