package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// End is one end of a cable.
type End struct {
	NS    *netns.NS      // nil: the namespace of the process
	Name  string         // at most 15 bytes
	MAC   desired.MAC    // zero: the kernel makes one
	MTU   int            // 0: the kernel's default
	Addrs []netip.Prefix // set without duplicate address detection
	Quiet bool           // no link-local address by itself, and no traffic because of it
}

// Connect lays a cable between two namespaces, a veth pair that carries no mark, and sets both ends up.
// A name that exists on either side is unix.EEXIST.
func Connect(ctx context.Context, a, b End) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	what := fmt.Sprintf("connect %s and %s", a.Name, b.Name)
	if err := connect(a, b); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func connect(a, b End) error {
	at, err := rtnl.Dial(a.NS)
	if err != nil {
		return err
	}
	defer at.Close()
	far := b.NS
	if far == nil {
		if far, err = netns.Current(); err != nil {
			return err
		}
		defer far.Close()
	}
	bt, err := rtnl.Dial(far)
	if err != nil {
		return err
	}
	defer bt.Close()
	var here rtnl.Link
	err = at.Do(rtnl.AddVeth(
		rtnl.VethEnd{Name: a.Name, MAC: a.MAC, MTU: a.MTU, NetNS: -1},
		rtnl.VethEnd{Name: b.Name, MAC: b.MAC, MTU: b.MTU, NetNS: far.FD()},
	))
	if err == nil {
		err = at.Do(rtnl.GetLink(a.Name, &here))
	}
	if err == nil {
		err = errors.Join(setEnd(at, here.Index, a), setEnd(bt, here.Peer, b))
	}
	return err
}

func setEnd(c *rtnl.Conn, index int, e End) error {
	var steps []*rtnl.Request
	if e.Quiet {
		steps = append(steps, rtnl.SetAddrGenMode(index, e.Name, rtnl.GenNone))
	}
	steps = append(steps, rtnl.SetUp(index, e.Name, true))
	for _, p := range e.Addrs {
		steps = append(steps, rtnl.AddAddr(rtnl.Addr{Index: index, Prefix: p}, e.Name, rtnl.Replace))
	}
	return c.Do(steps...)
}

// SetUp sets a link of ns up.
func SetUp(ctx context.Context, ns *netns.NS, name string) error {
	return change(ctx, ns, name, func(l rtnl.Link) *rtnl.Request { return rtnl.SetUp(l.Index, name, true) })
}

// SetDown sets a link of ns down.
func SetDown(ctx context.Context, ns *netns.NS, name string) error {
	return change(ctx, ns, name, func(l rtnl.Link) *rtnl.Request { return rtnl.SetUp(l.Index, name, false) })
}

// Delete removes a link of ns, whoever made it, and the other end of a cable with it. A missing link is no error.
func Delete(ctx context.Context, ns *netns.NS, name string) error {
	err := change(ctx, ns, name, func(l rtnl.Link) *rtnl.Request { return rtnl.DeleteLink(l.Index, name) })
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// Bridge makes a switch named name in ns from links that are there, and sets it up. It makes no link-local address of its
// own: it only connects others.
func Bridge(ctx context.Context, ns *netns.NS, name string, ports ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := rtnl.Dial(ns)
	if err != nil {
		return err
	}
	defer c.Close()
	var l rtnl.Link
	if err := c.Do(rtnl.AddLink(name, "bridge"), rtnl.GetLink(name, &l)); err != nil {
		return err
	}
	steps := []*rtnl.Request{rtnl.SetAddrGenMode(l.Index, name, rtnl.GenNone), rtnl.SetUp(l.Index, name, true)}
	for _, port := range ports {
		p, ok, err := c.Link(port)
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("make bridge %s: port %s does not exist", name, port))
		}
		r := rtnl.SetLink(p.Index, port, "set bridge "+name)
		r.Uint32(unix.IFLA_MASTER, uint32(l.Index))
		steps = append(steps, r)
	}
	return c.Do(steps...)
}

func change(ctx context.Context, ns *netns.NS, name string, to func(rtnl.Link) *rtnl.Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := rtnl.Dial(ns)
	if err != nil {
		return err
	}
	defer c.Close()
	var l rtnl.Link
	if err := c.Do(rtnl.GetLink(name, &l)); err != nil {
		return err
	}
	return c.Do(to(l))
}
