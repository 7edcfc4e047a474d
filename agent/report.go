package agent

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"hexapod.dev/agent/local"
	"hexapod.dev/model/desired"
)

// Report implements local.Source: every object the agent is responsible for, and whether it is done.
func (a *Agent) Report() local.Status {
	config := a.config.Load()
	s := local.Status{Host: a.options.Host, Version: a.options.Version, PID: os.Getpid(), Started: a.started}
	if config == nil {
		return s
	}
	snapshot := a.sections.Snapshot()
	if p := snapshot.HostPrefix(); p.IsValid() {
		s.Prefix = p.String()
	}
	st := desired.For(snapshot)
	s.Objects = append(s.Objects, a.reportSource(), a.reportHost(config, snapshot), a.reportClock(), a.reportJournal())
	s.Objects = append(s.Objects, a.reportParts(st)...)
	s.Objects = append(s.Objects, a.reportCare(snapshot, st)...)
	s.Objects = append(s.Objects, a.delegation.Report()...)
	s.Objects = append(s.Objects, a.reportPeers(snapshot, st)...)
	s.Objects = append(s.Objects, a.reportAnswers(snapshot)...)
	s.Objects = append(s.Objects, a.reportBGP()...)
	s.Objects = append(s.Objects, a.reportServices()...)
	s.Objects = append(s.Objects, a.resolver.Report()...)
	s.Objects = append(s.Objects, a.reportTranslation(st)...)
	s.Objects = append(s.Objects, a.reportPolicy()...)
	s.Objects = append(s.Objects, a.reportProtection(snapshot)...)
	s.Objects = append(s.Objects, a.reportIdentities(snapshot)...)
	for _, e := range a.Endpoints() {
		s.Objects = append(s.Objects, local.Object{Kind: "endpoint", Name: e.Container + "/" + e.Interface, State: e.State, Why: e.Why,
			Detail: strings.Trim(fmt.Sprintf("%v", e.Addrs), "[]")})
	}
	return s
}

func (a *Agent) reportHost(c *configuration, s desired.Snapshot) local.Object {
	o := local.Object{Kind: "host", Name: a.options.Host, State: local.Done}
	if why := c.notServing(); why != "" {
		o.State, o.Why = local.Failed, string(why)
	} else if p := s.HostPrefix(); !p.IsValid() {
		o.State, o.Why = local.Pending, string(desired.NoHostPrefix)
	} else {
		o.Detail = "prefix " + p.String()
	}
	return o
}

// reportParts tells of each part of the kernel whether the last pass made it hold what is wanted.
func (a *Agent) reportParts(st desired.State) []local.Object {
	detail := map[string]string{
		partHost:       fmt.Sprintf("addresses: %d, uplinks: %d", len(st.Addresses), len(st.Uplinks)),
		partLinks:      fmt.Sprintf("links: %d", len(st.Links)),
		partRoutes:     fmt.Sprintf("routes: %d", len(st.Routes)),
		partNeighbours: fmt.Sprintf("neighbours: %d", len(st.Neighbours)),
		partDatapath:   a.datapath.detail(),
	}
	var list []local.Object
	for _, part := range parts {
		list = append(list, stateOf(local.Object{Kind: "kernel", Name: part, Detail: detail[part]}, a.runners[part]))
	}
	return list
}

// stateOf fills in o what the runner says.
func stateOf(o local.Object, r *runner) local.Object {
	switch passes, _, last := r.State(); {
	case last != nil:
		o.State, o.Why = local.Failed, local.OneLine(last)
	case passes == 0:
		o.State, o.Why = local.Pending, "the first pass has not ended"
	default:
		o.State = local.Done
	}
	return o
}

// reportPeers lists peers, uplinks and whatever else the snapshot asks for, with the reason where it cannot be had.
func (a *Agent) reportPeers(s desired.Snapshot, st desired.State) []local.Object {
	why := map[string]string{}
	var list []local.Object
	for _, u := range st.Undone {
		switch u.Kind {
		case "peer", "uplink":
			why[u.Kind+" "+u.Name] = string(u.Why)
		case "address":
			list = append(list, local.Object{Kind: u.Kind, Name: u.Name, State: local.Failed, Why: string(u.Why)})
		}
	}
	object := func(kind, name, detail string) {
		o := local.Object{Kind: kind, Name: name, State: local.Done, Detail: detail}
		if o.Why = why[kind+" "+name]; o.Why != "" {
			o.State = local.Failed
		}
		list = append(list, o)
	}
	left := map[string]string{}
	if c := a.cared.Load(); c != nil {
		for _, u := range c.report.Left {
			left[u.Name] = ", left alone: " + string(u.Why)
		}
	}
	for _, u := range s.Uplinks() {
		object("uplink", u.Name, fmt.Sprintf("mtu %d%s", s.Facts[u.Name].MTU, left[u.Name]))
	}
	for _, p := range s.Config.Peers {
		if p.Retired {
			continue
		}
		detail := fmt.Sprintf("%s by what routers tell", p.Prefix) // as where BGP is spoken
		if route, own := st.Routes[p.Prefix]; own {
			detail = route.String()
		}
		object("peer", p.Name, detail)
	}
	return list
}

// Endpoints implements local.Source.
func (a *Agent) Endpoints() []local.Endpoint {
	list := []local.Endpoint{}
	if a.book == nil {
		return list
	}
	snapshot := a.sections.Snapshot()
	undone := map[string]desired.Why{}
	for _, u := range desired.For(snapshot).Undone {
		if u.Kind == "endpoint" {
			undone[u.Name] = u.Why
		}
	}
	for _, e := range snapshot.Endpoints.All() {
		o := local.Endpoint{
			Container: e.Key.Container, Interface: e.Key.Interface, Network: e.Network, Namespace: e.Namespace, Name: e.Name, UID: e.UID,
			Identity: e.Identity, Addrs: e.Addrs, Link: desired.LinkName(e.Key), NetNS: e.NetNS, State: local.Done,
		}
		switch err, tried := a.board.get(e.Key); {
		case !tried:
			o.State, o.Why = local.Pending, "it is being made"
		case err != nil:
			o.State, o.Why = local.Failed, local.OneLine(err)
		case undone[e.Key.String()] != "":
			o.State, o.Why = local.Failed, string(undone[e.Key.String()])
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b local.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Container, b.Container), cmp.Compare(a.Interface, b.Interface))
	})
	return list
}

// Routes implements local.Source: what the host should hold, compared with the kernel now.
func (a *Agent) Routes(context.Context) ([]local.Route, error) {
	have, err := a.kernel.HeldRoutes()
	if err != nil {
		return nil, err
	}
	snapshot := a.sections.Snapshot()
	purpose := map[string]string{}
	for _, p := range snapshot.Config.Peers {
		purpose[p.Prefix.String()] = "peer " + p.Name
	}
	list := []local.Route{}
	for dst, want := range desired.For(snapshot).Routes {
		r := local.Route{Dst: dst, Link: want.Link, Discard: want.Discard, For: purpose[dst.String()], State: local.Done}
		if want.Via.IsValid() {
			r.Via = want.Via.String()
		}
		switch k, ok := a.sections.Holder(dst.Addr()); {
		case want.Discard:
			r.For = "own prefix"
		case ok && dst.IsSingleIP():
			r.For = "endpoint " + k.String()
		}
		switch h, ok := have[dst]; {
		case !ok:
			r.State, r.Why = local.Failed, "the kernel does not hold it"
		case !h.is(want):
			r.State, r.Why = local.Failed, "the kernel holds another one"
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b local.Route) int { return a.Dst.Compare(b.Dst) })
	return list, nil
}
