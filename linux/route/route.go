// Package route keeps the routes of one owner in the main table of a host.
//
// The owner's mark is the protocol number of a route: `ip -6 route show proto 206`. Routes of others stay as they are; one
// of theirs for a destination of ours is reported as a Conflict.
package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// Protocol marks the routes of the agent (rt_protos).
const Protocol = 206

// Conflict is a route of another program for a destination of ours. Which of the two wins is the operator's to say.
type Conflict struct {
	Dst      netip.Prefix
	Protocol uint8 // of the other route
}

func (c *Conflict) Error() string {
	return fmt.Sprintf("route %s: another program (protocol %d) has a route for it; remove that route (ip -6 route del %s proto %d) or take the destination out of the configuration",
		c.Dst, c.Protocol, c.Dst, c.Protocol)
}

// Table is the routes with one protocol in the main table of one namespace.
type Table struct {
	conn     *rtnl.Conn
	protocol uint8
}

// Open opens the routes of ns that carry protocol; nil is the namespace of the process.
func Open(ns *netns.NS, protocol uint8) (*Table, error) {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return nil, fmt.Errorf("open the table of routes: %w", err)
	}
	return &Table{conn: conn, protocol: protocol}, nil
}

// Close closes the table. The routes stay.
func (t *Table) Close() error { return t.conn.Close() }

// Hush leaves what t does out of the events of a subscription; what others do to its routes is told.
func (t *Table) Hush(s *rtnl.Subscription) error { return s.Ignore(t.conn) }

// Ensure makes one route as wanted.
func (t *Table) Ensure(ctx context.Context, r desired.Route) error {
	if err := errors.Join(valid(r), ctx.Err()); err != nil {
		return err
	}
	index := 0
	if !r.Discard {
		l, ok, err := t.conn.Link(r.Link)
		if err == nil && !ok {
			err = fmt.Errorf("link %s does not exist", r.Link)
		}
		if err != nil {
			return fmt.Errorf("route %s: %w", r.Dst, err)
		}
		index = l.Index
	}
	exists := false
	err := t.conn.Do(rtnl.AddRoute(t.kernel(r, index), rtnl.IfAbsent).Fine(unix.EEXIST).OnFine(func(unix.Errno) { exists = true }))
	if err == nil && exists {
		err = t.settle(t.kernel(r, index))
	}
	return err
}

// Part is Ensure for a route over a link that is only being made; r.Link is not looked at.
func (t *Table) Part(r desired.Route) rtnl.Part {
	var made rtnl.Route
	return rtnl.Part{
		Request: func(index int) *rtnl.Request {
			made = t.kernel(r, index)
			return rtnl.AddRoute(made, rtnl.IfAbsent)
		},
		Exists: func() error { return t.settle(made) },
	}
}

// settle is called when the kernel has a route for that destination already: ours is replaced when it differs.
func (t *Table) settle(want rtnl.Route) error {
	list := t.conn.Routes
	if want.Dst.Addr().Is4() {
		list = t.conn.Routes4
	}
	// An address is looked up first: a table of 100,000 learned routes takes tenths of a second to list.
	if want.Dst.Addr().Is6() && want.Dst.IsSingleIP() {
		h, ok, err := t.conn.RouteTo(want.Dst.Addr())
		if err != nil {
			return err
		}
		if ok && h.Protocol == t.protocol && h.Table == unix.RT_TABLE_MAIN && equal(want, h) {
			return nil
		}
	}
	have, err := list(unix.RT_TABLE_MAIN, 0)
	if err != nil {
		return err
	}
	same := false
	for _, h := range have {
		if h.Dst != want.Dst {
			continue
		}
		if h.Protocol != t.protocol {
			return &Conflict{Dst: h.Dst, Protocol: h.Protocol}
		}
		same = same || equal(want, h)
	}
	if same {
		return nil
	}
	return t.conn.Do(rtnl.AddRoute(want, rtnl.Replace))
}

// Remove removes our route for a destination. A missing one, or one of another program, is no error.
func (t *Table) Remove(ctx context.Context, dst netip.Prefix) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.conn.Do(t.Removal(dst))
}

// Removal is Remove as a message that another table sends with its own.
func (t *Table) Removal(dst netip.Prefix) *rtnl.Request {
	return rtnl.DeleteRoute(rtnl.Route{Dst: dst, Protocol: t.protocol})
}

