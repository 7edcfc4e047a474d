package rtnl

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ifaProto is the attribute that says who set an address (IFA_PROTO, kernel 5.18).
const ifaProto = 11

// Addr is an IPv6 or IPv4 address of a link.
type Addr struct {
	Index    int
	Prefix   netip.Prefix // the address with the length of its on-link prefix
	Flags    uint32       // IFA_F_*
	Protocol uint8        // who set it (IFA_PROTO); 0 is unknown
	Scope    uint8        // unix.RT_SCOPE_*, of IPv4 ones that are added; 0 is the universe
}

func ifaddr(family uint8, index, bits int, flags uint8) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1], b[2] = family, uint8(bits), flags
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return b
}

// ParseAddr reads an RTM_NEWADDR or RTM_DELADDR.
func ParseAddr(m Message) (Addr, error) {
	head, attrs, err := header(m, unix.SizeofIfAddrmsg, "address")
	if err != nil {
		return Addr{}, err
	}
	a := Addr{Index: int(binary.NativeEndian.Uint32(head[4:])), Flags: uint32(head[2])}
	var ip, local netip.Addr
	for typ, v := range Attrs(attrs) {
		switch typ {
		case unix.IFA_ADDRESS:
			ip = addr(v)
		case unix.IFA_LOCAL: // set when the other end of a point-to-point link has an address too
			local = addr(v)
		case unix.IFA_FLAGS:
			a.Flags = u32(v)
		case ifaProto:
			a.Protocol = u8(v)
		}
	}
	if local.IsValid() {
		ip = local
	}
	a.Prefix = netip.PrefixFrom(ip, int(head[1]))
	return a, nil
}

// AddAddr sets an address that is usable at once: without duplicate address detection (RFC 4862 5.4), for it lies on lo or
// on a link that nobody else is on. mode is IfAbsent or Replace. name is the link's, for errors.
func AddAddr(a Addr, name string, mode int) *Request {
	r := NewRequest("add address "+a.Prefix.String()+" to link "+name, unix.RTM_NEWADDR, mode,
		ifaddr(familyOf(a.Prefix.Addr()), a.Index, a.Prefix.Bits(), unix.IFA_F_NODAD))
	r.body[3] = a.Scope
	if a.Flags != 0 {
		r.Uint32(unix.IFA_FLAGS, a.Flags|unix.IFA_F_NODAD)
	}
	r.Addr(unix.IFA_LOCAL, a.Prefix.Addr())
	r.Addr(unix.IFA_ADDRESS, a.Prefix.Addr())
	if a.Protocol != 0 {
		r.Uint8(ifaProto, a.Protocol)
	}
	return r
}

// DeleteAddr removes an address. A missing address or link is no error.
func DeleteAddr(a Addr, name string) *Request {
	r := NewRequest(fmt.Sprintf("delete address %s of link %s", a.Prefix, name),
		unix.RTM_DELADDR, 0, ifaddr(familyOf(a.Prefix.Addr()), a.Index, a.Prefix.Bits(), 0)).Fine(unix.EADDRNOTAVAIL, unix.ENODEV)
	r.Addr(unix.IFA_LOCAL, a.Prefix.Addr())
	return r
}

// Addrs lists the IPv6 addresses of one link, or of all with index 0.
func (c *Conn) Addrs(index int) ([]Addr, error) { return c.addrs(unix.AF_INET6, index) }

// Addrs4 lists the IPv4 addresses of one link, or of all with index 0.
func (c *Conn) Addrs4(index int) ([]Addr, error) { return c.addrs(unix.AF_INET, index) }

func (c *Conn) addrs(family uint8, index int) ([]Addr, error) {
	var list []Addr
	err := c.Dump(NewRequest("list addresses", unix.RTM_GETADDR, 0, ifaddr(family, index, 0, 0)), collect(&list, unix.RTM_NEWADDR, ParseAddr))
	return list, err
}

// familyOf is the address family of a.
func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
