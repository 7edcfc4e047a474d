package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file/whole"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/identity"
)

// seenName is the file in the state folder that keeps the high-water marks of a cluster: a store that was restored has forgotten
// them.
const seenName = "seen.json"

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
		return v1alpha1.ConditionFalse, reasonFailed, oneLine(err)
	}
	for _, part := range parts {
		if _, _, last := a.runners[part].State(); last != nil {
			return v1alpha1.ConditionTrue, reasonServing, "new endpoints are served; not all is as wanted: " + part + ": " + oneLine(last)
		}
	}
	return v1alpha1.ConditionTrue, reasonServing, "new endpoints are served"
}

// reportLiving adds what the host holds.
func (a *Agent) reportLiving(r *v1alpha1.HostReport, s desired.Snapshot) {
	c := a.config.Load()
	r.Round = c.set.Objects.Plan.Status.Round
	own := s.Own()
	if p := s.Config.Self.IPv4; p.IsValid() {
		own = append(own, p)
	}
	numbers, exact := map[uint16]bool{}, map[netip.Addr]identity.Number{}
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
		case bearing && carried == 0 && given.Name != "":
			r.Late = append(r.Late, v1alpha1.LateEndpoint{Address: v1alpha1.Addr{Addr: given.Addr}, Namespace: given.Namespace, Name: given.Name, Identity: e.Identity})
		}
		a.unsaid(exact, e)
		for _, n := range []uint16{carried, e.Identity} {
			if n >= v1alpha1.MinIdentity {
				numbers[n] = true
			}
		}
	}
	for n := range numbers {
		r.Identities = append(r.Identities, n)
	}
	slices.Sort(r.Identities)
	r.Exact, r.Entries = objects.EntriesOf(exact), a.policies.entries()
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
	r.Seen = a.seen(c)
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
func (a *Agent) carried(addr netip.Addr) (n uint16, bearing bool) {
	l := a.config.Load().layout
	f, err := l.Decode(addr)
	return f.Identity, err == nil && l.IdentityBearing()
}

// seen raises the high-water marks on the disk by what the configuration names, and returns them.
func (a *Agent) seen(c *configuration) v1alpha1.Seen {
	path := filepath.Join(a.options.StateDir, seenName)
	var s v1alpha1.Seen
	if data, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(data, &s) // a torn file says nothing, and is written anew
	}
	before, _ := json.Marshal(s)
	for _, o := range c.set.Objects.Identities {
		s.Identity = max(s.Identity, o.Spec.Number)
	}
	s.Prefixes = highest(c, s.Prefixes)
	after, err := json.Marshal(s)
	if err == nil && !bytes.Equal(after, before) {
		err = whole.Write(path, after, 0o600)
	}
	if err != nil { // the controller is told all the same; after a restart it hears what the plan holds then
		a.log.Warn("highest numbers not noted", "file", path, "error", err)
	}
	return s
}

// highest is the highest host prefix of each rack, sorted, of those that were seen before and those of the plan now.
func highest(c *configuration, before []v1alpha1.Prefix) []v1alpha1.Prefix {
	plan := c.set.Model.Plan
	top := map[netip.Prefix]netip.Prefix{}
	add := func(p netip.Prefix) {
		if !plan.Prefix.Contains(p.Addr()) {
			return // adopted: nobody counts in it
		}
		rack, err := p.Addr().Prefix(min(plan.Lengths.Rack, p.Bits()))
		if have, ok := top[rack]; err == nil && (!ok || have.Compare(p) < 0) {
			top[rack] = p
		}
	}
	for _, p := range before {
		add(p.Prefix)
	}
	for _, h := range plan.Hosts {
		if p, err := plan.PrefixOf(h); err == nil {
			add(p)
		}
	}
	var out []v1alpha1.Prefix
	for _, p := range top {
		out = append(out, v1alpha1.Prefix{Prefix: p})
	}
	slices.SortFunc(out, func(x, y v1alpha1.Prefix) int { return x.Compare(y.Prefix) })
	return out
}

// reportIdentities tells whether every endpoint of a host in a cluster has its number.
func (a *Agent) reportIdentities(s desired.Snapshot) []local.Object {
	if a.options.Cluster == nil {
		return nil
	}
	late := 0
	for _, e := range s.Endpoints.All() {
		if e.Identity == uint16(identity.Unknown) {
			late++
		}
	}
	o := local.Object{Kind: "identities", Name: a.options.Host, State: local.Done, Detail: "every endpoint has its number"}
	if late > 0 {
		o.Detail = fmt.Sprintf("endpoints without a number: %d", late)
	}
	return []local.Object{o}
}
