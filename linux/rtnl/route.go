package rtnl

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// DefaultMetric is what the kernel gives an IPv6 route that names no metric (IP6_RT_PRIO_USER).
const DefaultMetric = 1024

// Route is one IPv6 route.
type Route struct {
	Dst      netip.Prefix
	Via      netip.Addr // invalid: on-link, or none
	Index    int        // output link; the kernel shows lo for routes that discard
	Type     uint8      // unix.RTN_UNICAST, unix.RTN_UNREACHABLE ...
	Protocol uint8      // who set it (rt_protos)
	Table    uint32
	Metric   uint32
	Paths    int  // next hops of a multipath route, else 0
	Cloned   bool // made by the kernel for one destination, not configured
	LinkDown bool // its link has no carrier
}

func rtmsg(r Route) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0] = unix.AF_INET6
	if r.Dst.IsValid() {
		b[1] = uint8(r.Dst.Bits())
	}
	if r.Table < 256 {
		b[4] = uint8(r.Table)
	}
	b[5] = r.Protocol
	b[6] = unix.RT_SCOPE_UNIVERSE
	b[7] = r.Type
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
	for typ, v := range Attrs(attrs) {
		switch typ {
		case unix.RTA_DST:
			dst = addr(v)
		case unix.RTA_GATEWAY:
			r.Via = addr(v)
		case unix.RTA_OIF:
			r.Index = int(u32(v))
		case unix.RTA_TABLE:
			r.Table = u32(v)
		case unix.RTA_PRIORITY:
			r.Metric = u32(v)
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
	q := NewRequest("add route "+r.String(), unix.RTM_NEWROUTE, mode, rtmsg(r.complete()))
	q.route(r.complete())
	return q
}

// DeleteRoute removes the route with this destination, metric, table and protocol. A missing one is no error.
func DeleteRoute(r Route) *Request {
	q := NewRequest("delete route "+r.String(), unix.RTM_DELROUTE, 0, rtmsg(r.complete())).Fine(unix.ESRCH)
	r = r.complete()
	q.route(Route{Dst: r.Dst, Table: r.Table, Metric: r.Metric})
	return q
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

func (r *Request) route(v Route) {
	if v.Dst.Bits() > 0 {
		r.Addr(unix.RTA_DST, v.Dst.Addr())
	}
	if v.Via.IsValid() {
		r.Addr(unix.RTA_GATEWAY, v.Via.WithZone(""))
	}
	if v.Index != 0 {
		r.Uint32(unix.RTA_OIF, uint32(v.Index))
	}
	r.Uint32(unix.RTA_TABLE, v.Table)
	r.Uint32(unix.RTA_PRIORITY, v.Metric)
}

func (r Route) String() string {
	s := r.Dst.String()
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Index != 0 {
		s += fmt.Sprintf(" dev #%d", r.Index)
	}
	return s
}

// Routes lists the IPv6 routes of one table, those that the kernel cloned left out. protocol 0 means any.
func (c *Conn) Routes(table uint32, protocol uint8) ([]Route, error) {
	r := NewRequest("list routes", unix.RTM_GETROUTE, 0, rtmsg(Route{Protocol: protocol}))
	r.Uint32(unix.RTA_TABLE, table)
	var all, list []Route
	if err := c.Dump(r, collect(&all, unix.RTM_NEWROUTE, ParseRoute)); err != nil {
		return nil, err
	}
	for _, v := range all {
		if !v.Cloned && v.Table == table {
			list = append(list, v)
		}
	}
	return list, nil
}
