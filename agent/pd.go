package agent

import (
	"net/netip"
	"slices"

	"hexapod.dev/agent/delegation"
	edge "hexapod.dev/edge/dhcp"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

// Why a delegated prefix is not used.
const (
	prefixTaken desired.Why = "the server delegated a prefix that overlaps another host's or a pool; it is not used"
	prefixUnfit desired.Why = "the server delegated a prefix that leaves no room for endpoints; it is not used"
)

// openDelegation asks for a prefix if the configuration wants that.
func (a *Agent) openDelegation(closing *closers) (err error) {
	uplink := a.config.Load().source
	if uplink == nil {
		return nil
	}
	a.delegation, err = delegation.Open(delegation.Options{
		StateDir: a.options.StateDir, Uplink: *uplink, NS: a.options.NS, Conn: a.kernel.conn, Log: a.log, Snapshot: a.sections.Snapshot, Tell: a.delegated,
		Fit: func(p netip.Prefix) desired.Why { _, why := a.fit(p); return why },
	})
	if err != nil {
		return err
	}
	closing.add(a.delegation)
	a.metrics.registry.MustRegister(delegation.Collector{Delegation: a.delegation})
	return nil
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
