package policy

import (
	"net/netip"
	"slices"
	"testing"
)

func TestIPv4BlocksHoldInsidePref64(t *testing.T) {
	p := netip.MustParsePrefix
	peers := []Peer{{Networks: []Block{{Prefix: p("0.0.0.0/0"), Except: []netip.Prefix{p("169.254.0.0/16"), p("10.0.0.0/8")}}, {Prefix: p("2001:db8::/32")}}}}
	var q Policy
	q.Rules[Egress] = []Rule{{Peers: peers}}
	q.CarryIPv4(Pref64s([]netip.Prefix{p("2001:db8:64::/48"), p("64:ff9b::/96"), p("2001:db8:64::/48")}))
	got := q.Rules[Egress][0].Peers[0].Networks
	want := []Block{
		{Prefix: p("0.0.0.0/0"), Except: []netip.Prefix{p("169.254.0.0/16"), p("10.0.0.0/8")}},
		{Prefix: p("2001:db8::/32"), Except: []netip.Prefix{p("2001:db8:64::/48")}}, // which carries IPv4 alone
		{Prefix: p("64:ff9b::/96"), Except: []netip.Prefix{p("64:ff9b::a9fe:0/112"), p("64:ff9b::a00:0/104")}},
		{Prefix: p("2001:db8:64::/48"), Except: []netip.Prefix{p("2001:db8:64:a9fe::/64"), p("2001:db8:64:a00::/56")}},
	}
	if !slices.EqualFunc(got, want, func(a, b Block) bool { return a.Prefix == b.Prefix && slices.Equal(a.Except, b.Except) }) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
