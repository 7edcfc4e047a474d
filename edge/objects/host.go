package objects

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

// planHost returns a host in the words of the plan. One without a number has adopted its prefix.
func planHost(p *v1alpha1.AddressPlan, h *v1alpha1.Host) addressplan.Host {
	out := addressplan.Host{
		Name:    h.ObjectName(),
		Cluster: string(h.Spec.Cluster),
		Rack:    string(h.Spec.Rack),
		Prefix:  h.Spec.Prefix.Prefix,
		Adopted: h.Spec.Number == nil && !h.Delegated(),

		Delegated: h.Delegated(),
		Shared:    h.Shared(),
		MAC:       string(h.Spec.MAC),
		Retired:   !h.Living(),
	}
	if c, ok := p.Cluster(h.Spec.Cluster); ok {
		out.Cluster = c.Name
		if r, ok := c.Rack(h.Spec.Rack); ok {
			out.Rack = r.Name
		}
	}
	if h.Spec.Number != nil {
		out.Number = uint64(*h.Spec.Number)
	}
	if out.Retired {
		out.RetiredAt = addressplan.Seconds(ipam.FromUnix(h.RetiredAt().Unix()))
	}
	return out
}

// Config returns what a set says, seen from the host of that name. m is the model of the same set.
func Config(s v1alpha1.Set, m Model, host string) (desired.Config, error) {
	c := desired.Config{Fabric: m.Plan.Prefix, Pools: Pools(s)}
	found := false
	var errs []error
	for i, h := range s.Hosts {
		d, err := desiredHost(m.Plan, m.Plan.Hosts[i], h) // Plan keeps the order of the set
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if h.ObjectName() == host {
			c.Self, c.BigTCP, c.LargeMTU, found = d, h.Spec.BigTCP, h.Spec.LargeMTU, true
			c.Translation, c.Upstream = Translation(s, m, h), Upstream(s, h)
			c.Learns = slices.ContainsFunc(s.BGPPeers, func(b *v1alpha1.BGPPeer) bool { return selects(s.Plan, b.Spec, m.Plan.Hosts[i]) })
			continue
		}
		c.Peers = append(c.Peers, d)
	}
	if err := errors.Join(errs...); err != nil {
		return desired.Config{}, err
	}
	if !found {
		return desired.Config{}, fmt.Errorf("host %s is not in the configuration: add a Host of that name, or start with --host and one of: %s", host, hostNames(s))
	}
	return c, nil
}

func hostNames(s v1alpha1.Set) string {
	var names []string
	for _, h := range s.Hosts {
		if names = append(names, h.ObjectName()); len(names) == 8 {
			return strings.Join(names, ", ") + ", ..."
		}
	}
	if names == nil {
		return "(it has none)"
	}
	return strings.Join(names, ", ")
}

func desiredHost(p addressplan.Plan, planned addressplan.Host, h *v1alpha1.Host) (desired.Host, error) {
	d := desired.Host{Name: planned.Name, Retired: planned.Retired, IPv4: h.Spec.IPv4Prefix.Prefix}
	for _, a := range h.Spec.Addresses {
		d.Addrs = append(d.Addrs, a.Addr)
	}
	if !planned.Delegated { // else it has none that others know
		var err error
		if d.Prefix, err = p.PrefixOf(planned); err != nil {
			return desired.Host{}, err
		}
	}
	if h.Spec.MAC != "" {
		mac, err := net.ParseMAC(string(h.Spec.MAC))
		if err != nil || len(mac) != len(d.MAC) {
			return desired.Host{}, fmt.Errorf("host %s: %q is not an Ethernet address", d.Name, h.Spec.MAC)
		}
		d.MAC = desired.MAC(mac)
	}
	for _, u := range h.Spec.Uplinks {
		d.Uplinks = append(d.Uplinks, desired.Uplink{
			Name: u.Name, Address: u.Address.Addr, Gateway: u.Gateway.Addr, Segment: u.Segment, External: u.External,
			Answer: u.OnLink != "", Shared: u.OnLink == v1alpha1.OnLinkShared,
		})
	}
	return d, nil
}

// Renumbered reports every living host whose prefix a new configuration would change: what runs there has its addresses for
// life. before is the running model, or nil at the start; living are prefixes of hosts known from elsewhere, such as a journal,
// by name. A host that the new configuration does not have is not renumbered.
func Renumbered(before *Model, after Model, s v1alpha1.Set, living map[string]netip.Prefix) v1alpha1.Problems {
	var out v1alpha1.Problems
	if before != nil {
		out = place(s, addressplan.Renumbered(before.Plan, after.Plan))
	}
	said := map[string]bool{}
	for _, p := range out {
		said[p.Name] = true
	}
	for _, h := range after.Plan.Hosts {
		was, known := living[h.Name]
		if !known || h.Retired || said[h.Name] {
			continue
		}
		is, err := after.Plan.PrefixOf(h)
		if o, ok := s.Host(h.Name); ok && (err != nil || is != was) {
			out = append(out, v1alpha1.ProblemAt(o, "spec", fmt.Sprintf("has %s and would be renumbered to %s", was, is),
				"retire it first, or undo the change of the plan"))
		}
	}
	return out.Sort()
}

// Resting reports what the clock has to say of a set, at second now: see [addressplan.Plan.Resting].
func Resting(m Model, s v1alpha1.Set, now ipam.Seconds) v1alpha1.Problems {
	return place(s, m.Plan.Resting(addressplan.Seconds(now))).Sort()
}
