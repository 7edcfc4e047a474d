package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultMetric is what the kernel gives an IPv6 route that names no metric (IP6_RT_PRIO_USER).
const DefaultMetric = 1024

// rtaNextHop names the nexthop object of a route (RTA_NH_ID, kernel 5.3).
const rtaNextHop = 30

// rtaVia is the next hop of another family than the destination's (RTA_VIA, for IPv4 since kernel 5.2).
const rtaVia = 18

// Route is one IPv6 or IPv4 route. The next hop of an IPv4 one may be IPv6.
type Route struct {
	Dst      netip.Prefix
	Via      netip.Addr // invalid: on-link, or none
	Index    int        // output link; the kernel shows lo for routes that discard
	Link     string     // its name as far as the caller knows it, for errors alone
	Type     uint8      // unix.RTN_UNICAST, unix.RTN_UNREACHABLE ...
	Protocol uint8      // who set it (rt_protos)
	Table    uint32
	Metric   uint32
	MTU      int    // of what takes it (RTAX_MTU); 0: that of the link
	NextHop  uint32 // id of the nexthop object it leads to, which then says Via and Index; 0: none
	Paths    int    // next hops of a multipath route, else 0
	Cloned   bool   // made by the kernel for one destination, not configured
	LinkDown bool   // its link has no carrier

	Expires time.Duration // how long it still lives, read only; 0: it stays
}

// appendHeader appends the fixed part of a route message (struct rtmsg).
func (r Route) appendHeader(b []byte) []byte {
	bits, table := uint8(0), uint8(unix.RT_TABLE_UNSPEC)
	if r.Dst.IsValid() {
		bits = uint8(r.Dst.Bits())
	}
	if r.Table < 256 {
		table = uint8(r.Table)
	}
	b = append(b, familyOf(r.Dst.Addr()), bits, 0, 0, table, r.Protocol, unix.RT_SCOPE_UNIVERSE, r.Type)
	flags := uint32(0)
	if r.foreignVia() { // or the route to the next hop would have to be there before
		flags = unix.RTNH_F_ONLINK
	}
	return binary.NativeEndian.AppendUint32(b, flags)
}

// foreignVia tells whether the next hop is of another family than the destination.
func (r Route) foreignVia() bool { return r.Via.IsValid() && r.Via.Is4() != r.Dst.Addr().Is4() }

// append appends the whole body of a route message.
func (r Route) append(b []byte) []byte {
	b = r.appendHeader(b)
	if r.Dst.Bits() > 0 {
		b = appendAddr(b, unix.RTA_DST, r.Dst.Addr())
	}
	switch {
	case r.foreignVia(): // struct rtvia: family, address
		b = appendAttr(b, rtaVia, append(binary.NativeEndian.AppendUint16(nil, uint16(familyOf(r.Via))), r.Via.AsSlice()...))
	case r.Via.IsValid():
		b = appendAddr(b, unix.RTA_GATEWAY, r.Via)
	}
	if r.Index != 0 {
		b = appendUint32(b, unix.RTA_OIF, uint32(r.Index))
	}
	b = appendUint32(b, unix.RTA_TABLE, r.Table)
	b = appendUint32(b, unix.RTA_PRIORITY, r.Metric)
	if r.MTU != 0 {
		b = appendAttr(b, unix.RTA_METRICS, appendUint32(nil, unix.RTAX_MTU, uint32(r.MTU)))
	}
	if r.NextHop != 0 {
		b = appendUint32(b, rtaNextHop, r.NextHop)
	}
	return b
}

