package netnstest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

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

// Connect lays a cable between two namespaces, a veth pair that carries no mark, sets both ends up and waits until they carry packets.
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
	// The kernel lets packets through a moment after it found the carrier, and tells of it then (linkwatch_do_dev).
	an, err := rtnl.Subscribe(a.NS, rtnl.Links)
	if err != nil {
		return err
	}
	defer an.Close()
	bn, err := rtnl.Subscribe(b.NS, rtnl.Links)
	if err != nil {
		return err
	}
	defer bn.Close()
	var here rtnl.Link
	err = at.Do(
		rtnl.AddVeth(rtnl.VethEnd{Name: a.Name, NetNS: -1}, rtnl.VethEnd{Name: b.Name, NetNS: b.NS.FD()}),
		rtnl.GetLink(a.Name, &here),
	)
	if err == nil {
		err = errors.Join(setEnd(at, here.Index, a), setEnd(bt, here.Peer, b))
	}
	if err == nil {
		err = errors.Join(running(an, at, a.Name), running(bn, bt, b.Name))
	}
	return err
}

// patience is for what the kernel does by itself, on a machine that does much else.
const patience = time.Minute

// running waits for the word that a link runs.
func running(news *rtnl.Subscription, c *rtnl.Conn, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		list, err := news.Receive(ctx)
		if err != nil {
			return fmt.Errorf("wait until %s runs: %w", name, err)
		}
		for _, e := range list {
			if e.Resync {
				l, _, err := c.Link(name)
				if err != nil || l.Running {
					return err
				}
			}
			if e.Link != nil && e.Link.Name == name && e.Link.Running {
				return nil
			}
		}
	}
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
