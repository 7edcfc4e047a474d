package rtnl

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/desired"
)

// ndaProtocol is the attribute that says who set a neighbour (NDA_PROTOCOL, kernel 5.0).
const ndaProtocol = 12

// Neigh is one IPv6 neighbour.
type Neigh struct {
	Index     int
	Addr      netip.Addr
	MAC       desired.MAC
	Protocol  uint8 // who set it (rt_protos); 0 is unknown
	Permanent bool
}

func ndmsg(index int, state uint16) []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = unix.AF_INET6
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint16(b[8:], state)
	return b
}

// ParseNeigh reads an RTM_NEWNEIGH or RTM_DELNEIGH.
func ParseNeigh(m Message) (Neigh, error) {
	head, attrs, err := header(m, unix.SizeofNdMsg, "neighbour")
	if err != nil {
		return Neigh{}, err
	}
	n := Neigh{
		Index:     int(binary.NativeEndian.Uint32(head[4:])),
		Permanent: binary.NativeEndian.Uint16(head[8:])&unix.NUD_PERMANENT != 0,
	}
	for typ, v := range Attrs(attrs) {
		switch typ {
		case unix.NDA_DST:
			n.Addr = addr(v)
		case unix.NDA_LLADDR:
			if len(v) == len(n.MAC) {
				n.MAC = desired.MAC(v)
			}
		case ndaProtocol:
			n.Protocol = u8(v)
		}
	}
	return n, nil
}

// AddNeigh sets a permanent neighbour; mode is IfAbsent or Replace. name is the link's, for errors.
func AddNeigh(n Neigh, name string, mode int) *Request {
	r := NewRequest(fmt.Sprintf("add neighbour %s on link %s", n.Addr, name), unix.RTM_NEWNEIGH, mode, ndmsg(n.Index, unix.NUD_PERMANENT))
	r.Addr(unix.NDA_DST, n.Addr)
	r.Bytes(unix.NDA_LLADDR, n.MAC[:])
	if n.Protocol != 0 {
		r.Uint8(ndaProtocol, n.Protocol)
	}
	return r
}

// DeleteNeigh removes a neighbour. A missing one is no error.
func DeleteNeigh(n Neigh, name string) *Request {
	r := NewRequest(fmt.Sprintf("delete neighbour %s on link %s", n.Addr, name), unix.RTM_DELNEIGH, 0, ndmsg(n.Index, 0)).
		Fine(unix.ENOENT, unix.ENODEV)
	r.Addr(unix.NDA_DST, n.Addr)
	return r
}

// Neighs lists the IPv6 neighbours of one link, or of all with index 0.
func (c *Conn) Neighs(index int) ([]Neigh, error) {
	r := NewRequest("list neighbours", unix.RTM_GETNEIGH, 0, ndmsg(0, 0))
	if index != 0 {
		r.Uint32(unix.NDA_IFINDEX, uint32(index))
	}
	var list []Neigh
	err := c.Dump(r, collect(&list, unix.RTM_NEWNEIGH, ParseNeigh))
	return list, err
}
