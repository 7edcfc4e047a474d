package agent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/identity"
)

// Words of the conditions of a HostStatus, for programs.
const (
	reasonServing = "Serving"
	reasonWaiting = "Waiting"
	reasonFailed  = "Failed"
)

// hostReport is what this host tells the controller. It is asked for before anything runs, too: a host without a prefix has to tell
// that it is there.
func (a *Agent) hostReport() v1alpha1.HostReport {
	r := v1alpha1.HostReport{Version: a.options.Version}
	s := a.sections.Snapshot()
	for _, u := range reported(s) {
		f := s.Facts[u.Name]
		if r.MAC == "" && f.MAC != (desired.MAC{}) {
			r.MAC = v1alpha1.MAC(f.MAC.String())
		}
		for _, p := range f.Addrs {
			r.Addresses = append(r.Addresses, v1alpha1.Addr{Addr: p.Addr()})
		}
		r.Uplinks = append(r.Uplinks, v1alpha1.Uplink{Name: u.Name, Address: v1alpha1.Addr{Addr: u.Address}})
	}
	ready := v1alpha1.Condition{Type: v1alpha1.ConditionReady, Status: v1alpha1.ConditionFalse, Reason: reasonWaiting,
		Message: "the agent waits for its configuration: " + string(desired.NoHostPrefix)}
	if a.serving.Load() {
		a.reportLiving(&r, s)
		ready.Status, ready.Reason, ready.Message = a.condition()
	} else if a.options.Cluster != nil {
		a.reportHeld(&r)
	}
	ready.LastTransitionTime = v1alpha1.TimeFrom(time.Now())
	r.Set(ready)
	slices.SortFunc(r.Addresses, func(x, y v1alpha1.Addr) int { return x.Compare(y.Addr) })
	return r
}

// reported is the uplinks of a host, or while nobody has told its addresses, every link that may be one.
func reported(s desired.Snapshot) []desired.Uplink {
	if found := s.Uplinks(); len(found) > 0 {
		return found
	}
	var list []desired.Uplink
	for _, name := range slices.Sorted(maps.Keys(s.Facts)) {
		if f := s.Facts[name]; len(f.Addrs) > 0 && f.MAC != (desired.MAC{}) {
			list = append(list, desired.Uplink{Name: name, Address: f.Addrs[0].Addr()})
		}
	}
	return list
}

// condition tells whether an ADD could be served now, and what does not work.
func (a *Agent) condition() (v1alpha1.ConditionStatus, string, string) {
	if err := a.Status(context.Background()); err != nil { // it waits for nothing
		return v1alpha1.ConditionFalse, reasonFailed, local.OneLine(err)
	}
	for _, part := range parts {
		if _, _, last := a.runners[part].State(); last != nil {
			return v1alpha1.ConditionTrue, reasonServing, "new endpoints are served; not all is as wanted: " + part + ": " + local.OneLine(last)
		}
	}
	return v1alpha1.ConditionTrue, reasonServing, "new endpoints are served"
}

// reportLiving adds what the host holds.
func (a *Agent) reportLiving(r *v1alpha1.HostReport, s desired.Snapshot) {
	r.Round = a.loading.round.Load()
	own := s.Own()
	if p := s.Config.Self.IPv4; p.IsValid() {
		own = append(own, p)
	}
	numbers, exact := map[uint32]bool{}, map[netip.Addr]identity.Number{}
	for _, given := range a.book.Living() {
		r.Endpoints++
		e, living := a.sections.Endpoint(given.Key)
		if !living {
			e = endpointOf(given)
		}
		carried, bearing := a.carried(given.Addr)
		switch {
		case given.Fixed:
			r.Fixed = append(r.Fixed, v1alpha1.Addr{Addr: given.Addr})
		case !slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Contains(given.Addr) }):
			own = append(own, netip.PrefixFrom(given.Addr, s.HostPrefix().Bits()).Masked())
		case bearing && carried == 0 && given.Name != "" && !identity.Number(e.Identity).Wide():
			r.Late = append(r.Late, v1alpha1.LateEndpoint{Address: v1alpha1.Addr{Addr: given.Addr}, Namespace: given.Namespace, Name: given.Name, Identity: e.Identity})
		}
		a.unsaid(exact, e)
		for _, n := range []uint32{carried, e.Identity} {
			if n >= v1alpha1.MinIdentity {
				numbers[n] = true
			}
		}
	}
	for n := range numbers {
		r.Identities = append(r.Identities, n)
	}
	slices.Sort(r.Identities)
	r.Exact, r.Entries = objects.EntriesOf(exact), a.policies.Revision()
	slices.SortFunc(own, netip.Prefix.Compare)
	for _, p := range slices.Compact(own) {
		r.Prefixes = append(r.Prefixes, v1alpha1.Prefix{Prefix: p.Masked()})
	}
	slices.SortFunc(r.Fixed, func(x, y v1alpha1.Addr) int { return x.Compare(y.Addr) })
	slices.SortFunc(r.Late, func(x, y v1alpha1.LateEndpoint) int { return x.Address.Compare(y.Address.Addr) })
	if born := a.book.State().Born; born > 0 {
		w := v1alpha1.TimeFrom(time.Unix(born.Unix(), 0))
		r.Witness = &w
	}
	a.keepSeen(r)
}

// unsaid notes the addresses of an endpoint that do not say its number. Where bits are not believed, none does.
func (a *Agent) unsaid(exact map[netip.Addr]identity.Number, e desired.Endpoint) {
	if e.Identity < v1alpha1.MinIdentity {
		return
	}
	believed := a.config.Load().set.Model.Trust != identity.TrustExact
	for _, addr := range e.Addrs {
		if carried, bearing := a.carried(addr); !believed || !bearing || carried != e.Identity {
			exact[addr] = identity.Number(e.Identity)
		}
	}
}

// carried is the number that an address says; bearing is false where addresses say none.
func (a *Agent) carried(addr netip.Addr) (n uint32, bearing bool) {
	l := a.config.Load().layout
	f, err := l.Decode(addr)
	return uint32(f.Identity), err == nil && l.IdentityBearing()
}

// reportIdentities tells whether every endpoint of a host in a cluster has its number.
func (a *Agent) reportIdentities(s desired.Snapshot) []local.Object {
	if a.options.Cluster == nil {
		return nil
	}
	late := 0
	for _, e := range s.Endpoints.All() {
		if e.Identity == uint32(identity.Unknown) {
			late++
		}
	}
	o := local.Object{Kind: "identities", Name: a.options.Host, State: local.Done, Detail: "every endpoint has its number"}
	if late > 0 {
		o.Detail = fmt.Sprintf("endpoints without a number: %d", late)
	}
	return []local.Object{o}
}
