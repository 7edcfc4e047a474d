package desired

import (
	"cmp"
	"net/netip"
	"slices"
)

// State is everything one host should hold, by key.
type State struct {
	Links      map[EndpointKey]Link
	Routes     map[netip.Prefix]Route
	Neighbours map[NeighbourKey]Neighbour
	Addresses  []netip.Addr // of the host itself, on lo, each a /128
	Uplinks    []string     // interfaces that must go on hearing router advertisements when this host forwards
	Segments   int          // the largest super-packet of uplinks; PlainSegments leaves them as they are
	IPv4       bool         // this host forwards IPv4 as well
	Undone     []Undone     // what the snapshot asks for and cannot be had, sorted
}

// NeighbourKey is what the kernel knows a neighbour by.
type NeighbourKey struct {
	Link string
	Addr netip.Addr
}

// For derives from a snapshot everything this host should hold. It is pure: the same snapshot gives the same state.
func For(s Snapshot) State {
	st := State{
		Links:      make(map[EndpointKey]Link, s.Endpoints.Len()),
		Routes:     make(map[netip.Prefix]Route, s.Endpoints.Len()+len(s.Config.Peers)+1),
		Neighbours: make(map[NeighbourKey]Neighbour, s.Endpoints.Len()),
	}
	st.addSelf(s)
	st.addTranslation(s)
	st.Segments = s.Sizes().Segments
	for _, u := range s.Uplinks() {
		st.addUplink(u, s)
	}
	st.compareMTUs(s)
	for _, p := range s.Config.Peers {
		st.addPeer(p, s)
	}
	for _, e := range s.Endpoints.All() {
		st.addEndpoint(e, s)
	}
	slices.Sort(st.Uplinks)
	slices.SortFunc(st.Undone, func(a, b Undone) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Why, b.Why))
	})
	return st
}

func (st *State) undone(kind, name string, why Why) {
	st.Undone = append(st.Undone, Undone{Kind: kind, Name: name, Why: why})
}

// addSelf adds what the host has because it owns its prefix: a discard route under it and the router address. A pool is nobody's
// alone: a host that discarded it would cut its endpoints off from the fixed addresses on other hosts.
func (st *State) addSelf(s Snapshot) {
	own := s.Own()
	switch {
	case s.Config.Self.Retired:
		st.undone("host", s.Config.Self.Name, HostRetired)
		return
	case !s.HostPrefix().IsValid():
		st.undone("host", s.Config.Self.Name, NoHostPrefix)
	}
	if p := s.Config.Self.IPv4; p.IsValid() {
		st.Routes[p.Masked()] = Route{Dst: p.Masked(), Discard: true}
		st.IPv4 = true
	}
	for _, p := range own {
		p = p.Masked()
		st.Routes[p] = Route{Dst: p, Discard: true}
	}
	for _, p := range s.Homes() {
		if a := RouterAddr(p.Masked()); a.IsValid() {
			st.Addresses = append(st.Addresses, a)
		}
	}
}

func (st *State) addUplink(u Uplink, s Snapshot) {
	switch f, ok := s.Facts[u.Name]; {
	case !ok:
		st.undone("uplink", u.Name, UplinkMissing)
		return
	case f.MTU > 0 && f.MTU < minMTU:
		st.undone("uplink", u.Name, UplinkSmallMTU)
	case !f.Up:
		st.undone("uplink", u.Name, UplinkDown)
	case s.Config.BigTCP && f.Segments <= PlainSegments:
		st.undone("uplink", u.Name, UplinkPlain)
	case s.Config.BigTCP && f.MTU-jumboHeader < minMTU:
		st.undone("uplink", u.Name, UplinkNoRoom)
	}
	st.Uplinks = append(st.Uplinks, u.Name)
}

// compareMTUs finds uplinks of different MTUs: which packets are too big would depend on the way they take. And it tells when packets that stay
// on this host are as small as others although they are not to be.
func (st *State) compareMTUs(s Snapshot) {
	if s.Config.LargeMTU && s.Sizes().Near == 0 {
		st.undone("care", "mtu", NoLargeMTU)
	}
	first := 0
	for _, u := range s.Uplinks() {
		f, ok := s.Facts[u.Name]
		switch {
		case !ok || f.MTU == 0: // not known
		case first == 0:
			first = f.MTU
		case f.MTU != first:
			st.undone("care", "mtu", UplinksDiffer)
			return
		}
	}
}

