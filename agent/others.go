package agent

import (
	"context"
	"maps"
	"net/netip"
	"reflect"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
	model "hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
	"hexapod.dev/model/ipam"
)

// partPeers follows other hosts: a host that comes, goes or moves costs what it needs itself. In a cluster every host hears of every
// other, so work on whole tables for each would grow with the square of their number.
const partPeers = "peers"

// others is what the kernel was last told of other hosts. It belongs to whoever holds the agent's passing for writing.
type others struct {
	routes map[netip.Prefix]desired.Route // to their prefixes; nil: not known
	want   *model.Want                    // of programs; nil: not known
}

// sameHere reports whether c and d differ in nothing but other hosts, policies, numbers of sets of labels, and who has which address.
func (c *configuration) sameHere(d *configuration, host string) bool {
	return reflect.DeepEqual(c.here(host), d.here(host))
}

// here is the configuration without what does not concern this host, and without what it follows from. What is added to a configuration later
// is in it by itself.
func (c *configuration) here(host string) configuration {
	h := *c
	h.desired.Peers, h.policies = nil, desired.Policies{}
	h.layout, h.set.Seal, h.set.Model, h.set.Warnings = ipam.Layout{}, nil, objects.Model{}, nil // apply takes no other layout
	x := &h.set.Objects
	x.Identities, x.Addresses, x.Slices = nil, nil, nil
	x.NetworkPolicies, x.ClusterNetworkPolicies, x.Publications = nil, nil, nil
	x.Plan = &v1alpha1.AddressPlan{Spec: x.Plan.Spec} // its status says what the controller asks of all
	if self, ok := x.Host(host); ok {
		x.Hosts = []*v1alpha1.Host{self}
	}
	return h
}

// toldOfOthers is called when a configuration was taken that changes nothing here.
func (a *Agent) toldOfOthers() {
	a.renumber()
	a.reportSoon()
	a.kick(partPeers, partPolicy)
}

// followPeers makes routes and programs know what changed of other hosts. What cannot be done one by one, or failed, is left to a pass
// over the whole, which tells of it.
func (a *Agent) followPeers(ctx context.Context) error {
	a.passing.Lock()
	defer a.passing.Unlock()
	s := a.sections.Snapshot()
	var done diff.Delta[string]
	if !a.routePeers(ctx, s, &done) {
		a.kick(partRoutes)
	}
	if !a.judgePeers(s, &done) {
		a.kick(partDatapath)
	}
	a.changed(partPeers, done)
	return nil
}

// routePeers changes the routes to single hosts, and reports whether that was enough.
func (a *Agent) routePeers(ctx context.Context, s desired.Snapshot, done *diff.Delta[string]) bool {
	have := a.others.routes
	if have == nil {
		return false
	}
	a.others.routes = nil // until all is done
	want := desired.PeerRoutes(s)
	for dst := range have {
		if _, still := want[dst]; still {
			continue
		}
		if err := a.kernel.routes.Remove(ctx, dst); err != nil {
			return false
		}
		done.Remove = append(done.Remove, dst.String())
	}
	for dst, r := range want {
		before, there := have[dst]
		if there && before == r {
			continue
		}
		if err := a.kernel.routes.Ensure(ctx, r); err != nil {
			return false
		}
		noteDone(done, dst, there)
	}
	a.others.routes = want
	return true
}

// judgePeers tells programs of the prefixes of single hosts, and reports whether that was enough.
func (a *Agent) judgePeers(s desired.Snapshot, done *diff.Delta[string]) bool {
	table, have := a.datapath.table, a.others.want
	if table == nil {
		return true
	}
	want := model.WantFor(s)
	if have == nil || !maps.Equal(have.Uplinks, want.Uplinks) || !table.Guards(want) {
		return false
	}
	a.others.want = nil // until all is done
	for p := range have.Inside {
		if _, still := want.Inside[p]; still {
			continue
		}
		if err := table.RemoveInside(p); err != nil {
			return false
		}
	}
	for p, in := range want.Inside {
		before, there := have.Inside[p]
		if there && before == in {
			continue
		}
		if err := table.EnsureInside(p, in); err != nil {
			return false
		}
	}
	a.others.want = &want
	return true
}

func noteDone(done *diff.Delta[string], dst netip.Prefix, changed bool) {
	if changed {
		done.Change = append(done.Change, dst.String())
	} else {
		done.Add = append(done.Add, dst.String())
	}
}

// routeAll makes all routes of this host as wanted. Nothing is added or removed by an ADD or DEL between the taking of the snapshot and the
// end of the pass, or it would undo their work.
func (a *Agent) routeAll(ctx context.Context) error {
	a.passing.Lock()
	defer a.passing.Unlock()
	s := a.sections.Snapshot()
	delta, err := a.kernel.Routes(ctx, desired.For(s))
	a.others.routes = nil
	if err == nil {
		a.others.routes = desired.PeerRoutes(s)
	}
	a.changed(partRoutes, delta)
	return err
}
