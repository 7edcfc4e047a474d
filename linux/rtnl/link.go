package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/desired"
)

// Link is a network interface as the kernel shows it.
type Link struct {
	Index       int
	Name        string
	Alias       string
	Kind        string // "veth", "bridge", ...; empty for hardware and lo
	Group       uint32 // IFLA_GROUP
	MAC         desired.MAC
	MTU         int
	Segments    int  // gso_max_size: the largest super-packet that it takes
	Merged      int  // gro_max_size: the largest that it makes of what it receives
	MostCut     int  // tso_max_size: the largest that its device cuts; Segments cannot be more
	Up          bool // administratively
	Running     bool // up, with carrier, and the kernel sends on it: for a moment after a carrier comes it drops everything
	Loopback    bool
	Peer        int // index of the other end of a veth, in its own namespace
	PeerNSID    int // number by which this namespace knows the peer's namespace; NoNSID when it is the same one
	Forwarding  int // net.ipv6.conf.<link>.forwarding, -1 without IPv6
	AcceptRA    int // net.ipv6.conf.<link>.accept_ra, -1 without IPv6
	AddrGenMode int // net.ipv6.conf.<link>.addr_gen_mode, -1 without IPv6
	DisableIPv6 bool
}

// NoNSID is the number of a namespace that has none here.
const NoNSID = -1

// Places in the array IFLA_INET6_CONF (linux/ipv6.h, DEVCONF_*).
const (
	confForwarding  = 0
	confAcceptRA    = 3
	confDisableIPv6 = 26
	confAddrGenMode = 47
)

// Modes of making link-local addresses (linux/if_link.h, IN6_ADDR_GEN_MODE_*).
const (
	GenEUI64 = 0
	GenNone  = 1
)

// vethInfoPeer is the attribute that describes the other end (linux/veth.h).
const vethInfoPeer = 1

// skipStats leaves counters out of answers about links (RTEXT_FILTER_SKIP_STATS).
const skipStats = 1 << 3

func ifinfo(index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

// ParseLink reads an RTM_NEWLINK or RTM_DELLINK.
func ParseLink(m Message) (Link, error) {
	head, attrs, err := header(m, unix.SizeofIfInfomsg, "link")
	if err != nil {
		return Link{}, err
	}
	flags := binary.NativeEndian.Uint32(head[8:])
	l := Link{
		Index:      int(binary.NativeEndian.Uint32(head[4:])),
		Up:         flags&unix.IFF_UP != 0,
		Running:    flags&unix.IFF_UP != 0 && flags&unix.IFF_RUNNING != 0,
		Loopback:   flags&unix.IFF_LOOPBACK != 0,
		PeerNSID:   NoNSID,
		Forwarding: -1, AcceptRA: -1, AddrGenMode: -1,
	}
	for typ, v := range Attrs(attrs) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.Name = text(v)
		case unix.IFLA_IFALIAS:
			l.Alias = text(v)
		case unix.IFLA_GROUP:
			l.Group = u32(v)
		case unix.IFLA_QDISC: // the one that drops (sch_generic.c), until the kernel has put the real one in its place
			l.Running = l.Running && text(v) != "noop"
		case unix.IFLA_MTU:
			l.MTU = int(u32(v))
		case unix.IFLA_GSO_MAX_SIZE:
			l.Segments = int(u32(v))
		case unix.IFLA_GRO_MAX_SIZE:
			l.Merged = int(u32(v))
		case unix.IFLA_TSO_MAX_SIZE:
			l.MostCut = int(u32(v))
		case unix.IFLA_ADDRESS:
			if len(v) == len(l.MAC) {
				l.MAC = desired.MAC(v)
			}
		case unix.IFLA_LINK:
			l.Peer = int(u32(v))
		case unix.IFLA_LINK_NETNSID:
			l.PeerNSID = int(int32(u32(v)))
		case unix.IFLA_LINKINFO:
			for typ, v := range Attrs(v) {
				if typ == unix.IFLA_INFO_KIND {
					l.Kind = text(v)
				}
			}
		case unix.IFLA_AF_SPEC:
			l.parseConf(v)
		}
	}
	return l, nil
}

