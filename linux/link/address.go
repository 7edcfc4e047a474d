package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/diff"
)

// Address is an IPv6 address of an ordinary link, such as the router address of a host on lo.
type Address struct {
	Link   string
	Prefix netip.Prefix // the address with the length of its on-link prefix
}

func (a Address) String() string { return a.Link + " " + a.Prefix.String() }

// Addresses is the addresses with one protocol mark in one namespace, those of endpoints' links left out.
type Addresses struct {
	conn     *rtnl.Conn
	protocol uint8
}

// OpenAddresses opens the addresses of ns that carry protocol; nil is the namespace of the process.
func OpenAddresses(ns *netns.NS, protocol uint8) (*Addresses, error) {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return nil, fmt.Errorf("open the table of addresses: %w", err)
	}
	return &Addresses{conn: conn, protocol: protocol}, nil
}

// Close closes the table. The addresses stay.
func (t *Addresses) Close() error { return t.conn.Close() }

// Ensure sets one address, usable at once. One that somebody else has set is left as it is and counts as there.
func (t *Addresses) Ensure(ctx context.Context, a Address) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	index, err := t.index(a.Link)
	if err != nil {
		return fmt.Errorf("address %s: %w", a.Prefix, err)
	}
	return t.conn.Do(t.add(index, a).Fine(unix.EEXIST))
}

// Remove removes one address of ours. A missing one, a missing link or one that somebody else has set is no error.
func (t *Addresses) Remove(ctx context.Context, a Address) error {
	have, err := t.list(ctx)
	if err != nil {
		return err
	}
	h, ok := have[a.String()]
	if !ok || h.Protocol != t.protocol {
		return nil
	}
	return t.conn.Do(rtnl.DeleteAddr(h, a.Link))
}

// Reconcile sets the wanted addresses and removes others of ours; it returns what it did as "link address/length".
func (t *Addresses) Reconcile(ctx context.Context, want []Address) (diff.Delta[string], error) {
	have, err := t.list(ctx)
	if err != nil {
		return diff.Delta[string]{}, err
	}
	wanted := make(map[string]Address, len(want))
	for _, a := range want {
		wanted[a.String()] = a
	}
	delta := diff.For(wanted, have, func(Address, rtnl.Addr) bool { return true })
	var done diff.Delta[string]
	var errs []error
	for _, name := range delta.Add {
		if err := t.Ensure(ctx, wanted[name]); err != nil {
			errs = append(errs, err)
			continue
		}
		done.Add = append(done.Add, name)
	}
	for _, name := range delta.Remove {
		if have[name].Protocol != t.protocol {
			continue
		}
		if err := t.conn.Do(rtnl.DeleteAddr(have[name], name)); err != nil {
			errs = append(errs, err)
			continue
		}
		done.Remove = append(done.Remove, name)
	}
	return done, errors.Join(errs...)
}

func (t *Addresses) add(index int, a Address) *rtnl.Request {
	return rtnl.AddAddr(rtnl.Addr{Index: index, Prefix: a.Prefix, Protocol: t.protocol}, a.Link, rtnl.IfAbsent)
}

func (t *Addresses) index(name string) (int, error) {
	l, ok, err := t.conn.Link(name)
	if err == nil && !ok {
		err = fmt.Errorf("link %s does not exist", name)
	}
	return l.Index, err
}

// list is all addresses of ordinary links, by "link address/length".
func (t *Addresses) list(ctx context.Context) (map[string]rtnl.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	links, err := t.conn.Links()
	if err != nil {
		return nil, err
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		if !l.OfEndpoint() {
			names[l.Index] = l.Name
		}
	}
	addrs, err := t.conn.Addrs(0)
	if err != nil {
		return nil, err
	}
	have := make(map[string]rtnl.Addr)
	for _, a := range addrs {
		if name, ok := names[a.Index]; ok {
			have[Address{Link: name, Prefix: a.Prefix}.String()] = a
		}
	}
	return have, nil
}
