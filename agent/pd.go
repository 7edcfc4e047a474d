package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/api/v1alpha1"
	edge "hexapod.dev/edge/dhcp"
	"hexapod.dev/linux/dhcp"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/router"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

// leaseName is the file in the state folder that keeps what a server delegated to this host.
const leaseName = "delegation.json"

// delegation is the source of the prefix of a host that has none in the configuration.
type delegation struct {
	uplink  v1alpha1.Uplink
	client  *edge.Client
	routers *ndp.Routers  // hears whether prefixes are delegated on the link; nil when that is asked from the start
	up      chan struct{} // the link came up
}

// Why a delegated prefix is not used, beside those of model/desired.
const (
	notDelegated   desired.Why = "no server has delegated a prefix to this host yet"
	notAdvertised  desired.Why = "no router on the uplink says that prefixes are delegated there (the P flag of RFC 9762)"
	prefixDraining desired.Why = "the server has not renewed the prefix: it has no new endpoints any more, and those that live go on until it ends"
	prefixTaken    desired.Why = "the server delegated a prefix that overlaps another host's or a pool; it is not used"
	prefixUnfit    desired.Why = "the server delegated a prefix that leaves no room for endpoints; it is not used"
)

// openDelegation makes the client if the configuration asks for one. What an earlier life of the agent was given is used from here on.
func (a *Agent) openDelegation(closing *closers) error {
	uplink := a.config.Load().source
	if uplink == nil {
		return nil
	}
	l, ok, err := a.kernel.conn.Link(uplink.Name)
	if err == nil && !ok {
		err = errors.New("the link does not exist on this host")
	}
	if err != nil {
		return fmt.Errorf("ask for a prefix on uplink %s: %w", uplink.Name, err)
	}
	port, err := dhcp.Open(a.options.NS, uplink.Name)
	if err != nil {
		return err
	}
	closing.add(port)
	d := &delegation{uplink: *uplink, up: make(chan struct{}, 1)}
	if uplink.PrefixSource == v1alpha1.PrefixAuto {
		if d.routers, err = ndp.OpenRouters(a.options.NS); err != nil {
			return err
		}
		closing.add(d.routers)
	}
	d.client, err = edge.New(edge.Options{
		Link: uplink.Name, MAC: l.MAC, Hint: uplink.PrefixLength, Begin: uplink.PrefixSource == v1alpha1.PrefixDHCPv6,
		Port: port, Clock: edge.SystemClock{}, Store: edge.File(filepath.Join(a.options.StateDir, leaseName)), Log: a.log, Tell: a.delegated,
	})
	a.delegation = d
	return err
}

// delegated takes what is held from now on: new endpoints get their addresses from it, those that live keep theirs.
func (a *Agent) delegated(h edge.Holding) {
	next := desired.Delegated{}
	for _, d := range h.Draining {
		next.Draining = append(next.Draining, d.Prefix)
	}
	var layout ipam.Layout
	if h.Prefix.IsValid() {
		var why desired.Why
		if layout, why = a.fit(h.Prefix); why == "" {
			next.Prefix = h.Prefix
		} else {
			a.log.Error(string(why), "prefix", h.Prefix)
		}
	}
	a.sections.SetDelegated(next) // before the book: an address of it must be known as ours
	if a.book != nil {
		if err := a.book.Use(layout); err != nil {
			a.log.Error("the delegated prefix cannot be used", "prefix", h.Prefix, "error", err)
			return
		}
	}
	a.log.Info("delegated prefixes", "new endpoints", next.Prefix, "draining", next.Draining)
	if len(a.runners) > 0 {
		a.kick(parts...)
		a.kick(partBGP, partAnswers, partPolicy, partDNS) // routers and neighbours have to know, too
	}
}

// fit tells whether a delegated prefix can be that of this host, and how its addresses are written.
func (a *Agent) fit(p netip.Prefix) (ipam.Layout, desired.Why) {
	c := a.config.Load()
	others := slices.Clone(c.desired.Pools)
	for _, h := range c.desired.Peers {
		if !h.Retired && h.Prefix.IsValid() {
			others = append(others, desired.Pool{Prefix: h.Prefix})
		}
	}
	if slices.ContainsFunc(others, func(o desired.Pool) bool { return o.Prefix.Overlaps(p) }) {
		return ipam.Layout{}, prefixTaken
	}
	layout, err := ipam.NewLayout(p, c.sealFor(p))
	if err != nil {
		return ipam.Layout{}, prefixUnfit
	}
	return layout, ""
}

// runDelegation keeps the delegation until ctx ends.
func (a *Agent) runDelegation(ctx context.Context) error {
	d := a.delegation
	if d == nil {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.client.Run(ctx) })
	if d.routers != nil {
		g.Go(func() error { return d.routers.Run(ctx) })
		g.Go(func() error { return a.listenForDelegation(ctx, d) })
	}
	return g.Wait()
}

// listenForDelegation asks for a prefix as soon as a router says that they are delegated (RFC 9762 6).
func (a *Agent) listenForDelegation(ctx context.Context, d *delegation) error {
	listen := func() {
		if _, err := d.routers.Reconcile(ctx, map[string]ndp.RouterLink{d.uplink.Name: {}}); err != nil && ctx.Err() == nil {
			a.log.Warn("routers on the uplink are not heard", "uplink", d.uplink.Name, "error", err)
			return
		}
		if l, ok, err := a.kernel.conn.Link(d.uplink.Name); err == nil && ok {
			if err := router.Solicit(a.options.NS, l.Index); err != nil { // else they are heard when they speak by themselves
				a.log.Debug("routers on the uplink are not asked", "uplink", d.uplink.Name, "error", err)
			}
		}
	}
	listen()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.up:
			listen()
		case <-d.routers.Changed():
			if slices.ContainsFunc(d.routers.State()[d.uplink.Name].Routers, ndp.Router.Delegates) {
				d.client.Ask()
			}
		}
	}
}

// linkUp tells the client that the uplink came up and may be another one.
func (d *delegation) linkUp(name string) {
	if d == nil || d.uplink.Name != name {
		return
	}
	d.client.LinkUp()
	select {
	case d.up <- struct{}{}:
	default:
	}
}

// releaseDelegation gives a delegated prefix back when nothing of this host uses it any more, and tells so. A server that does not answer
// keeps no host from being cleaned up.
func releaseDelegation(ctx context.Context, o Options) (report string, err error) {
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
