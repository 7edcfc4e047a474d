package rtnl

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Attributes of a nexthop object (linux/nexthop.h, NHA_*).
const (
	nhaID        = 1
	nhaGroup     = 2
	nhaGroupType = 3
	nhaOIF       = 5
	nhaGateway   = 6
	nhaFDB       = 11
)

const (
	sizeofNhmsg = 8 // struct nhmsg
	sizeofNhGrp = 8 // struct nexthop_grp
)

// NextHop is a nexthop object of the kernel (since 5.3): one next hop, or a group over which flows are spread. Routes name
// it by its id, so a change of it is a change of them all.
type NextHop struct {
	ID       uint32
	Protocol uint8      // who set it (rt_protos)
	Via      netip.Addr // of a single one; invalid: on-link
	Index    int        // of a single one: output link
	Link     string     // its name as far as the caller knows it, for errors alone
	Group    []uint32   // of a group: ids of its members, which weigh the same
	Other    bool       // it has something that is not told here: weights, encapsulation, another family
	Dead     bool       // its link is down
	LinkDown bool       // its link has no carrier
}

func nhmsg(family, protocol uint8) []byte { return []byte{family, 0, protocol, 0, 0, 0, 0, 0} }

// AddNextHop sets a nexthop object; mode is IfAbsent or Replace. A group with members goes without Via and Index.
func AddNextHop(n NextHop, mode int) *Request {
	family := uint8(unix.AF_INET6)
	if len(n.Group) > 0 {
		family = unix.AF_UNSPEC
	}
	r := NewRequest("add "+n.String(), unix.RTM_NEWNEXTHOP, mode, nhmsg(family, n.Protocol))
	r.Uint32(nhaID, n.ID)
	if len(n.Group) > 0 {
		list := make([]byte, 0, sizeofNhGrp*len(n.Group))
		for _, id := range n.Group {
			list = binary.NativeEndian.AppendUint32(list, id)
			list = append(list, 0, 0, 0, 0) // struct nexthop_grp tells the weight less one
		}
		r.Bytes(nhaGroup, list)
		return r
	}
	r.Uint32(nhaOIF, uint32(n.Index))
	if n.Via.IsValid() {
		r.Addr(nhaGateway, n.Via)
	}
	return r
}

// DeleteNextHop removes a nexthop object. The kernel takes it out of every group and removes the routes that are left
// without any. A missing one is no error.
func DeleteNextHop(id uint32) *Request {
	r := NewRequest(fmt.Sprintf("delete nexthop %d", id), unix.RTM_DELNEXTHOP, 0, nhmsg(unix.AF_UNSPEC, 0)).Fine(unix.ENOENT)
	r.Uint32(nhaID, id)
	return r
}

// NextHops lists all nexthop objects of the namespace, whoever set them.
func (c *Conn) NextHops() ([]NextHop, error) {
	var list []NextHop
	err := c.Dump(NewRequest("list nexthops", unix.RTM_GETNEXTHOP, 0, nhmsg(unix.AF_UNSPEC, 0)), collect(&list, unix.RTM_NEWNEXTHOP, ParseNextHop))
	return list, err
}

// ParseNextHop reads an RTM_NEWNEXTHOP or RTM_DELNEXTHOP.
func ParseNextHop(m Message) (NextHop, error) {
	head, attrs, err := header(m, sizeofNhmsg, "nexthop")
	if err != nil {
		return NextHop{}, err
	}
	flags := binary.NativeEndian.Uint32(head[4:])
	n := NextHop{Protocol: head[2], Dead: flags&unix.RTNH_F_DEAD != 0, LinkDown: flags&unix.RTNH_F_LINKDOWN != 0}
	n.Other = head[0] != unix.AF_INET6 && head[0] != unix.AF_UNSPEC
	for typ, v := range Attrs(attrs) {
		switch typ {
		case nhaID:
			n.ID = u32(v)
		case nhaOIF:
			n.Index = int(u32(v))
		case nhaGateway:
			n.Via = addr(v)
		case nhaGroup:
			for ; len(v) >= sizeofNhGrp; v = v[sizeofNhGrp:] {
				n.Group = append(n.Group, u32(v))
				n.Other = n.Other || v[4] != 0
			}
		case nhaGroupType: // 0 is by hash, anything else keeps buckets
			n.Other = n.Other || len(v) != 2 || binary.NativeEndian.Uint16(v) != 0
		default:
			n.Other = n.Other || typ <= nhaFDB
		}
	}
	return n, nil
}

// String is the object as `ip nexthop` shows it, with the index of a link whose name is not known.
func (n NextHop) String() string {
	s := fmt.Sprintf("nexthop %d", n.ID)
	for i, id := range n.Group {
		if i == 0 {
			s += " group"
		}
		s += fmt.Sprintf(" %d", id)
	}
	if n.Via.IsValid() {
		s += " via " + n.Via.String()
	}
	if n.Index != 0 {
		s += " dev " + linkName(n.Link, n.Index)
	}
	return s
}
