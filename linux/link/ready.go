package link

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/rtnl"
)

// listeningLimit bounds the wait for the kernel's worker. It waits for the RTNL lock like everybody else, so whoever gets here
// gets there.
const listeningLimit = 5 * time.Second

// listening waits until an endpoint answers under its addresses. The kernel takes an address without duplicate address
// detection at once, but begins to listen for it (the "local" route) in a worker of its own that has to wait for the
// RTNL lock: usually a fraction of a millisecond later, tens of milliseconds while it removes namespaces. A runtime starts
// its container right after an ADD, so the first packet to it would be lost.
func listening(ctx context.Context, in *rtnl.Conn, events *rtnl.Subscription, addrs []netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, listeningLimit)
	defer cancel()
	for {
		local, err := in.Routes(unix.RT_TABLE_LOCAL, 0)
		if err != nil {
			return err
		}
		if listens(local, addrs) {
			return nil
		}
		if _, err := events.Receive(ctx); err != nil {
			return fmt.Errorf("wait until it answers under %v: %w", addrs, err)
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
