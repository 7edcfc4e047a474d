package agent

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/agent/upstream"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/dns"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/model/desired"
	xupstream "hexapod.dev/model/upstream"
)

// Where machines are told of prefixes they are told those of a NAT64 of others, and that those are over which it had before; a link of BGP stays one.
func TestUpstreamIsAdvertised(t *testing.T) {
	now, before := netip.MustParsePrefix("2001:db8:64::/96"), netip.MustParsePrefix("2001:db8:65::/96")
	u := &desired.Upstream{Tell: []string{"lan0", "up0"}, Prefixes: []netip.Prefix{now}, Past: []netip.Prefix{before}}
	links := map[string]ndp.RouterLink{"up0": {Advertise: true, RouterPeer: true}}
	tellUpstream(links, u)
	for _, name := range u.Tell {
		l := links[name]
		if !l.Advertise || !slices.Equal(l.Pref64, u.Prefixes) || !slices.Equal(l.Over, u.Past) {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if !links["up0"].RouterPeer {
		t.Error("the link of BGP is none any more")
	}
	none := map[string]ndp.RouterLink{}
	tellUpstream(none, &desired.Upstream{Tell: []string{"lan0"}})
	tellUpstream(none, nil)
	if len(none) > 0 {
		t.Errorf("nothing was found, and it is told: %v", none)
	}
}

// What a Translation says of a NAT64 of others is what its hosts look for.
func TestUpstreamWanted(t *testing.T) {
	accept := v1alpha1.PrefixFrom(netip.MustParsePrefix("2001:db8:64::/48"))
	set := v1alpha1.Group([]v1alpha1.Object{
		v1alpha1.NewAddressPlan("plan", v1alpha1.AddressPlanSpec{DNS: &v1alpha1.DNS{}}),
		v1alpha1.NewHost("a", v1alpha1.HostSpec{}), v1alpha1.NewHost("b", v1alpha1.HostSpec{}),
		v1alpha1.NewTranslation("provider", v1alpha1.TranslationSpec{Hosts: []string{"a"}, Upstream: &v1alpha1.Upstream{
			Discover: []v1alpha1.Discovery{v1alpha1.DiscoverDNS}, Links: []string{"eth1"}, Accept: []v1alpha1.Prefix{accept},
			Resolvers: []v1alpha1.DNSServer{"tls://[2001:db8::53]#dns.example.net"}}}),
	})
	want := &upstream.Want{Name: "provider", Sources: []xupstream.Source{xupstream.DNS}, Accept: []netip.Prefix{accept.Prefix}, Links: []string{"eth1"},
		Servers: []dns.Upstream{{Addr: netip.MustParseAddrPort("[2001:db8::53]:853"), Via: dns.TLS, Name: "dns.example.net"}}}
	got, err := upstreamWanted(set, "a")
	same := []cmp.Option{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}
	if d := cmp.Diff(want, got, same...); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if got, err := upstreamWanted(set, "b"); got != nil || err != nil {
		t.Errorf("a host that is not named looks for %+v (%v)", got, err)
	}
}
