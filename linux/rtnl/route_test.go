package rtnl_test

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
)

// RouteTo finds what a packet would take: the longest match, in front of others the lowest metric, and no cloned route.
func TestRouteTo(t *testing.T) {
	ns, far := netnstest.New(t), netnstest.New(t)
	netnstest.Connect(t, netnstest.End{NS: ns, Name: "up0"}, netnstest.End{NS: far, Name: "up0"})
	for _, line := range []string{
		"ip -6 route add 3fff:0:0:1::/64 dev up0 proto 206",
		"ip -6 route add 3fff:0:0:1::1/128 dev up0 proto 206",
		"ip -6 route add 3fff:0:0:1::1/128 dev up0 proto 4 metric 2000",
		"ip -6 route add unreachable 3fff:0:0:2::/64 proto 206",
		"ip -6 route add blackhole 3fff:0:0:3::/64 proto 206",
		"ip -6 route add prohibit 3fff:0:0:4::/64 proto 206",
	} {
		netnstest.Run(t, ns, line)
	}
	c, err := rtnl.Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for text, want := range map[string]string{
		"3fff:0:0:1::1": "3fff:0:0:1::1/128", "3fff:0:0:1::2": "3fff:0:0:1::/64",
		"3fff:0:0:2::1": "", "3fff:0:0:3::1": "", "3fff:0:0:4::1": "", "3fff:0:0:5::1": "",
	} {
		r, ok, err := c.RouteTo(netip.MustParseAddr(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if ok != (want != "") || ok && (r.Dst.String() != want || r.Protocol != 206 || r.Table != unix.RT_TABLE_MAIN || r.Metric != rtnl.DefaultMetric) {
			t.Errorf("%s: %t, %+v, want %q", text, ok, r, want)
		}
	}
}

// Errors name the link in the operator's words.
func TestErrorsNameTheLink(t *testing.T) {
	r := rtnl.Route{Dst: netip.MustParsePrefix("3fff:0:0:1::/64"), Via: netip.MustParseAddr("fe80::1"), Index: 7}
	for link, want := range map[string]string{"up0": "add route 3fff:0:0:1::/64 via fe80::1 dev up0", "": "add route 3fff:0:0:1::/64 via fe80::1 dev #7"} {
		if r.Link = link; rtnl.AddRoute(r, rtnl.IfAbsent).String() != want {
			t.Errorf("%q, want %q", rtnl.AddRoute(r, rtnl.IfAbsent), want)
		}
	}
	n := rtnl.NextHop{ID: 5, Via: r.Via, Index: 7, Link: "up0"}
	if got, want := rtnl.AddNextHop(n, rtnl.IfAbsent).String(), "add nexthop 5 via fe80::1 dev up0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
