package lab

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/lab/place"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
)

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

// veth makes a pair of links; the peer is born in the namespace of the descriptor.
func (k kernel) veth(name, peer string, peerNS int) error {
	return k.conn.Do(rtnl.AddVeth(rtnl.VethEnd{Name: name, NetNS: -1}, rtnl.VethEnd{Name: peer, NetNS: peerNS}))
}
