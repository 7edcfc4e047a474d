// Package delegation keeps the prefixes that a DHCPv6 server delegates to a host that has none in the configuration (RFC 8415).
package delegation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/api/v1alpha1"
	edge "hexapod.dev/edge/dhcp"
	"hexapod.dev/linux/dhcp"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/router"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// leaseName is the file in the state folder that keeps what a server delegated to this host.
const leaseName = "delegation.json"

// Options are what a delegation works with.
type Options struct {
	StateDir string          // folder of the agent
	Uplink   v1alpha1.Uplink // on which a server is asked
	NS       *netns.NS       // namespace of the host; nil: that of the process
	Conn     *rtnl.Conn
	Log      *slog.Logger

	Snapshot func() desired.Snapshot
	Fit      func(netip.Prefix) desired.Why // why a prefix cannot be that of this host; empty: it can
	Tell     func(edge.Holding)             // told of what is held from now on
}

// Delegation is the source of the prefix of a host that has none in the configuration. Open makes it; Run asks and renews. A nil one does
// nothing: the configuration gives this host its prefix.
type Delegation struct {
	options Options
	port    *dhcp.Port
	client  *edge.Client
	routers *ndp.Routers  // hears whether prefixes are delegated on the link; nil when that is asked from the start
	up      chan struct{} // the link came up
}

// Why a delegated prefix is not used, beside those of model/desired.
const (
	notDelegated   desired.Why = "no server has delegated a prefix to this host yet"
	notAdvertised  desired.Why = "no router on the uplink says that prefixes are delegated there (the P flag of RFC 9762)"
	prefixDraining desired.Why = "the server has not renewed the prefix: it has no new endpoints any more, and those that live go on until it ends"
)

// Open makes the client. What an earlier life of the agent was given is told from here on.
func Open(o Options) (_ *Delegation, err error) {
	l, ok, err := o.Conn.Link(o.Uplink.Name)
	if err == nil && !ok {
		err = errors.New("the link does not exist on this host")
	}
	if err != nil {
		return nil, fmt.Errorf("ask for a prefix on uplink %s: %w", o.Uplink.Name, err)
	}
	d := &Delegation{options: o, up: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.port, err = dhcp.Open(o.NS, o.Uplink.Name); err != nil {
		return nil, err
	}
	if o.Uplink.PrefixSource == v1alpha1.PrefixAuto {
		if d.routers, err = ndp.OpenRouters(o.NS); err != nil {
			return nil, err
		}
	}
	d.client, err = edge.New(edge.Options{
		Link: o.Uplink.Name, MAC: l.MAC, Hint: o.Uplink.PrefixLength, Begin: o.Uplink.PrefixSource == v1alpha1.PrefixDHCPv6,
		Port: d.port, Clock: edge.SystemClock{}, Store: edge.File(filepath.Join(o.StateDir, leaseName)), Log: o.Log, Tell: o.Tell,
	})
	return d, err
}

// Close closes the sockets. What was delegated stays this host's.
func (d *Delegation) Close() (err error) {
	if d == nil {
		return nil
	}
	if d.routers != nil {
		err = d.routers.Close()
	}
	if d.port != nil {
		err = errors.Join(err, d.port.Close())
	}
	return err
}

// Run keeps the delegation until ctx ends.
func (d *Delegation) Run(ctx context.Context) error {
	if d == nil {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.client.Run(ctx) })
	if d.routers != nil {
		g.Go(func() error { return d.routers.Run(ctx) })
		g.Go(func() error { return d.listen(ctx) })
	}
	return g.Wait()
}

// listen asks for a prefix as soon as a router says that they are delegated (RFC 9762 6).
func (d *Delegation) listen(ctx context.Context) error {
	hear := func() {
		if _, err := d.routers.Reconcile(ctx, map[string]ndp.RouterLink{d.options.Uplink.Name: {}}); err != nil && ctx.Err() == nil {
			d.options.Log.Warn("routers on the uplink are not heard", "uplink", d.options.Uplink.Name, "error", err)
			return
		}
		if l, ok, err := d.options.Conn.Link(d.options.Uplink.Name); err == nil && ok {
			if err := router.Solicit(d.options.NS, l.Index); err != nil { // else they are heard when they speak by themselves
				d.options.Log.Debug("routers on the uplink are not asked", "uplink", d.options.Uplink.Name, "error", err)
			}
		}
	}
	hear()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.up:
			hear()
		case <-d.routers.Changed():
			if slices.ContainsFunc(d.routers.State()[d.options.Uplink.Name].Routers, ndp.Router.Delegates) {
				d.client.Ask()
			}
		}
	}
}

// LinkUp tells the client that a link came up: if it is the uplink, another network may be behind it.
func (d *Delegation) LinkUp(name string) {
	if d == nil || d.options.Uplink.Name != name {
		return
	}
	d.client.LinkUp()
	select {
	case d.up <- struct{}{}:
	default:
	}
}

// Release gives a delegated prefix back when nothing of this host uses it any more, and tells so in words. It needs StateDir and NS alone. A server that does not answer
// keeps no host from being cleaned up.
func Release(ctx context.Context, o Options) (report string, err error) {
	file := edge.File(filepath.Join(o.StateDir, leaseName))
	kept, err := file.Load()
	if err != nil || len(kept.Lease.Prefixes) == 0 {
		return "", err
	}
	port, err := dhcp.Open(o.NS, kept.Link)
	if err != nil {
		return "", err
	}
	released, answered, err := edge.Release(ctx, edge.Options{Link: kept.Link, Port: port, Clock: edge.SystemClock{}, Store: file})
	switch {
	case answered:
		report = fmt.Sprintf("prefixes given back to the DHCPv6 server: %d\n", len(released))
	case len(released) > 0:
		report = fmt.Sprintf("prefixes given up: %d; the DHCPv6 server did not hear of it: %v\n", len(released), cmp.Or(err, errNoAnswer))
		err = nil
	}
	return report, errors.Join(err, port.Close())
}

// errNoAnswer is why a server does not know that a prefix was given up.
var errNoAnswer = errors.New("it did not answer")
