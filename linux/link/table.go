// Package link keeps the network interfaces of a host: the veth pair of every endpoint, and addresses of ordinary links.
//
// The peer of a pair is born inside the endpoint's namespace. Everything an endpoint needs is said to the kernel in three
// sends: make the pair, set up the host side with its route and neighbour, set up the inside. There is no duplicate
// address detection, no neighbour discovery and no router advertisement on these links.
package link

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/linux/sysctl"
	"hexapod.dev/model/desired"
)

// Marks of this project's links in the kernel; `ip link show group 26744` lists them.
const (
	Living  = rtnl.EndpointGroup // IFLA_GROUP of the links of endpoints
	Retired = rtnl.RetiredGroup  // IFLA_GROUP of links that wait for Reap
)

// Protocol marks routes, neighbours and addresses that this package sets (rt_protos).
const Protocol = 206

const maxAlias = 255 // IFALIASZ less its zero

// Table is the links of endpoints in one namespace of a host.
type Table struct {
	ns   *netns.NS
	conn *rtnl.Conn
	reap *rtnl.Conn // a reap waits for RCU grace periods; others do not have to wait with it
	do   func(*rtnl.Conn, ...*rtnl.Request) error

	incomplete incomplete
	bare       bool // somebody else answers for the gateway (GatewayAnswered)
}

// Open opens the table of ns; nil is the namespace of the process. ns stays the caller's and open as long as the Table.
func Open(ns *netns.NS) (*Table, error) {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return nil, fmt.Errorf("open the table of links: %w", err)
	}
	reap, err := rtnl.Dial(ns)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the table of links: %w", err), conn.Close())
	}
	return &Table{ns: ns, conn: conn, reap: reap, do: (*rtnl.Conn).Do}, nil
}

// Hush keeps from s what the table itself does.
func (t *Table) Hush(s *rtnl.Subscription) error { return s.Ignore(t.conn) }

// Close closes the table. The links stay.
func (t *Table) Close() error { return errors.Join(t.conn.Close(), t.reap.Close()) }

func foreign(l rtnl.Link) error {
	kind := l.Kind
	if kind == "" {
		kind = "link"
	}
	return fmt.Errorf("link %s: a %s of that name exists (group %d) and is not one of an endpoint; rename or delete it", l.Name, kind, l.Group)
}

// valid refuses what the kernel would cut off or take for something else.
func valid(l desired.Link) error {
	alias := desired.LinkAlias(l.Key)
	switch {
	case l.Name == "" || len(l.Name) > 15: // IFNAMSIZ less its zero
		return fmt.Errorf("link %q of %s: a name has 1 to 15 bytes", l.Name, l.Key)
	case l.Key.Interface == "" || len(l.Key.Interface) > 15:
		return fmt.Errorf("link %s: interface name %q inside the endpoint: a name has 1 to 15 bytes", l.Name, l.Key.Interface)
	case len(alias) > maxAlias:
		return fmt.Errorf("link %s: alias of %d bytes, the kernel keeps %d: the container id is too long", l.Name, len(alias), maxAlias)
	case l.HostMAC == desired.MAC{} || l.MAC == desired.MAC{}:
		return fmt.Errorf("link %s of %s: a MAC is missing", l.Name, l.Key)
	}
	for _, a := range l.Addrs {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			return fmt.Errorf("link %s of %s: %s is no address of an endpoint", l.Name, l.Key, a)
		}
	}
	if len(l.Addrs) > 0 && !l.Addrs[0].Is6() {
		return fmt.Errorf("link %s of %s: its first address has to be IPv6, it is %s", l.Name, l.Key, l.Addrs[0])
	}
	return nil
}

// dual tells whether an endpoint has an IPv4 address as well.
func dual(l desired.Link) bool { return slices.ContainsFunc(l.Addrs, netip.Addr.Is4) }

// hears tells whether the host would take an endpoint behind l for a router: where it forwards it listens only if accept_ra is 2
// (Documentation/networking/ip-sysctl.rst, accept_ra).
func hears(l rtnl.Link) bool { return l.AcceptRA == 2 || l.AcceptRA != 0 && l.Forwarding != 1 }

// refuseAdvertisements keeps the host from taking an endpoint for a router (RFC 4861 6.1.2), also when the default of
// this host is to listen.
func (t *Table) refuseAdvertisements(name string) error {
	return sysctl.Open(t.ns).Write(sysctl.IPv6(name, "accept_ra"), "0")
}
