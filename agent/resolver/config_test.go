package resolver

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/dns"
	"hexapod.dev/model/dns64"
	"hexapod.dev/model/xlat"
)

// Which servers are asked for which zone: those the user named; without any, the cluster's DNS for all; with some, that one for the
// cluster's domain alone, unless the user named others for it.
func TestWhoIsAskedForDNS(t *testing.T) {
	cluster := []dns.Upstream{{Addr: netip.MustParseAddrPort("[2001:db8:c::1]:53"), Via: dns.UDP}}
	own := dns.Upstream{Addr: netip.MustParseAddrPort("[2001:db8:53::53]:853"), Via: dns.TLS, Name: "dns.example.org"}
	for _, tc := range []struct {
		name     string
		spec     v1alpha1.DNS
		fallback []dns.Upstream
		want     []dns.Zone
	}{
		{"a cluster", v1alpha1.DNS{}, cluster, []dns.Zone{{Name: ".", Upstreams: cluster}}},
		{"a cluster and servers", v1alpha1.DNS{Upstreams: []v1alpha1.DNSServer{"tls://[2001:db8:53::53]#dns.example.org"}}, cluster,
			[]dns.Zone{{Name: "cluster.local.", Upstreams: cluster}, {Name: ".", Upstreams: []dns.Upstream{own}}}},
		{"no cluster", v1alpha1.DNS{Upstreams: []v1alpha1.DNSServer{"tls://[2001:db8:53::53]#dns.example.org"}}, nil,
			[]dns.Zone{{Name: ".", Upstreams: []dns.Upstream{own}}}},
		{"a zone for the cluster's domain", v1alpha1.DNS{Upstreams: []v1alpha1.DNSServer{"tls://[2001:db8:53::53]#dns.example.org"},
			Zones: []v1alpha1.DNSZone{{Name: "Cluster.Local", Upstreams: []v1alpha1.DNSServer{"tls://[2001:db8:53::53]#dns.example.org"}}}}, cluster,
			[]dns.Zone{{Name: "cluster.local.", Upstreams: []dns.Upstream{own}}, {Name: ".", Upstreams: []dns.Upstream{own}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.spec.ClusterDomain = v1alpha1.DefaultClusterDomain
			var c dns.Config
			if err := Configure(&tc.spec, tc.fallback, Carriers{}, &c); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, c.Zones, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
				t.Error(d)
			}
			if got := c.Policy.Prefixes[0].Prefix(); got != netip.MustParsePrefix("64:ff9b::/96") || c.Policy.Never[0] != "cluster.local." {
				t.Errorf("prefix %s, never %v", got, c.Policy.Never)
			}
		})
	}
}

// The prefixes of a translation are those of DNS64, unless the user named others.
func TestPrefixesOfDNS(t *testing.T) {
	own := func(s string) xlat.Pref64 {
		p, err := xlat.NewPref64(netip.MustParsePrefix(s))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	carriers := []dns64.Pref64{{Pref64: own("2001:db8:64::/96")}}
	named := []v1alpha1.DNSPrefix{{Prefix: v1alpha1.PrefixFrom(netip.MustParsePrefix("2001:db8:46::/96"))}}
	for _, tc := range []struct {
		name     string
		carriers []dns64.Pref64
		named    []v1alpha1.DNSPrefix
		want     xlat.Pref64
	}{
		{"neither", nil, nil, xlat.WellKnown},
		{"a translation", carriers, nil, own("2001:db8:64::/96")},
		{"named for DNS", nil, named, own("2001:db8:46::/96")},
		{"both", carriers, named, own("2001:db8:46::/96")},
	} {
		var c dns.Config
		if err := Configure(&v1alpha1.DNS{Prefixes: tc.named}, nil, Carriers{Prefixes: tc.carriers}, &c); err != nil {
			t.Fatal(err)
		}
		if len(c.Policy.Prefixes) != 1 || c.Policy.Prefixes[0].Pref64 != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, c.Policy.Prefixes, tc.want)
		}
	}
	var c dns.Config
	if err := Configure(&v1alpha1.DNS{}, nil, Carriers{None: dns64.NoUpstream}, &c); err != nil || len(c.Policy.Prefixes) != 0 || c.Policy.None != dns64.NoUpstream {
		t.Errorf("a translation whose prefix is not known: %v %q (%v), want nothing to be made", c.Policy.Prefixes, c.Policy.None, err)
	}
}
