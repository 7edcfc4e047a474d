package link

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// Ready waits until an endpoint answers under its addresses. The kernel takes an address without duplicate address
// detection at once, but begins to listen for it (the "local" route) in a worker of its own that has to wait for the
// RTNL lock: usually a fraction of a millisecond after Ensure, tens of milliseconds while it removes namespaces.
func (t *Table) Ready(ctx context.Context, l desired.Link) error {
	err := ready(ctx, l)
	if err != nil {
		return fmt.Errorf("endpoint %s: wait for its addresses: %w", l.Key, err)
	}
	return nil
}

func ready(ctx context.Context, l desired.Link) error {
	ns, err := netns.Open(l.NetNS)
	if err != nil {
		return err
	}
	defer ns.Close()
	events, err := rtnl.Subscribe(ns, rtnl.Routes)
	if err != nil {
		return err
	}
	defer events.Close()
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		local, err := conn.Routes(unix.RT_TABLE_LOCAL, 0)
		if err != nil {
			return err
		}
		if listens(local, l.Addrs) {
			return nil
		}
		if _, err := events.Receive(ctx); err != nil {
			return err
		}
	}
}

// listens tells whether each address has its local route.
func listens(local []rtnl.Route, addrs []netip.Addr) bool {
	there := make(map[netip.Addr]bool, len(local))
	for _, r := range local {
		if r.Type == unix.RTN_LOCAL && r.Dst.IsSingleIP() {
			there[r.Dst.Addr()] = true
		}
	}
	for _, a := range addrs {
		if !there[a] {
			return false
		}
	}
	return true
}