// Reconcile makes our routes equal to want and returns what it did by destination. It sends at most rtnl.MaxBatch routes
// at once. A changed route is replaced in one step. Routes that fail (a link is missing, a Conflict) are joined into the
// error and do not keep it from the others.
func (t *Table) Reconcile(ctx context.Context, want []desired.Route) (diff.Delta[string], error) {
	if err := ctx.Err(); err != nil {
		return diff.Delta[string]{}, err
	}
	links, err := t.conn.Links()
	if err != nil {
		return diff.Delta[string]{}, err
	}
	all, err := t.conn.Routes(unix.RT_TABLE_MAIN, 0)
	if err != nil {
		return diff.Delta[string]{}, err
	}
	all4, err := t.conn.Routes4(unix.RT_TABLE_MAIN, 0)
	if err != nil {
		return diff.Delta[string]{}, err
	}
	all = append(all, all4...)
	have, foreign := t.sort(all)
	wanted, errs := t.resolve(want, links, have, foreign)
	delta := diff.For(wanted, have, equal)
	done, err := rtnl.Apply(ctx, t.conn, delta, rtnl.Changes{
		Remove: func(dst string) *rtnl.Request { return rtnl.DeleteRoute(have[dst]) },
		Add:    func(dst string) *rtnl.Request { return rtnl.AddRoute(wanted[dst], rtnl.IfAbsent) },
		Change: func(dst string) *rtnl.Request { return rtnl.AddRoute(wanted[dst], rtnl.Replace) },
	})
	return done, errors.Join(append(errs, err)...)
}

// sort divides routes by owner, each by destination.
func (t *Table) sort(all []rtnl.Route) (have, foreign map[string]rtnl.Route) {
	have, foreign = make(map[string]rtnl.Route), make(map[string]rtnl.Route)
	for _, r := range all {
		switch {
		case Learned(r, t.protocol): // the FIB's
		case r.Protocol != t.protocol:
			foreign[r.Dst.String()] = r
		case r.Metric == rtnl.DefaultMetric:
			have[r.Dst.String()] = r
		default: // ours by its mark, but not as we make them
			have[fmt.Sprintf("%s metric %d", r.Dst, r.Metric)] = r
		}
	}
	return have, foreign
}

// resolve turns wanted routes into the kernel's, by destination. What cannot be had is left out; beside the route of
// another program our own stays as it is, until the operator has decided.
func (t *Table) resolve(want []desired.Route, links []rtnl.Link, have, foreign map[string]rtnl.Route) (map[string]rtnl.Route, []error) {
	index := make(map[string]int, len(links))
	for _, l := range links {
		index[l.Name] = l.Index
	}
	wanted := make(map[string]rtnl.Route, len(want))
	var errs []error
	for _, r := range want {
		dst := r.Dst.String()
		other, conflict := foreign[dst]
		switch err := valid(r); {
		case err != nil:
			errs = append(errs, err)
		case conflict:
			errs = append(errs, &Conflict{Dst: other.Dst, Protocol: other.Protocol})
			if mine, ok := have[dst]; ok {
				wanted[dst] = mine
			}
		case !r.Discard && index[r.Link] == 0:
			errs = append(errs, fmt.Errorf("route %s: link %s does not exist", dst, r.Link))
		default:
			wanted[dst] = t.kernel(r, index[r.Link])
		}
	}
	return wanted, errs
}

func valid(r desired.Route) error {
	switch {
	case !r.Dst.IsValid() || r.Dst.Addr().Is4In6() || r.Dst != r.Dst.Masked():
		return fmt.Errorf("route %s: not an IPv6 or IPv4 prefix", r.Dst)
	case r.Discard && (r.Via.IsValid() || r.Link != ""):
		return fmt.Errorf("route %s: a discard route has neither next hop nor link", r.Dst)
	case !r.Discard && r.Link == "":
		return fmt.Errorf("route %s: the link is missing", r.Dst)
	}
	return nil
}

// kernel is a wanted route in the kernel's words.
//
// A discard route is "unreachable", not "blackhole": the sender of a packet to an unused address is told at once
// (RFC 7084 4.2, WPD-5: drop, and SHOULD answer Destination Unreachable), local programs fail instead of waiting, and a
// scan is answered only as fast as the kernel's ICMPv6 limit allows (RFC 4443 2.4 f).
func (t *Table) kernel(r desired.Route, index int) rtnl.Route {
	k := rtnl.Route{
		Dst: r.Dst, Via: r.Via, Index: index, Link: r.Link, Type: unix.RTN_UNICAST,
		Protocol: t.protocol, Table: unix.RT_TABLE_MAIN, Metric: rtnl.DefaultMetric,
	}
	if r.Discard {
		k.Type, k.Index = unix.RTN_UNREACHABLE, 0
	}
	return k
}

// equal compares what was wanted with what the kernel shows: a discard route is shown over lo.
func equal(want, have rtnl.Route) bool {
	return want.Dst == have.Dst && want.Type == have.Type && want.Metric == have.Metric && want.Via == have.Via &&
		have.Paths == 0 && (want.Type != unix.RTN_UNICAST || want.Index == have.Index)
}
