// Package neigh keeps the permanent neighbours of one owner on the links of a host.
//
// The owner's mark is the protocol number of a neighbour (NDA_PROTOCOL): `ip -6 neigh show proto 206`. Entries that the
// kernel learned by itself give way; permanent ones of other programs stay and are reported as a Conflict.
package neigh

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

// Protocol marks the neighbours of the agent (rt_protos).
const Protocol = 206

// Conflict is a permanent neighbour of another program where one of ours is wanted.
type Conflict struct {
	Link     string
	Addr     netip.Addr
	Protocol uint8 // of the other entry; 0 when it did not say
}

func (c *Conflict) Error() string {
	return fmt.Sprintf("neighbour %s on link %s: another program (protocol %d) has made a permanent entry; remove it (ip -6 neigh del %s dev %s)",
		c.Addr, c.Link, c.Protocol, c.Addr, c.Link)
}

// Table is the neighbours with one protocol in one namespace.
type Table struct {
	conn     *rtnl.Conn
	protocol uint8
}

// Open opens the neighbours of ns that carry protocol; nil is the namespace of the process.
func Open(ns *netns.NS, protocol uint8) (*Table, error) {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return nil, fmt.Errorf("open the table of neighbours: %w", err)
	}
	return &Table{conn: conn, protocol: protocol}, nil
}

// Close closes the table. The neighbours stay.
func (t *Table) Close() error { return t.conn.Close() }

// name is how a delta names a neighbour.
func name(link string, a netip.Addr) string { return link + " " + a.String() }

// Ensure makes one neighbour as wanted.
func (t *Table) Ensure(ctx context.Context, n desired.Neighbour) error {
	if err := errors.Join(valid(n), ctx.Err()); err != nil {
		return err
	}
	l, ok, err := t.conn.Link(n.Link)
	if err == nil && !ok {
		err = fmt.Errorf("link %s does not exist", n.Link)
	}
	if err != nil {
		return fmt.Errorf("neighbour %s: %w", n.Addr, err)
	}
	exists := false
	add := rtnl.AddNeigh(t.kernel(n, l.Index), n.Link, rtnl.IfAbsent)
	err = t.conn.Do(add.Fine(unix.EEXIST).OnFine(func(unix.Errno) { exists = true }))
	if err == nil && exists {
		err = t.settle(n, l.Index)
	}
	return err
}

// Part is Ensure for a neighbour on a link that is only being made.
func (t *Table) Part(n desired.Neighbour) rtnl.Part {
	at := 0
	return rtnl.Part{
		Request: func(index int) *rtnl.Request {
			at = index
			return rtnl.AddNeigh(t.kernel(n, index), n.Link, rtnl.IfAbsent)
		},
		Exists: func() error { return t.settle(n, at) },
	}
}

// settle is called when the kernel has an entry for that address already.
func (t *Table) settle(n desired.Neighbour, index int) error {
	have, err := t.conn.Neighs(index)
	if err != nil {
		return err
	}
	want := t.kernel(n, index)
	for _, h := range have {
		switch {
		case h.Addr != n.Addr || h.Index != index:
		case h == want:
			return nil
		case h.Permanent && h.Protocol != t.protocol:
			return &Conflict{Link: n.Link, Addr: n.Addr, Protocol: h.Protocol}
		}
	}
	return t.conn.Do(rtnl.AddNeigh(want, n.Link, rtnl.Replace))
}

// Remove removes our neighbour. A missing one, a missing link, or one of another program is no error.
func (t *Table) Remove(ctx context.Context, link string, a netip.Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, ok, err := t.conn.Link(link)
	if err != nil || !ok {
		return err
	}
	have, err := t.conn.Neighs(l.Index)
	if err != nil {
		return err
	}
	for _, h := range have {
		if h.Addr == a && h.Protocol == t.protocol {
			return t.conn.Do(rtnl.DeleteNeigh(h, link))
		}
	}
	return nil
}

// Reconcile makes our neighbours equal to want and returns what it did by "link address". It sends at most rtnl.MaxBatch
// entries at once. Entries that fail (a link is missing, a Conflict) are joined into the error and do not keep it from
// the others.
func (t *Table) Reconcile(ctx context.Context, want []desired.Neighbour) (diff.Delta[string], error) {
	if err := ctx.Err(); err != nil {
		return diff.Delta[string]{}, err
	}
	links, err := t.conn.Links()
	if err != nil {
		return diff.Delta[string]{}, err
	}
	all, err := t.conn.Neighs(0)
	if err != nil {
		return diff.Delta[string]{}, err
	}
	index, names := make(map[string]int, len(links)), make(map[int]string, len(links))
	for _, l := range links {
		index[l.Name], names[l.Index] = l.Index, l.Name
	}
	have, foreign := make(map[string]rtnl.Neigh), make(map[string]rtnl.Neigh)
	for _, n := range all {
		switch key := name(names[n.Index], n.Addr); {
		case n.Protocol == t.protocol:
			have[key] = n
		case n.Permanent:
			foreign[key] = n
		}
	}
	wanted, errs := t.resolve(want, index, foreign)
	delta := diff.For(wanted, have, func(w, h rtnl.Neigh) bool { return w == h })
	done, err := rtnl.Apply(ctx, t.conn, delta, rtnl.Changes{
		Remove: func(k string) *rtnl.Request { return rtnl.DeleteNeigh(have[k], names[have[k].Index]) },
		Add:    func(k string) *rtnl.Request { return rtnl.AddNeigh(wanted[k], names[wanted[k].Index], rtnl.Replace) },
		Change: func(k string) *rtnl.Request { return rtnl.AddNeigh(wanted[k], names[wanted[k].Index], rtnl.Replace) },
	})
	return done, errors.Join(append(errs, err)...)
}

// resolve turns wanted neighbours into the kernel's, by name. What cannot be had is left out.
func (t *Table) resolve(want []desired.Neighbour, index map[string]int, foreign map[string]rtnl.Neigh) (map[string]rtnl.Neigh, []error) {
	wanted := make(map[string]rtnl.Neigh, len(want))
	var errs []error
	for _, n := range want {
		key := name(n.Link, n.Addr)
		other, conflict := foreign[key]
		switch err := valid(n); {
		case err != nil:
			errs = append(errs, err)
		case index[n.Link] == 0:
			errs = append(errs, fmt.Errorf("neighbour %s: link %s does not exist", n.Addr, n.Link))
		case conflict:
			errs = append(errs, &Conflict{Link: n.Link, Addr: n.Addr, Protocol: other.Protocol})
		default:
			wanted[key] = t.kernel(n, index[n.Link])
		}
	}
	return wanted, errs
}

func valid(n desired.Neighbour) error {
	switch {
	case !n.Addr.Is6() || n.Addr.Zone() != "":
		return fmt.Errorf("neighbour %s on link %s: not an IPv6 address", n.Addr, n.Link)
	case n.MAC == desired.MAC{}:
		return fmt.Errorf("neighbour %s on link %s: the MAC is missing", n.Addr, n.Link)
	}
	return nil
}

func (t *Table) kernel(n desired.Neighbour, index int) rtnl.Neigh {
	return rtnl.Neigh{Index: index, Addr: n.Addr, MAC: n.MAC, Protocol: t.protocol, Permanent: true}
}
