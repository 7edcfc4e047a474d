package resolver

import (
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/dns64"
	"hexapod.dev/model/section"
)

// Nothing is made for an endpoint that has IPv4, and for that one alone: by its own addresses, by the ranges of the configuration, or by what
// its pod says, which goes before.
func TestWhoHasIPv4(t *testing.T) {
	own, four := netip.MustParsePrefix("2001:db8:1:2::/64"), netip.MustParsePrefix("198.51.100.0/24")
	for _, tc := range []struct {
		name      string
		four      netip.Prefix // of the host
		named     string
		endpoints map[string]string // interface of a container: addresses, and what the pod says
		capable   string
		unlike    int
	}{
		{"a host without IPv4", netip.Prefix{}, "", map[string]string{"a/eth0": "2001:db8:1:2::a"}, "", 0},
		{"an endpoint has IPv4 still, or already", netip.Prefix{}, "", map[string]string{"a/eth0": "2001:db8:1:2::a 198.51.100.7", "b/eth0": "2001:db8:1:2::b"}, "a", 1},
		{"a dual-stack host", four, "", map[string]string{"a/eth0": "2001:db8:1:2::a 198.51.100.7"}, "a", 0},
		{"an endpoint from before the host had IPv4", four, "", map[string]string{"a/eth0": "2001:db8:1:2::a 198.51.100.7", "b/eth0": "2001:db8:1:2::b"}, "a", 1},
		{"IPv4 on another link of the container", netip.Prefix{}, "", map[string]string{"a/eth0": "2001:db8:1:2::a", "a/net1": "2001:db8:1:2::f 198.51.100.7", "b/eth0": "2001:db8:1:2::b"}, "a", 2},
		{"a range that is named", netip.Prefix{}, "2001:db8:1:2::/127", map[string]string{"a/eth0": "2001:db8:1:2::1", "b/eth0": "2001:db8:1:2::b"}, "a", 0},
		{"a range that is named, on a dual-stack host", four, "2001:db8:1:2::/127", map[string]string{"a/eth0": "2001:db8:1:2::1", "b/eth0": "2001:db8:1:2::b"}, "a", 1},
		{"a pod has IPv4 by another way", netip.Prefix{}, "", map[string]string{"a/eth0": "2001:db8:1:2::a off", "b/eth0": "2001:db8:1:2::b"}, "a", 1},
		{"a pod with IPv4 wants addresses made", four, "2001:db8:1:2::/127", map[string]string{"a/eth0": "2001:db8:1:2::1 198.51.100.7", "b/eth0": "2001:db8:1:2::b 198.51.100.8 on"}, "a", 1},
		{"a word that means nothing", netip.Prefix{}, "", map[string]string{"b/eth0": "2001:db8:1:2::b false"}, "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s desired.Snapshot
			s.Config.Self = desired.Host{Name: "h", Prefix: own, IPv4: tc.four}
			said := map[desired.EndpointKey]string{}
			for key, text := range tc.endpoints {
				container, link, _ := strings.Cut(key, "/")
				e := desired.Endpoint{Key: desired.EndpointKey{Container: container, Interface: link}}
				for _, word := range strings.Fields(text) {
					if a, err := netip.ParseAddr(word); err == nil {
						e.Addrs = append(e.Addrs, a)
					} else {
						said[e.Key] = word
					}
				}
				s.Endpoints = s.Endpoints.Set(e.Key, e)
			}
			var named []v1alpha1.Prefix
			if tc.named != "" {
				named = append(named, v1alpha1.PrefixFrom(netip.MustParsePrefix(tc.named)))
			}
			c := Clients(s, named, func(e desired.Endpoint) string { return said[e.Key] })
			for k, e := range s.Endpoints.All() {
				is := c.InRange(e.Addrs[0])
				for _, a := range c.Unlike {
					if a == e.Addrs[0] {
						is = is.Other()
					}
				}
				if want := k.Container == tc.capable; (is == dns64.Capable) != want {
					t.Errorf("%s: IPv4 %v, want %v (%+v)", k, is == dns64.Capable, want, c)
				}
			}
			if len(c.Unlike) != tc.unlike {
				t.Errorf("%d endpoints are told one by one, want %d: %v", len(c.Unlike), tc.unlike, c.Unlike)
			}
		})
	}
	var none section.Map[desired.EndpointKey, desired.Endpoint]
	if c := Clients(desired.Snapshot{Endpoints: none}, nil, func(desired.Endpoint) string { return kube.SynthesisOff }); len(c.Capable)+len(c.Unlike) != 0 {
		t.Errorf("nobody is there, and %+v", c)
	}
}
