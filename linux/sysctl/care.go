package sysctl

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// Why an uplink is not cared for.
const (
	OwnedByNetworkd desired.Why = "systemd-networkd looks after it; write IPv6AcceptRA=yes in its .network file, for networkd stops listening when the host forwards"
	OwnedByNM       desired.Why = "NetworkManager looks after it and listens for router advertisements itself"
	OwnedByOther    desired.Why = "another program listens for router advertisements there (accept_ra is 0, but routes came from one)"
)

// Care keeps a host reachable while it forwards.
//
// A host that forwards takes no router advertisements on links where accept_ra is 1 (RFC 4861 6.3.4 is for hosts, and one
// that forwards is a router): its default route vanishes in the same instant. With accept_ra=2 a link goes on listening.
// It is set link by link: conf.all.accept_ra has no effect on links that exist, and conf.default would make the host
// listen to every link that comes later, those of endpoints and containers included.
type Care struct {
	settings *Table
	conn     *rtnl.Conn
	kernel   release
	run      string // where other programs say which links are theirs
}

// OpenCare opens the care of ns; nil is the namespace of the process. ns stays the caller's and open as long as the Care.
func OpenCare(ns *netns.NS) (*Care, error) {
	kernel, err := runningKernel()
	if err != nil {
		return nil, fmt.Errorf("open the care of the host: %w", err)
	}
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return nil, fmt.Errorf("open the care of the host: %w", err)
	}
	return &Care{settings: Open(ns), conn: conn, kernel: kernel, run: "/run"}, nil
}

// Remember keeps in a file what each setting was before the care changes it.
func (c *Care) Remember(file Originals) { c.settings.was = file }

// ForwardIPv4 switches the forwarding of IPv4 on, for the hosts of a dual-stack fabric.
func (c *Care) ForwardIPv4(ctx context.Context) (diff.Delta[Key], error) {
	if err := ctx.Err(); err != nil {
		return diff.Delta[Key]{}, err
	}
	return c.settings.Reconcile(map[Key]string{"net/ipv4/ip_forward": "1"})
}

// Close closes the care. The settings stay.
func (c *Care) Close() error { return c.conn.Close() }

// Report is what a look at the host led to.
type Report struct {
	Delta diff.Delta[Key]  // settings that were changed
	Left  []desired.Undone // uplinks that were left alone, and why
	Cared []string         // the others, by name
	Deaf  []string         // those among them that had lost their default route already: they forwarded and did not listen
}

// Empty tells whether nothing was changed.
func (r Report) Empty() bool { return r.Delta.Empty() }

// Reconcile makes every uplink go on listening to router advertisements and then switches forwarding on, in this order.
// Uplinks are those that are named and those with routes from an advertisement. Where advertisements are switched off
// (accept_ra=0) they stay so. When an uplink cannot be set, forwarding stays as it is.
func (c *Care) Reconcile(ctx context.Context, uplinks []string) (Report, error) {
	var report Report
	if err := ctx.Err(); err != nil {
		return report, err
	}
	links, err := c.conn.Links()
	if err != nil {
		return report, err
	}
	advertised, err := c.conn.Routes(unix.RT_TABLE_MAIN, unix.RTPROT_RA)
	if err != nil {
		return report, err
	}
	byName := make(map[string]rtnl.Link, len(links))
	for _, l := range links {
		byName[l.Name] = l
	}
	want := make(map[Key]string)
	for _, name := range listening(uplinks, links, advertised) {
		l, ok := byName[name]
		if !ok {
			report.Left = append(report.Left, desired.Undone{Kind: "uplink", Name: name, Why: desired.UplinkMissing})
			continue
		}
		hears := slices.ContainsFunc(advertised, func(r rtnl.Route) bool { return r.Index == l.Index })
		if why := c.owner(l, hears); why != "" {
			report.Left = append(report.Left, desired.Undone{Kind: "uplink", Name: name, Why: why})
			continue
		}
		report.Cared = append(report.Cared, name)
		if l.AcceptRA == 1 {
			want[IPv6(name, "accept_ra")] = "2"
			configured, err := c.configured(l.Index)
			if err != nil {
				return report, err
			}
			if l.Forwarding == 1 && !configured {
				report.Deaf = append(report.Deaf, name)
			}
		}
	}
	if report.Delta, err = c.settings.Reconcile(want); err != nil {
		return report, fmt.Errorf("forwarding is not switched on, for an uplink could lose its default route: %w", err)
	}
	forward, err := c.settings.Reconcile(map[Key]string{IPv6("all", "forwarding"): "1"})
	report.Delta.Change = append(report.Delta.Change, forward.Change...)
	return report, err
}

// configured tells whether a person or a program other than the kernel set a default route over a link: then none was lost.
func (c *Care) configured(index int) (bool, error) {
	for _, protocol := range []uint8{unix.RTPROT_BOOT, unix.RTPROT_STATIC, unix.RTPROT_DHCP} {
		routes, err := c.conn.Routes(unix.RT_TABLE_MAIN, protocol)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(routes, func(r rtnl.Route) bool { return r.Dst.Bits() == 0 && r.Index == index }) {
			return true, nil
		}
	}
	return false, nil
}

// listening is the uplinks that are named and those that show by a route that they listen, sorted.
func listening(named []string, links []rtnl.Link, advertised []rtnl.Route) []string {
	names := slices.Clone(named)
	for _, l := range links {
		if !l.OfEndpoint() && slices.ContainsFunc(advertised, func(r rtnl.Route) bool { return r.Index == l.Index }) {
			names = append(names, l.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// index is the name of a link's file in the state of other programs.
func index(l rtnl.Link) string { return strconv.Itoa(l.Index) }