// ParseRoute reads an RTM_NEWROUTE or RTM_DELROUTE.
func ParseRoute(m Message) (Route, error) {
	head, attrs, err := header(m, unix.SizeofRtMsg, "route")
	if err != nil {
		return Route{}, err
	}
	flags := binary.NativeEndian.Uint32(head[8:])
	r := Route{
		Table: uint32(head[4]), Protocol: head[5], Type: head[7],
		Cloned:   flags&unix.RTM_F_CLONED != 0,
		LinkDown: flags&unix.RTNH_F_LINKDOWN != 0,
	}
	dst := netip.IPv6Unspecified()
	if head[0] == unix.AF_INET {
		dst = netip.IPv4Unspecified()
	}
	for typ, v := range Attrs(attrs) {
		switch typ {
		case unix.RTA_DST:
			dst = addr(v)
		case unix.RTA_GATEWAY:
			r.Via = addr(v)
		case rtaVia:
			if len(v) > 2 {
				r.Via = addr(v[2:])
			}
		case unix.RTA_OIF:
			r.Index = int(u32(v))
		case unix.RTA_TABLE:
			r.Table = u32(v)
		case unix.RTA_PRIORITY:
			r.Metric = u32(v)
		case unix.RTA_METRICS:
			for typ, v := range Attrs(v) {
				if typ == unix.RTAX_MTU {
					r.MTU = int(u32(v))
				}
			}
		case unix.RTA_CACHEINFO:
			r.Expires = expiry(v)
		case rtaNextHop:
			r.NextHop = u32(v)
		case unix.RTA_MULTIPATH:
			for len(v) >= unix.SizeofRtNexthop {
				r.Paths++
				v = v[min(len(v), max(unix.SizeofRtNexthop, align(int(binary.NativeEndian.Uint16(v))))):]
			}
		}
	}
	r.Dst = netip.PrefixFrom(dst, int(head[1]))
	return r, nil
}

// What a route message may do to a route with the same destination and metric.
const (
	// IfAbsent refuses with EEXIST.
	IfAbsent = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	// Replace puts the new one into its place in one step: no packet meets a gap.
	Replace = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
)

// AddRoute sets a route; mode is IfAbsent or Replace. A zero Table is the main table, a zero Metric DefaultMetric.
func AddRoute(r Route, mode int) *Request {
	return NewRequest("add route "+r.String(), unix.RTM_NEWROUTE, mode, r.complete().append(nil))
}

// DeleteRoute removes the route with this destination, metric, table and protocol. A missing one is no error.
func DeleteRoute(r Route) *Request {
	return NewRequest("delete route "+r.String(), unix.RTM_DELROUTE, 0, r.named().append(nil)).Fine(unix.ESRCH)
}

// groups is the route to all multicast groups that the kernel gives each link when it comes up (addrconf_add_mroute).
func groups(index int, name string) Route {
	return Route{
		Dst: netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff}), 8), Index: index, Link: name,
		Type: unix.RTN_MULTICAST, Protocol: unix.RTPROT_KERNEL, Table: unix.RT_TABLE_LOCAL, Metric: 256, // IP6_RT_PRIO_ADDRCONF
	}
}

// AddGroups gives a link its route to all multicast groups again. One that is there is no error.
func AddGroups(index int, name string) *Request {
	return AddRoute(groups(index, name), IfAbsent).Fine(unix.EEXIST)
}

// DeleteGroups takes it from a link: what comes to a group there is for nobody then. A missing route, or link, is no error.
func DeleteGroups(index int, name string) *Request {
	r := groups(index, name)
	return NewRequest("delete route "+r.String(), unix.RTM_DELROUTE, 0, r.append(nil)).Fine(unix.ESRCH, unix.ENODEV)
}

// AddRoutes is AddRoute for n routes at once.
func AddRoutes(n int, route func(i int) Route, mode int) Bulk {
	return Bulk{
		Len: n, Type: unix.RTM_NEWROUTE, Flags: uint16(mode),
		Append: func(b []byte, i int) []byte { return route(i).complete().append(b) },
		What:   func(i int) string { return "add route " + route(i).String() },
	}
}

// DeleteRoutes is DeleteRoute for n routes at once.
func DeleteRoutes(n int, route func(i int) Route) Bulk {
	return Bulk{
		Len: n, Type: unix.RTM_DELROUTE, Fine: unix.ESRCH,
		Append: func(b []byte, i int) []byte { return route(i).named().append(b) },
		What:   func(i int) string { return "delete route " + route(i).String() },
	}
}