// parseConf reads the sysctls of net.ipv6.conf.<link> that come with a link.
func (l *Link) parseConf(afSpec []byte) {
	for family, v := range Attrs(afSpec) {
		if family != unix.AF_INET6 {
			continue
		}
		for typ, v := range Attrs(v) {
			if typ != unix.IFLA_INET6_CONF {
				continue
			}
			at := func(i int) int {
				if len(v) < 4*i+4 {
					return -1
				}
				return int(int32(u32(v[4*i:])))
			}
			l.Forwarding, l.AcceptRA, l.AddrGenMode = at(confForwarding), at(confAcceptRA), at(confAddrGenMode)
			l.DisableIPv6 = at(confDisableIPv6) == 1
		}
	}
}

// GetLink asks for one link by name. A link that does not exist is ENODEV.
func GetLink(name string, into *Link) *Request {
	r := NewRequest("look at link "+name, unix.RTM_GETLINK, 0, ifinfo(0, 0, 0))
	r.Text(unix.IFLA_IFNAME, name)
	r.Uint32(unix.IFLA_EXT_MASK, skipStats)
	return r.OnReply(intoLink(into))
}

// GetLinkIndex asks for one link by its index.
func GetLinkIndex(index int, into *Link) *Request {
	r := NewRequest(fmt.Sprintf("look at link with index %d", index), unix.RTM_GETLINK, 0, ifinfo(index, 0, 0))
	r.Uint32(unix.IFLA_EXT_MASK, skipStats)
	return r.OnReply(intoLink(into))
}

func intoLink(into *Link) func(Message) error {
	return func(m Message) (err error) {
		*into, err = ParseLink(m)
		return err
	}
}

// Link looks at one link by name; ok is false when there is none.
func (c *Conn) Link(name string) (l Link, ok bool, err error) {
	err = c.Do(GetLink(name, &l))
	if errors.Is(err, unix.ENODEV) {
		return Link{}, false, nil
	}
	return l, err == nil, err
}

// Links lists all links.
func (c *Conn) Links() ([]Link, error) {
	r := NewRequest("list links", unix.RTM_GETLINK, 0, ifinfo(0, 0, 0))
	r.Uint32(unix.IFLA_EXT_MASK, skipStats)
	var list []Link
	err := c.Dump(r, collect(&list, unix.RTM_NEWLINK, ParseLink))
	return list, err
}

// collect appends the parsed messages of one type to a list.
func collect[T any](list *[]T, typ uint16, parse func(Message) (T, error)) func(Message) error {
	return func(m Message) error {
		if m.Type != typ {
			return nil
		}
		v, err := parse(m)
		if err == nil {
			*list = append(*list, v)
		}
		return err
	}
}

// VethEnd is one end of a pair that is to be made.
type VethEnd struct {
	Name  string
	MAC   desired.MAC
	MTU   int    // 0: the kernel's default
	Group uint32 // 0: the kernel's default
	NetNS int    // descriptor of the namespace the end is born in; negative: that of the Conn
}

// AddVeth makes a pair, both ends down. The peer is born where it will live: moving it there later takes the kernel's
// RCU grace periods, tens of milliseconds under its one lock. An existing name on either side is EEXIST.
//
// Neither end may be up in this message: the kernel opens it before the two are paired (ENOTCONN).
func AddVeth(end, peer VethEnd) *Request {
	r := NewRequest(fmt.Sprintf("make link %s with peer %s", end.Name, peer.Name),
		unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfo(0, 0, 0))
	r.vethEnd(end)
	r.Nest(unix.IFLA_LINKINFO, func() {
		r.Bytes(unix.IFLA_INFO_KIND, []byte("veth"))
		r.Nest(unix.IFLA_INFO_DATA, func() {
			r.Nest(vethInfoPeer, func() {
				r.body = append(r.body, ifinfo(0, 0, 0)...)
				r.vethEnd(peer)
			})
		})
	})
	return r
}

