package agent

import (
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/cni"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/ipam"
	"hexapod.dev/model/service"
)

// configuration is one checked set of objects, seen from this host. It does not change once made.
type configuration struct {
	set        objects.Set
	desired    desired.Config
	layout     ipam.Layout // of this host's addresses
	trusted    bool        // the host's clock is right, says the configuration
	witness    ipam.Stamp  // every address given out from now on is younger, says the configuration
	services   map[service.Name]service.Source
	noServices bool              // services are another proxy's
	place      service.Place     // where this host stands
	programs   v1alpha1.Datapath // whether this host has eBPF programs
	fast       v1alpha1.FastPath // whether they hand packets on themselves
	policies   desired.Policies
	found      []netip.Prefix   // of the NAT64 of the network outside, beside the set
	source     *v1alpha1.Uplink // where a server gives this host its prefix; nil: the prefix is in the configuration
}

// newConfiguration looks at set from the host of that name. carriers are prefixes that carry IPv4 addresses for policies, beside those of
// the set.
func newConfiguration(set objects.Set, host string, carriers ...netip.Prefix) (*configuration, error) {
	c := &configuration{set: set}
	var err error
	if c.desired, err = set.Config(host); err != nil {
		return nil, err
	}
	c.services, c.place = set.Services(host)
	if c.policies.World, c.policies.Believed, err = set.Policies(carriers...); err != nil {
		return nil, err
	}
	c.policies.Entries, c.policies.Revision = objects.Entries(set.Objects)
	c.policies.Written = objects.Written(set.Objects)
	c.noServices = set.Objects.Plan.Spec.ServiceTranslation == v1alpha1.ServiceOff
	if self, ok := set.Objects.Host(host); ok {
		c.trusted = self.Spec.Clock == v1alpha1.ClockTrusted
		c.programs, c.fast = self.Spec.Datapath, self.Spec.FastPath
		if t := self.Spec.BornAfter; t != nil {
			c.witness = ipam.StampAt(ipam.FromUnix(t.Unix()))
		}
		for _, u := range self.Spec.Uplinks {
			if u.PrefixSource != "" {
				c.source = &u
				return c, nil
			}
		}
	}
	if !c.desired.Self.Prefix.IsValid() {
		return nil, fmt.Errorf("host %s has no prefix: give its Host object a number, or the prefix it has", host)
	}
	for _, h := range set.Model.Plan.Hosts { // names are unique in a plan, also among the retired
		if h.Name == host {
			c.layout, err = set.Model.Plan.LayoutOf(h, set.Seal)
		}
	}
	return c, err
}

// sealFor returns the seal for a prefix of this host: one longer than /64 has no room for it (model/ipam).
func (c *configuration) sealFor(p netip.Prefix) *ipam.Seal {
	if p.Bits() > 64 {
		return nil
	}
	return c.set.Seal
}

// identityOf returns the number for a set of labels; 0, not known yet, when it has none.
func (c *configuration) identityOf(namespace string, labels map[string]string) uint32 {
	n, _ := c.set.Model.Identities.Number(identity.Set{Namespace: namespace, Labels: labels})
	return uint32(n)
}

// fixed returns the address that r asks for, if it may have it: the address lies in a pool granted to its namespace, and an
// Address object claims it for this very endpoint. The invalid address means that none is asked for.
func (c *configuration) fixed(r cni.Request) (netip.Addr, error) {
	if len(r.Fixed) == 0 {
		return netip.Addr{}, nil
	}
	refuse := func(format string, args ...any) (netip.Addr, error) {
		return netip.Addr{}, cni.Errorf(cni.CodeInvalidConfig, format, args...)
	}
	addr := r.Fixed[0]
	if len(r.Fixed) > 1 {
		return refuse("endpoint %s asks for %d fixed addresses; it can have one", r.Key, len(r.Fixed))
	}
	at := slices.IndexFunc(c.desired.Pools, func(p desired.Pool) bool { return p.Prefix.Contains(addr) })
	if at < 0 {
		return refuse("fixed address %s lies in no pool; make a Pool around it, or leave the choice to Hexapod", addr)
	}
	pool := c.desired.Pools[at]
	if !slices.Contains(pool.Namespaces, r.Namespace) {
		return refuse("fixed address %s: pool %s is not granted to namespace %q; add it to the pool's namespaces", addr, pool.Name, r.Namespace)
	}
	claim, ok := c.set.Model.Claims[addr]
	switch {
	case !ok:
		return refuse("fixed address %s is not claimed; make an Address object for %s/%s", addr, r.Namespace, r.Name)
	case claim.Namespace != r.Namespace || claim.Name != r.Name:
		return refuse("fixed address %s is claimed by %s/%s, not by %s/%s", addr, claim.Namespace, claim.Name, r.Namespace, r.Name)
	}
	return addr, nil
}

// notServing tells why no ADD can be served; empty when it can.
func (c *configuration) notServing() desired.Why {
	switch {
	case !c.desired.Self.Prefix.IsValid() && c.source == nil:
		return desired.NoHostPrefix
	case c.desired.Self.Retired:
		return desired.HostRetired
	}
	return ""
}
