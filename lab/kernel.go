package lab

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/lab/place"
	"hexapod.dev/lab/topology"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
)

// Protocol marks the routes that the lab writes, as 206 marks those of Hexapod: `ip -6 route show proto 216` lists them.
const Protocol = 216

// kernel speaks rtnetlink inside one machine of the lab.
type kernel struct{ conn *rtnl.Conn }

// inside runs fn with the kernel of a machine.
func inside(p place.Place, fn func(kernel) error) error {
	return p.Do(func() error {
		ns, err := netns.Current()
		if err != nil {
			return err
		}
		defer ns.Close()
		conn, err := rtnl.Dial(ns)
		if err != nil {
			return fmt.Errorf("machine %s: %w", p.Name, err)
		}
		defer conn.Close()
		return fn(kernel{conn})
	})
}

func (k kernel) index(name string) (int, error) {
	l, ok, err := k.conn.Link(name)
	if err == nil && !ok {
		err = unix.ENODEV
	}
	if err != nil {
		return 0, fmt.Errorf("find link %s: %w", name, err)
	}
	return l.Index, nil
}

// up gives a link a link-local address and brings it up.
func (k kernel) up(name string, a netip.Addr) error {
	if err := k.address(name, netip.PrefixFrom(a, 64)); err != nil {
		return err
	}
	i, err := k.index(name)
	if err != nil {
		return err
	}
	return k.conn.Do(rtnl.SetUp(i, name, true))
}

func (k kernel) address(link string, p netip.Prefix) error {
	i, err := k.index(link)
	if err != nil {
		return err
	}
	return k.conn.Do(rtnl.AddAddr(rtnl.Addr{Index: i, Prefix: p}, link, rtnl.Replace))
}

// route is r as the kernel takes it.
func (k kernel) route(r topology.Route) (rtnl.Route, error) {
	out := rtnl.Route{Dst: r.Dst, Protocol: Protocol}
	if r.Link == "" {
		out.Type = unix.RTN_BLACKHOLE
		return out, nil
	}
	i, err := k.index(r.Link)
	out.Via, out.Index = r.Via, i
	return out, err
}

func (k kernel) addRoute(r topology.Route) error {
	v, err := k.route(r)
	if err != nil {
		return err
	}
	return k.conn.Do(rtnl.AddRoute(v, rtnl.IfAbsent).Fine(unix.EEXIST))
}

// deleteRoute removes a route of the lab; one that is not there is an error, because a scenario meant it to be.
func (k kernel) deleteRoute(dst netip.Prefix) error {
	all, err := k.conn.Routes(unix.RT_TABLE_MAIN, Protocol)
	if err != nil {
		return err
	}
	for _, v := range all {
		if v.Dst == dst {
			return k.conn.Do(rtnl.DeleteRoute(v))
		}
	}
	return fmt.Errorf("delete route %s: the lab has written no such route here", dst)
}

// veth makes a pair of links; the peer is born in the namespace of the descriptor.
func (k kernel) veth(name, peer string, peerNS int) error {
	return k.conn.Do(rtnl.AddVeth(rtnl.VethEnd{Name: name, NetNS: -1}, rtnl.VethEnd{Name: peer, NetNS: peerNS}))
}