func (r *Request) vethEnd(e VethEnd) {
	r.Text(unix.IFLA_IFNAME, e.Name)
	if e.MAC != (desired.MAC{}) {
		r.Bytes(unix.IFLA_ADDRESS, e.MAC[:])
	}
	if e.MTU != 0 {
		r.Uint32(unix.IFLA_MTU, uint32(e.MTU))
	}
	if e.Group != 0 {
		r.Uint32(unix.IFLA_GROUP, e.Group)
	}
	if e.NetNS >= 0 {
		r.Uint32(unix.IFLA_NET_NS_FD, uint32(e.NetNS))
	}
	// One queue: a queue per CPU costs memory and time per endpoint and brings a veth nothing.
	r.Uint32(unix.IFLA_NUM_TX_QUEUES, 1)
	r.Uint32(unix.IFLA_NUM_RX_QUEUES, 1)
}

// SetLink starts a change of a link; attributes are appended to it. name is for errors only.
func SetLink(index int, name, act string) *Request {
	return NewRequest(act+" of link "+name, unix.RTM_SETLINK, 0, ifinfo(index, 0, 0))
}

// SetSegments sets how large super-packets a link takes, and makes of what it receives (kernel 5.19 for both).
func SetSegments(index int, name string, size int) *Request {
	r := SetLink(index, name, "set gso_max_size and gro_max_size")
	r.Uint32(unix.IFLA_GSO_MAX_SIZE, uint32(size))
	r.Uint32(unix.IFLA_GRO_MAX_SIZE, uint32(size))
	return r
}

// SetUp sets a link up or down.
func SetUp(index int, name string, up bool) *Request {
	flags, act := uint32(0), "set down link "
	if up {
		flags, act = unix.IFF_UP, "set up link "
	}
	return NewRequest(act+name, unix.RTM_SETLINK, 0, ifinfo(index, flags, unix.IFF_UP))
}

// SetAddrGenMode chooses how the link-local address of a link is made.
// It is a message of its own: the kernel refuses it in the one that makes the link (EAFNOSUPPORT).
func SetAddrGenMode(index int, name string, mode uint8) *Request {
	r := SetLink(index, name, "set addr_gen_mode")
	r.Nest(unix.IFLA_AF_SPEC, func() {
		r.Nest(unix.AF_INET6, func() { r.Uint8(unix.IFLA_INET6_ADDR_GEN_MODE, mode) })
	})
	return r
}

// DeleteLink removes a link by index. A missing one is no error.
func DeleteLink(index int, name string) *Request {
	return NewRequest("delete link "+name, unix.RTM_DELLINK, 0, ifinfo(index, 0, 0)).Fine(unix.ENODEV)
}

// DeleteGroup removes all links of a group in one message: they share one wait for the kernel's grace periods.
// A group without links is no error.
func DeleteGroup(group uint32) *Request {
	r := NewRequest(fmt.Sprintf("delete links of group %#x", group), unix.RTM_DELLINK, 0, ifinfo(0, 0, 0)).Fine(unix.ENODEV)
	r.Uint32(unix.IFLA_GROUP, group)
	return r
}

// PeerNSID asks for the number by which this namespace knows another one, given as a descriptor.
func PeerNSID(fd int, into *int) *Request {
	r := NewRequest("number of the namespace", unix.RTM_GETNSID, 0, []byte{unix.AF_UNSPEC, 0, 0, 0})
	r.Uint32(unix.NETNSA_FD, uint32(fd))
	*into = NoNSID
	return r.OnReply(func(m Message) error {
		_, attrs, err := header(m, 4, "namespace")
		for typ, v := range Attrs(attrs) {
			if typ == unix.NETNSA_NSID {
				*into = int(int32(u32(v)))
			}
		}
		return err
	})
}
