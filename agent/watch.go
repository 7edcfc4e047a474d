package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/link"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// The parts of the kernel that a runner each looks after, in the order in which they depend on each other.
const (
	partHost       = "host" // addresses of the host itself and its settings
	partLinks      = "links"
	partRoutes     = "routes"
	partNeighbours = "neighbours"
	partDatapath   = "datapath" // programs on links, what they know, and the guard
)

// Runners beside the parts: single endpoints that somebody disturbed, links of endpoints that are gone, and what links of new ones can
// do without for a second.
const (
	partEndpoints = "endpoints"
	partReap      = "reap"
	partComplete  = "complete"
)

// parts in the order of the first passes.
var parts = []string{partHost, partLinks, partDatapath, partRoutes, partNeighbours}

// subscribe begins to collect what others change in the kernel. It is called before the first pass, so that nothing between is missed.
func (a *Agent) subscribe() (*rtnl.Subscription, error) {
	return rtnl.Subscribe(a.options.NS, rtnl.Links, rtnl.Routes, rtnl.Neighbours, rtnl.Addresses, rtnl.Settings, rtnl.Filters)
}

// watch kicks the runner of a part when somebody else changed it, until ctx ends. What the agent does itself agrees with the
// snapshot and kicks nothing.
func (a *Agent) watch(ctx context.Context, sub *rtnl.Subscription) error {
	for {
		events, err := sub.Receive(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch the kernel: %w", err)
		}
		for _, e := range events {
			a.heard(e)
		}
	}
}

func (a *Agent) heard(e rtnl.Event) {
	switch {
	case e.Resync: // the kernel had more to say than it could keep: look at everything again
		if err := a.lookAtLinks(); err != nil {
			a.log.Error("cannot look at the links of this host", "error", err)
		}
		a.kick(parts...)
		a.kick(partLearned)
	case e.Link != nil:
		a.heardLink(*e.Link, e.Gone)
	case e.Route != nil:
		a.heardRoute(*e.Route, e.Gone)
	case e.Neigh != nil:
		if k, ours := a.sections.Holder(e.Neigh.Addr); ours && (e.Gone || !e.Neigh.Permanent) {
			a.disturb(k)
		}
	case e.Setting != nil:
		if e.Setting.Index == rtnl.AllLinks && e.Setting.Forwarding == 0 {
			a.disturbed(partHost)
		}
	case e.Traffic != nil:
		if e.Gone && a.datapath.hangsOn(e.Traffic.Index) {
			a.disturbed(partDatapath)
		}
	case e.Addr != nil:
		a.heardAddr(e.Addr.Prefix.Addr(), e.Gone)
	}
}

// heardAddr looks at addresses of the host itself, those of its ends of endpoints' links left out.
func (a *Agent) heardAddr(addr netip.Addr, gone bool) {
	if addr == desired.Gateway() {
		return
	}
	before := a.sections.Snapshot()
	if err := a.lookAtLinks(); err != nil {
		a.log.Error("cannot look at the addresses of this host", "error", err)
	}
	if !a.sections.Snapshot().Facts.Equal(before.Facts) { // an uplink may be found by it, and hosts behind that
		a.kick(partHost, partRoutes, partAnswers)
		a.upstream.Wake()
		a.reportSoon()
	}
	if gone && slices.ContainsFunc(a.sections.Snapshot().Homes(), func(p netip.Prefix) bool { return addr == desired.RouterAddr(p) }) {
		a.disturbed(partHost)
	}
	// A next hop that could not be reached may be reached from a new address.
	if _, _, failed := a.runners[partRoutes].State(); failed != nil && !gone {
		a.kick(partRoutes)
	}
}

// heardLink looks at a link of an endpoint, or keeps the facts of any other.
func (a *Agent) heardLink(l rtnl.Link, gone bool) {
	if k, ours := desired.KeyOfAlias(l.Alias); ours {
		if _, living := a.sections.Endpoint(k); living && (gone || !l.Up) && l.Name == desired.LinkName(k) {
			a.disturb(k)
		}
		return
	}
	if l.OfEndpoint() { // one that is only being made has no alias yet
		return
	}
	if a.isUplink(l.Name) { // it may have another MAC, or another switch at its end
		a.kick(partAnswers)
		a.upstream.Wake()
	}
	before := a.sections.Snapshot()
	facts := before.Facts.With(l.Name, desired.LinkFact{Up: l.Up, MTU: l.MTU, Segments: l.MostCut, MAC: l.MAC, Addrs: before.Facts[l.Name].Addrs}, !gone)
	if !a.sections.SetFacts(facts) || !a.isUplink(l.Name) {
		return
	}
	a.reportSoon()
	if l.Up && !gone && !before.Facts[l.Name].Up {
		a.delegation.LinkUp(l.Name)
	}
	a.kick(partHost, partDatapath, partRoutes, partLearned, partPolicy, partDNS)
	if a.sections.Snapshot().Sizes() != before.Sizes() {
		a.kick(partLinks)
	}
}

func (a *Agent) isUplink(name string) bool {
	uplinks := a.sections.Snapshot().Uplinks()
	return slices.ContainsFunc(uplinks, func(u desired.Uplink) bool { return u.Name == name })
}

// heardRoute asks for a pass when a route of ours is gone or changed, or somebody put another one in its place.
func (a *Agent) heardRoute(r rtnl.Route, gone bool) {
	ours := r.Protocol == route.Protocol
	switch {
	case route.Learned(r, route.Protocol): // what the agent itself does to them is not told
		if gone {
			a.disturbed(partLearned)
		}
	case r.Protocol == unix.RTPROT_RA && !gone: // a link that begins to hear advertisements must go on
		a.kick(partHost)
	case r.Dst.IsSingleIP():
		k, living := a.sections.Holder(r.Dst.Addr())
		good := ours && !gone && r.Type == unix.RTN_UNICAST && !r.Via.IsValid()
		other := !ours && gone
		if living && !good && !other && !r.Cloned {
			a.disturb(k)
		}
	case ours && gone:
		a.disturbed(partRoutes)
	case ours: // most likely made by the pass that has just run; the one that follows finds nothing to do
		a.kick(partRoutes)
	}
}

// disturbed asks for a pass because somebody else changed what is ours.
func (a *Agent) disturbed(part string) {
	a.metrics.events.WithLabelValues(part).Inc()
	a.kick(part)
}

// lookAtLinks writes the section of link facts from whole lists.
func (a *Agent) lookAtLinks() error {
	list, err := a.kernel.conn.Links()
	if err != nil {
		return errors.Join(errors.New("list the links of this host"), err)
	}
	addrs, err := a.kernel.conn.Addrs(0)
	if err != nil {
		return errors.Join(errors.New("list the addresses of this host"), err)
	}
	of := map[int][]netip.Prefix{}
	for _, h := range addrs {
		if h.Prefix.Addr().IsGlobalUnicast() && h.Protocol != link.Protocol && h.Flags&unix.IFA_F_DADFAILED == 0 {
			of[h.Index] = append(of[h.Index], h.Prefix)
		}
	}
	facts := desired.Facts{}
	a.seen.linked.Store(slices.ContainsFunc(list, rtnl.Link.OfEndpoint))
	for _, l := range list {
		if !l.OfEndpoint() {
			slices.SortFunc(of[l.Index], netip.Prefix.Compare)
			facts[l.Name] = desired.LinkFact{Up: l.Up, MTU: l.MTU, Segments: l.MostCut, MAC: l.MAC, Addrs: of[l.Index]}
		}
	}
	a.sections.SetFacts(facts)
	return nil
}
