package link

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/rtnl"
)

// readyLimit bounds the wait for the kernel's workers. They want the RTNL lock, which a busy host gives late but gives.
const readyLimit = 5 * time.Second

// listening waits until an endpoint answers under its addresses. The kernel takes an address without duplicate address
// detection at once, but begins to listen for it (the "local" route) in a worker of its own that has to wait for the
// RTNL lock: usually a fraction of a millisecond later, tens of milliseconds while it removes namespaces. A runtime starts
// its container right after an ADD, so the first packet to it would be lost.
func listening(ctx context.Context, in *rtnl.Conn, addrs []netip.Addr) error {
	for first := true; ; first = false {
		local, err := in.Routes(unix.RT_TABLE_LOCAL, 0)
		if err != nil {
			return err
		}
		if listens(local, addrs) {
			return nil
		}
		if first { // rarely: the worker has been waiting for the lock as long as we had it
			err = in.Join(rtnl.Routes) // and what came before it joined is seen by the next look
		} else {
			err = in.Await(ctx)
		}
		if err != nil {
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
		if !there[a] && !a.Is4() { // IPv4 has no such worker
			return false
		}
	}
	return true
}

// sending waits until the host side passes packets on. Its carrier comes when the inside is switched on, and until a worker of
// the kernel has seen that, its queue drops everything. From kernel 6.8 on, asking for the link makes the kernel look at once;
// before, the link's event tells.
func (t *Table) sending(ctx context.Context, host rtnl.Link) error {
	runs := func() (bool, error) {
		var l rtnl.Link
		err := t.conn.Do(rtnl.GetLinkIndex(host.Index, &l))
		return l.Running, err
	}
	if ok, err := runs(); ok || err != nil {
		return err
	}
	events, err := rtnl.Subscribe(t.ns, rtnl.Links)
	if err != nil {
		return err
	}
	defer events.Close()
	for {
		if ok, err := runs(); ok || err != nil {
			return err
		}
		if _, err := events.Receive(ctx); err != nil {
			return fmt.Errorf("wait until %s sends: %w", host.Name, err)
		}
	}
}
