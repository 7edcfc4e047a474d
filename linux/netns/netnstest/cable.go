package netnstest

import (
	"errors"
	"net/netip"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
)

// End is one end of a cable.
type End struct {
	NS    *netns.NS
	Name  string         // at most 15 bytes
	Addrs []netip.Prefix // set without duplicate address detection
	Quiet bool           // no link-local address by itself, and no traffic because of it
}

// Connect lays a cable between two namespaces, a veth pair that carries no mark, and sets both ends up.
func Connect(t testing.TB, a, b End) {
	t.Helper()
	if err := connect(a, b); err != nil {
		t.Fatalf("connect %s and %s: %v", a.Name, b.Name, err)
	}
}

func connect(a, b End) error {
	at, err := rtnl.Dial(a.NS)
	if err != nil {
		return err
	}
	defer at.Close()
	bt, err := rtnl.Dial(b.NS)
	if err != nil {
		return err
	}
	defer bt.Close()
	var here rtnl.Link
	err = at.Do(
		rtnl.AddVeth(rtnl.VethEnd{Name: a.Name, NetNS: -1}, rtnl.VethEnd{Name: b.Name, NetNS: b.NS.FD()}),
		rtnl.GetLink(a.Name, &here),
	)
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
