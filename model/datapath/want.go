package datapath

import (
	"net/netip"

	"hexapod.dev/model/desired"
)

// Want is what the programs of a host should know, links by name: their indices are the kernel's.
type Want struct {
	Uplinks   map[string]LinkFlags
	Inside    map[netip.Prefix]WantInside
	Endpoints map[netip.Addr]WantEndpoint
	Kin       map[WantKin]WantEndpoint
	Unproved  []Unproved
}

// WantInside is Inside with the name of its link.
type WantInside struct {
	Flags InsideFlags
	Link  string
	MAC   desired.MAC
}

// WantEndpoint is Endpoint with the name of its link.
type WantEndpoint struct {
	Link     string
	MAC      desired.MAC
	HostMAC  desired.MAC
	Identity uint32
}

// WantKin is Kin with the name of its link.
type WantKin struct {
	Addr netip.Addr
	Link string
}

// Unproved is an uplink on which inside sources are believed without a proof.
type Unproved struct {
	Uplink string
	Why    desired.Why
}

// Why an inside source is believed without a proof.
const (
	PeerWithoutMAC desired.Why = "a host of its segment has no mac in the configuration: what comes from it cannot be told from what others forge"
	SharedLink     desired.Why = "others have addresses in the prefix of the link: what comes from them cannot be told from what others forge"
	BehindRouter   desired.Why = "a router brings what comes from inside: it must drop inside sources of other hosts on each port (hexapod plan render)"
)

// WantFor derives from a snapshot what the programs should know.
func WantFor(s desired.Snapshot) Want {
	w := Want{
		Uplinks:   map[string]LinkFlags{},
		Inside:    map[netip.Prefix]WantInside{},
		Kin:       map[WantKin]WantEndpoint{},
		Endpoints: make(map[netip.Addr]WantEndpoint, s.Endpoints.Len()),
	}
	located := InsideFlags(0)
	if p := s.HostPrefix(); p.IsValid() && p.Bits() <= 64 { // narrower prefixes have no locator (model/addressplan)
		located = Located
	}
	if s.Config.Fabric.IsValid() {
		w.Inside[s.Config.Fabric.Masked()] = WantInside{Flags: located}
	}
	for _, p := range s.Config.Pools {
		w.Inside[p.Prefix.Masked()] = WantInside{}
	}
	defer w.dropIPv4()
	shared := false
	for _, u := range s.Config.Self.Uplinks {
		w.Uplinks[u.Name] = w.flagsOf(u, s.Config)
		shared = shared || u.Shared
	}
	w.addPeers(s.Config, located)
	for _, p := range s.Own() {
		if !shared { // others have addresses in a shared prefix
			w.Inside[p.Masked()] = WantInside{Flags: Own | located}
		}
	}
	for _, p := range s.Homes() {
		if a := desired.RouterAddr(p); a.IsValid() && !shared {
			w.Inside[netip.PrefixFrom(a, 128)] = WantInside{Flags: Own | Self}
		}
	}
	w.addEndpoints(s)
	return w
}

func (w *Want) addEndpoints(s desired.Snapshot) {
	links := map[string][]desired.Endpoint{} // of each container
	for _, e := range s.Endpoints.All() {
		for _, a := range e.Addrs {
			w.Endpoints[a] = WantEndpointFor(e)
		}
		links[e.Key.Container] = append(links[e.Key.Container], e)
	}
	for _, family := range links {
		for _, e := range family {
			for _, other := range family {
				w.addKin(e, other)
			}
		}
	}
}

// addKin lets an endpoint send from its addresses by another link of the same container.
func (w *Want) addKin(e, other desired.Endpoint) {
	if e.Key == other.Key {
		return
	}
	for _, a := range e.Addrs {
		by := WantEndpointFor(other)
		by.Identity = e.Identity
		w.Kin[WantKin{a, by.Link}] = by
	}
}

// dropIPv4 leaves IPv4 prefixes out: where a packet of IPv4 came from is not judged by them.
func (w *Want) dropIPv4() {
	for p := range w.Inside {
		if p.Addr().Is4() {
			delete(w.Inside, p)
		}
	}
}

// WantEndpointFor is what the programs should know of one endpoint.
func WantEndpointFor(e desired.Endpoint) WantEndpoint {
	return WantEndpoint{
		Link: desired.LinkName(e.Key), MAC: desired.EndpointMAC(e.Key), HostMAC: desired.HostMAC(e.Key), Identity: e.Identity,
	}
}

// flagsOf says what lies behind u. Hosts of a segment are known by their MAC only if all of them have told theirs.
func (w *Want) flagsOf(u desired.Uplink, c desired.Config) LinkFlags {
	f := Uplink
	if u.External {
		return f | Outside
	}
	if u.Shared { // addresses of the link are anybody's
		w.Unproved = append(w.Unproved, Unproved{u.Name, SharedLink})
		return f | Gateway
	}
	if u.Gateway.IsValid() || u.Segment == "" {
		f |= Gateway
		w.Unproved = append(w.Unproved, Unproved{u.Name, BehindRouter})
	}
	if u.Segment == "" {
		return f
	}
	for _, p := range c.Peers {
		if !p.Retired && p.MAC == (desired.MAC{}) && onSegment(p, u.Segment) {
			w.Unproved = append(w.Unproved, Unproved{u.Name, PeerWithoutMAC})
			return f
		}
	}
	return f | Flat
}

func onSegment(h desired.Host, segment string) bool {
	for _, u := range h.Uplinks {
		if u.Segment == segment {
			return true
		}
	}
	return false
}

// addPeers adds the prefixes of other hosts; of those on a segment of this one, also the MAC they send from.
func (w *Want) addPeers(c desired.Config, located InsideFlags) {
	for _, p := range c.Peers {
		if p.Retired || !p.Prefix.IsValid() {
			continue
		}
		in := WantInside{Flags: located}
		for _, u := range c.Self.Uplinks {
			if u.Segment != "" && w.Uplinks[u.Name]&Flat != 0 && onSegment(p, u.Segment) {
				in = WantInside{Flags: located | KnownBy, Link: u.Name, MAC: p.MAC}
				break
			}
		}
		w.Inside[p.Prefix.Masked()] = in
	}
}