// addPeer adds the route to another host's prefix: directly on a shared segment, else through a gateway.
func (st *State) addPeer(p Host, s Snapshot) {
	switch {
	case p.Retired, p.Shared(): // the routers of its link know the way there, and its neighbours need none
		return
	case !p.Prefix.IsValid():
		st.undone("peer", p.Name, PeerNoPrefix)
		return
	case slices.ContainsFunc(s.Own(), p.Prefix.Overlaps):
		st.undone("peer", p.Name, PrefixOverlaps)
		return
	}
	r, why := routeTo(p, s)
	if why == PeerNoPath && s.Config.Learns {
		return
	}
	if why != "" {
		st.undone("peer", p.Name, why)
		return
	}
	if r.Link == "" {
		return
	}
	switch f, ok := s.Facts[r.Link]; {
	case !ok:
		st.undone("peer", p.Name, UplinkMissing)
	case !f.Up: // the kernel takes no route over a link that is down
		st.undone("peer", p.Name, UplinkDown)
	default:
		st.Routes[r.Dst] = r
		if q := p.IPv4; q.IsValid() && !q.Overlaps(s.Config.Self.IPv4) {
			st.Routes[q.Masked()] = Route{Dst: q.Masked(), Via: r.Via, Link: r.Link}
		}
	}
}

// PeerRoutes returns the routes to other hosts alone, by destination: what follows from one that comes, goes or moves.
func PeerRoutes(s Snapshot) map[netip.Prefix]Route {
	st := State{Routes: make(map[netip.Prefix]Route, len(s.Config.Peers))}
	for _, p := range s.Config.Peers {
		st.addPeer(p, s)
	}
	return st.Routes
}

// routeTo chooses the way to p, or tells why there is none. Without either, p is told by its addresses alone and they are not on a
// link of this host: the network between has to know the way, and the default route leads there.
func routeTo(p Host, s Snapshot) (Route, Why) {
	dst := p.Prefix.Masked()
	why := PeerNoPath
	uplinks := s.Uplinks()
	for _, u := range uplinks {
		for _, pu := range p.Uplinks {
			if u.Segment == "" || u.Segment != pu.Segment {
				continue
			}
			if pu.Address.IsValid() {
				return Route{Dst: dst, Via: pu.Address, Link: u.Name}, ""
			}
			why = PeerNoAddress
		}
	}
	if via, link, ok := s.onLink(p.Addrs); ok {
		return Route{Dst: dst, Via: via, Link: link}, ""
	}
	for _, u := range uplinks {
		if u.Gateway.IsValid() {
			return Route{Dst: dst, Via: u.Gateway, Link: u.Name}, ""
		}
	}
	if len(p.Addrs) > 0 && len(s.Config.Self.Addrs) > 0 {
		return Route{}, ""
	}
	return Route{}, why
}

func (st *State) addEndpoint(e Endpoint, s Snapshot) {
	for _, a := range e.Addrs {
		if !s.reaches(a) {
			st.undone("endpoint", e.Key.String(), ForeignAddress)
		}
	}
	st.Links[e.Key] = LinkFor(e, s.Sizes())
	for _, r := range RoutesFor(e) {
		st.Routes[r.Dst] = r
	}
	for _, n := range NeighboursFor(e) {
		st.Neighbours[NeighbourKey{n.Link, n.Addr}] = n
	}
}

// reaches reports whether packets to a can be brought to this host by the plan: it lies in a prefix of its
// own, in that of a link, or in a pool.
func (s Snapshot) reaches(a netip.Addr) bool {
	for _, p := range slices.Concat(s.Own(), s.OnLink()) {
		if p.Contains(a) {
			return true
		}
	}
	for _, p := range s.Config.Pools {
		if p.Prefix.Contains(a) {
			return true
		}
	}
	return s.Config.Self.IPv4.Contains(a)
}
