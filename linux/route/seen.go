package route

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/rtnl"
)

// Ids of nexthop objects, 65,536 of each kind ("hx" is 0x6878). What lies in these ranges and carries our protocol is
// ours, so it is found again after a restart; an id that another program holds there is passed over.
const (
	firstHop   = 0x6878_0000
	firstGroup = 0x6879_0000
	idRange    = 0x1_0000
)

// hop is a next hop in the kernel's words.
type hop struct {
	via   netip.Addr
	index int
}

// group is a nexthop group of ours.
type group struct {
	members []uint32
	key     string // of members; empty when the group is not as we make them
	users   int    // routes that lead to it, those of others too
}

// seen is what the kernel was seen to hold, and what was done since.
type seen struct {
	hops      map[uint32]hop
	byHop     map[hop]uint32
	groups    map[uint32]*group
	byMembers map[string]uint32 // one of the groups with these members
	others    map[uint32]bool   // ids of other programs, and of ours that they use: not ours to change
	routes    map[dest]uint32
	foreign   map[dest]uint8    // protocol of another program's route
	below     map[uint32]uint32 // no id below it is free, by first of a range
	idle      bool              // there may be objects without users
}

// look reads nexthop objects and routes from the kernel.
func (f *FIB) look() error {
	f.seen = nil
	objects, err := f.conn.NextHops()
	if err != nil {
		return err
	}
	routes, err := f.conn.Routes(unix.RT_TABLE_MAIN, 0)
	if err != nil {
		return err
	}
	s := &seen{
		hops: map[uint32]hop{}, byHop: map[hop]uint32{},
		groups: map[uint32]*group{}, byMembers: map[string]uint32{}, others: map[uint32]bool{}, below: map[uint32]uint32{},
		routes: make(map[dest]uint32, len(routes)), foreign: map[dest]uint8{},
		idle: true,
	}
	for _, o := range objects {
		s.object(o, o.Protocol == f.protocol)
	}
	for _, r := range routes {
		s.route(r, f.protocol)
	}
	f.seen = s
	return nil
}

func (s *seen) object(o rtnl.NextHop, ours bool) {
	switch {
	case ours && isHop(o.ID) && o.Group == nil && !o.Other:
		h := hop{o.Via, o.Index}
		s.hops[o.ID], s.byHop[h] = h, o.ID
	case ours && isGroup(o.ID) && o.Group != nil:
		key := ""
		if !o.Other {
			key = keyOf(o.Group)
		}
		s.groups[o.ID] = &group{members: o.Group, key: key}
		s.byMembers[key] = o.ID
	default:
		s.others[o.ID] = true
		for _, member := range o.Group {
			s.others[member] = true
		}
	}
}

func (s *seen) route(r rtnl.Route, protocol uint8) {
	g := s.groups[r.NextHop]
	if g != nil {
		g.users++
	}
	if r.NextHop != 0 && g == nil {
		s.others[r.NextHop] = true // a next hop of ours that a route of another program names
	}
	dst, _ := destOf(r.Dst)
	switch {
	case Learned(r, protocol) && g == nil: // ours by its mark, but not as we make them
		s.routes[dst] = 0
	case Learned(r, protocol):
		s.routes[dst] = r.NextHop
	case r.Protocol == protocol || byKernel(r.Protocol):
	default:
		s.foreign[dst] = r.Protocol
	}
}

// byKernel tells the routes that the kernel makes by itself: of addresses, from redirects and from router advertisements.
// They come before learned ones by their metric, as connected routes do in any router, and are nobody's to remove.
func byKernel(protocol uint8) bool {
	return protocol == unix.RTPROT_KERNEL || protocol == unix.RTPROT_REDIRECT || protocol == unix.RTPROT_RA
}

func isHop(id uint32) bool { return id-firstHop < idRange }

func isGroup(id uint32) bool { return id-firstGroup < idRange }

// keyOf makes members, in order, comparable.
func keyOf(members []uint32) string {
	b := make([]byte, 0, 4*len(members))
	for _, id := range members {
		b = binary.NativeEndian.AppendUint32(b, id)
	}
	return string(b)
}

// free finds the lowest id from first on that nothing has.
func (s *seen) free(first uint32) (id uint32, ok bool) {
	for id := max(first, s.below[first]); id < first+idRange; id++ {
		_, h := s.hops[id]
		if !h && s.groups[id] == nil && !s.others[id] {
			s.below[first] = id
			return id, true
		}
	}
	return 0, false
}

// setGroup notes what a group now leads to.
func (s *seen) setGroup(id uint32, members []uint32, key string) {
	g := s.groups[id]
	if g == nil {
		g = &group{}
		s.groups[id] = g
	}
	if s.byMembers[g.key] == id {
		delete(s.byMembers, g.key)
	}
	g.members, g.key = members, key
	if _, ok := s.byMembers[key]; !ok {
		s.byMembers[key] = id
	}
	s.idle = true
}

// newRoute notes where a new route leads to.
func (s *seen) newRoute(dst dest, id uint32) {
	s.routes[dst] = id
	s.groups[id].users++
}

// setRoute notes where a route now leads to.
func (s *seen) setRoute(dst dest, id uint32) {
	s.unuse(s.routes[dst])
	s.newRoute(dst, id)
}

// grow makes room for n new routes at once when there are not many yet.
func (s *seen) grow(n int) {
	if n > len(s.routes) {
		routes := make(map[dest]uint32, len(s.routes)+n)
		maps.Copy(routes, s.routes)
		s.routes = routes
	}
}

// dropRoute notes that a route is gone.
func (s *seen) dropRoute(dst dest) {
	s.unuse(s.routes[dst])
	delete(s.routes, dst)
}

func (s *seen) unuse(id uint32) {
	if g := s.groups[id]; g != nil {
		g.users--
		s.idle = s.idle || g.users == 0
	}
}

// dropGroup notes that a group is gone.
func (s *seen) dropGroup(id uint32) {
	if g := s.groups[id]; g != nil && s.byMembers[g.key] == id {
		delete(s.byMembers, g.key)
	}
	delete(s.groups, id)
	delete(s.below, firstGroup)
}

// dropHop notes that a next hop is gone that no group has.
func (s *seen) dropHop(id uint32) {
	delete(s.byHop, s.hops[id])
	delete(s.hops, id)
	delete(s.below, firstHop)
}

// without is the groups that have a next hop, with their other members.
func (s *seen) without(id uint32) map[uint32][]uint32 {
	left := map[uint32][]uint32{}
	for gid, g := range s.groups {
		if i := slices.Index(g.members, id); i >= 0 {
			left[gid] = slices.Concat(g.members[:i], g.members[i+1:])
		}
	}
	return left
}

// forget notes that a next hop is gone, and with it, as the kernel does it, groups and routes that had no other. left is
// what without said.
func (s *seen) forget(id uint32, left map[uint32][]uint32) {
	s.dropHop(id)
	gone := false
	for gid, members := range left {
		if len(members) == 0 {
			s.dropGroup(gid)
			gone = true
			continue
		}
		s.setGroup(gid, members, keyOf(members))
	}
	if !gone {
		return
	}
	for dst, gid := range s.routes {
		if gid != 0 && s.groups[gid] == nil {
			delete(s.routes, dst)
		}
	}
}
