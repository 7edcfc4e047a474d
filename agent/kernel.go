package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/linux/datapath"
	"hexapod.dev/linux/link"
	"hexapod.dev/linux/neigh"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/router"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/linux/sysctl"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// kernel is the tables of the kernel that the agent keeps, in one network namespace.
type kernel struct {
	conn       *rtnl.Conn
	links      *link.Table
	addresses  *link.Addresses
	routes     *route.Table
	neighbours *neigh.Table
	care       *sysctl.Care
	routers    *router.Watch
	datapath   *datapath.Table // nil without eBPF programs
	opened     closers
}

// openKernel opens the tables of ns; nil is the namespace of the process.
func openKernel(ns *netns.NS) (_ *kernel, err error) {
	k := &kernel{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the kernel's tables: %w", err), k.Close())
		}
	}()
	if k.conn, err = open(k, func() (*rtnl.Conn, error) { return rtnl.Dial(ns) }); err != nil {
		return nil, err
	}
	if k.links, err = open(k, func() (*link.Table, error) { return link.Open(ns) }); err != nil {
		return nil, err
	}
	if k.addresses, err = open(k, func() (*link.Addresses, error) { return link.OpenAddresses(ns, route.Protocol) }); err != nil {
		return nil, err
	}
	if k.routes, err = open(k, func() (*route.Table, error) { return route.Open(ns, route.Protocol) }); err != nil {
		return nil, err
	}
	if k.care, err = open(k, func() (*sysctl.Care, error) { return sysctl.OpenCare(ns) }); err != nil {
		return nil, err
	}
	if k.routers, err = open(k, func() (*router.Watch, error) { return router.Open(ns) }); err != nil {
		return nil, err
	}
	k.neighbours, err = open(k, func() (*neigh.Table, error) { return neigh.Open(ns, route.Protocol) })
	return k, err
}

// open opens one table and notes that it has to be closed.
func open[T io.Closer](k *kernel, table func() (T, error)) (T, error) {
	t, err := table()
	if err == nil {
		k.opened.add(t)
	}
	return t, err
}

// Close closes the tables. What they hold stays.
func (k *kernel) Close() error { return k.opened.Close() }

// Connect makes everything one endpoint needs, whatever is there of it, in three sends when nothing is. begun is its link if that
// has begun, else nil. kin are the other endpoints of its container.
func (k *kernel) Connect(ctx context.Context, begun *link.Begun, e desired.Endpoint, kin []desired.Endpoint, sizes desired.Sizes) error {
	var parts []rtnl.Part
	for _, r := range desired.RoutesFor(e) {
		parts = append(parts, k.routes.Part(r))
	}
	for _, n := range desired.NeighboursFor(e) {
		parts = append(parts, k.neighbours.Part(n))
	}
	if k.datapath == nil {
		return k.links.EnsureBegun(ctx, begun, desired.LinkFor(e, sizes), parts...)
	}
	index := 0
	parts = append(parts, k.datapath.Parts(desired.LinkName(e.Key), &index)...)
	if err := k.links.EnsureBegun(ctx, begun, desired.LinkFor(e, sizes), parts...); err != nil {
		return err
	}
	return k.datapath.EnsureEndpoint(index, e, kin)
}

// Disconnect takes an endpoint out of service: its routes go, its link waits for Reap and takes the neighbours with it.
func (k *kernel) Disconnect(ctx context.Context, e desired.Endpoint) error {
	var removals []*rtnl.Request
	for _, r := range desired.RoutesFor(e) {
		removals = append(removals, k.routes.Removal(r.Dst))
	}
	var forgotten error
	if k.datapath != nil { // first: from here on nothing from or to it passes
		forgotten = k.datapath.RemoveEndpoint(e)
	}
	return errors.Join(forgotten, k.links.Retire(ctx, e.Key, removals...))
}

// Check tells what of an endpoint is not as wanted; nil when everything is.
func (k *kernel) Check(ctx context.Context, e desired.Endpoint, sizes desired.Sizes) error {
	if err := k.links.Check(ctx, desired.LinkFor(e, sizes)); err != nil {
		return err
	}
	return errors.Join(k.checkRoutes(e), k.checkNeighbours(e))
}

// Links makes the links of all endpoints as wanted.
func (k *kernel) Links(ctx context.Context, st desired.State) (diff.Delta[string], error) {
	return k.links.Reconcile(ctx, slices.Collect(maps.Values(st.Links)))
}

// Widen lets uplinks take super-packets as large as endpoints do.
func (k *kernel) Widen(st desired.State) error {
	if st.Segments <= desired.PlainSegments {
		return nil
	}
	return k.links.Widen(st.Uplinks, st.Segments)
}

// Routes makes the routes of this host as wanted.
func (k *kernel) Routes(ctx context.Context, st desired.State) (diff.Delta[string], error) {
	return k.routes.Reconcile(ctx, slices.Collect(maps.Values(st.Routes)))
}

// Neighbours makes the permanent neighbours of this host as wanted.
func (k *kernel) Neighbours(ctx context.Context, st desired.State) (diff.Delta[string], error) {
	return k.neighbours.Reconcile(ctx, slices.Collect(maps.Values(st.Neighbours)))
}

// Addresses makes the addresses of the host itself as wanted.
func (k *kernel) Addresses(ctx context.Context, st desired.State) (diff.Delta[string], error) {
	want := make([]link.Address, len(st.Addresses))
	for i, a := range st.Addresses {
		want[i] = link.Address{Link: "lo", Prefix: netip.PrefixFrom(a, a.BitLen())}
	}
	return k.addresses.Reconcile(ctx, want)
}
