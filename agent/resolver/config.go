package resolver

import (
	"slices"
	"strings"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/dns"
	"hexapod.dev/model/dns64"
	"hexapod.dev/model/xlat"
)

// Carriers are the prefixes of a translation.
type Carriers struct {
	Prefixes []dns64.Pref64
	None     dns64.Why // why there are none; empty: nobody speaks of a translation
}

// Configure turns what the user wrote into what the server does. fallback is asked where the user named nobody, and the prefixes of a
// translation count unless the user named others.
func Configure(d *v1alpha1.DNS, fallback []dns.Upstream, carriers Carriers, c *dns.Config) error {
	c.CacheBytes = d.CacheMiB << 20
	c.Policy.FilterA = d.FilterA
	for _, x := range d.Exclude {
		c.Policy.Exclude = append(c.Policy.Exclude, x.Prefix)
	}
	for _, p := range d.Prefixes {
		x, err := xlat.NewPref64(p.Prefix.Prefix)
		if err != nil {
			return err
		}
		carried := dns64.Pref64{Pref64: x}
		for _, f := range p.For {
			carried.For = append(carried.For, f.Prefix)
		}
		c.Policy.Prefixes = append(c.Policy.Prefixes, carried)
	}
	if len(d.Prefixes) == 0 {
		c.Policy.Prefixes, c.Policy.None = carriers.Prefixes, carriers.None
	}
	if len(c.Policy.Prefixes) == 0 && c.Policy.None == "" {
		c.Policy.Prefixes = []dns64.Pref64{{Pref64: xlat.WellKnown}}
	}
	for _, z := range append(slices.Clone(d.NeverSynthesise), d.ClusterDomain) {
		c.Policy.Never = append(c.Policy.Never, zoneName(z))
	}
	add := func(zone string, servers []v1alpha1.DNSServer) error {
		list, err := Servers(servers)
		c.Zones = append(c.Zones, dns.Zone{Name: zone, Upstreams: list})
		return err
	}
	named := map[string]bool{}
	for _, z := range d.Zones {
		if err := add(zoneName(z.Name), z.Upstreams); err != nil {
			return err
		}
		named[zoneName(z.Name)] = true
	}
	if len(d.Upstreams) == 0 {
		c.Zones = append(c.Zones, dns.Zone{Name: ".", Upstreams: fallback})
		return nil
	}
	if cluster := zoneName(d.ClusterDomain); len(fallback) > 0 && !named[cluster] {
		c.Zones = append(c.Zones, dns.Zone{Name: cluster, Upstreams: fallback})
	}
	return add(".", d.Upstreams)
}

// Servers reads servers as the user writes them.
func Servers(list []v1alpha1.DNSServer) (out []dns.Upstream, err error) {
	for _, s := range list {
		via, at, name, err := s.Parts()
		if err != nil {
			return nil, err
		}
		out = append(out, dns.Upstream{Addr: at, Via: via, Name: name})
	}
	return out, nil
}

// zoneName is a domain as servers compare it.
func zoneName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) + "." }