// named is what a route is known by when it is removed.
func (r Route) named() Route {
	r = r.complete()
	return Route{Dst: r.Dst, Type: r.Type, Protocol: r.Protocol, Table: r.Table, Metric: r.Metric}
}

func (r Route) complete() Route {
	if r.Table == 0 {
		r.Table = unix.RT_TABLE_MAIN
	}
	if r.Metric == 0 {
		r.Metric = DefaultMetric
	}
	if r.Type == 0 {
		r.Type = unix.RTN_UNICAST
	}
	return r
}

func (r Route) String() string {
	s := r.Dst.String()
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Index != 0 {
		s += " dev " + linkName(r.Link, r.Index)
	}
	if r.NextHop != 0 {
		s += fmt.Sprintf(" nhid %d", r.NextHop)
	}
	return s
}

// linkName is what an operator calls a link.
func linkName(name string, index int) string {
	if name == "" {
		return fmt.Sprintf("#%d", index)
	}
	return name
}

// RouteTo returns the route by which packets to an IPv6 address leave this host, as it is configured, whatever its table.
// It costs the same however many routes there are. ok is false when there is none, or the one there refuses packets.
func (c *Conn) RouteTo(a netip.Addr) (found Route, ok bool, err error) {
	head := Route{Dst: netip.PrefixFrom(a, a.BitLen())}.appendHeader(nil)
	binary.NativeEndian.PutUint32(head[8:], unix.RTM_F_FIB_MATCH) // the route itself, not what is made of it for one packet (kernel 4.13)
	r := NewRequest("look up the route to "+a.String(), unix.RTM_GETROUTE, 0, head)
	r.Fine(unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL) // what routes that refuse answer, by their type
	r.Addr(unix.RTA_DST, a)
	r.OnReply(func(m Message) (err error) {
		found, err = ParseRoute(m)
		ok = err == nil
		return err
	})
	err = c.Do(r)
	return found, ok, err
}

// SourceTo returns the address that this host sends from to an IPv4 address, and the index of the link. ok is false when nothing leads there.
func (c *Conn) SourceTo(a netip.Addr) (source netip.Addr, index int, ok bool, err error) {
	r := NewRequest("look up the source address to "+a.String(), unix.RTM_GETROUTE, 0, Route{Dst: netip.PrefixFrom(a, a.BitLen())}.appendHeader(nil))
	r.Fine(unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL)
	r.Addr(unix.RTA_DST, a)
	r.OnReply(func(m Message) error {
		_, attrs, err := header(m, unix.SizeofRtMsg, "route")
		for typ, v := range Attrs(attrs) {
			switch typ {
			case unix.RTA_PREFSRC:
				source, ok = addr(v), true
			case unix.RTA_OIF:
				index = int(u32(v))
			}
		}
		return err
	})
	err = c.Do(r)
	return source, index, ok, err
}

// Routes lists the IPv6 routes of one table, those that the kernel cloned left out. protocol 0 means any.
func (c *Conn) Routes(table uint32, protocol uint8) ([]Route, error) {
	return c.routesTo(netip.IPv6Unspecified(), table, protocol)
}

// Routes4 is Routes for IPv4.
func (c *Conn) Routes4(table uint32, protocol uint8) ([]Route, error) {
	return c.routesTo(netip.IPv4Unspecified(), table, protocol)
}

func (c *Conn) routesTo(any netip.Addr, table uint32, protocol uint8) ([]Route, error) {
	r := NewRequest("list routes", unix.RTM_GETROUTE, 0, Route{Dst: netip.PrefixFrom(any, 0), Protocol: protocol}.appendHeader(nil))
	r.Uint32(unix.RTA_TABLE, table)
	var all, list []Route
	if err := c.Dump(r, collect(&all, unix.RTM_NEWROUTE, ParseRoute)); err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err // ENOENT: an IPv4 table is made with its first route (net/ipv4/fib_frontend.c)
	}
	for _, v := range all {
		if !v.Cloned && v.Table == table {
			list = append(list, v)
		}
	}
	return list, nil
}
