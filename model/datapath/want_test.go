package datapath

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/section"
)

// text writes a Want in lines that a person can compare.
func (w Want) text() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.Uplinks)) {
		fmt.Fprintf(&b, "uplink %s %04b\n", name, w.Uplinks[name])
	}
	for _, p := range slices.SortedFunc(maps.Keys(w.Inside), netip.Prefix.Compare) {
		fmt.Fprintf(&b, "inside %s %04b %s %s\n", p, w.Inside[p].Flags, w.Inside[p].Link, w.Inside[p].MAC)
	}
	for _, a := range slices.SortedFunc(maps.Keys(w.Endpoints), netip.Addr.Compare) {
		fmt.Fprintf(&b, "endpoint %s %s\n", a, w.Endpoints[a].Link)
	}
	for _, u := range w.Unproved {
		fmt.Fprintf(&b, "unproved %s: %s\n", u.Uplink, u.Why)
	}
	fmt.Fprintf(&b, "kin %d\n", len(w.Kin))
	return b.String()
}

func TestWantFor(t *testing.T) {
	prefix := netip.MustParsePrefix
	endpoint := func(ifname, addr string) desired.Endpoint {
		return desired.Endpoint{Key: desired.EndpointKey{Container: "c1", Interface: ifname}, Addrs: []netip.Addr{netip.MustParseAddr(addr)}}
	}
	one, two := endpoint("eth0", "2001:db8:a000:401:100::1"), endpoint("net1", "2001:db8:a000:401:100::2")
	mac := desired.MAC{2, 0, 0, 0, 0, 2}
	config := func(u desired.Uplink, peer desired.MAC) desired.Config {
		u.Name = "up0"
		return desired.Config{
			Fabric: prefix("2001:db8:a000::/37"),
			Self:   desired.Host{Name: "h1", Prefix: prefix("2001:db8:a000:401::/64"), Uplinks: []desired.Uplink{u}},
			Peers:  []desired.Host{{Name: "h2", Prefix: prefix("2001:db8:a000:402::/64"), MAC: peer, Uplinks: []desired.Uplink{{Name: "x", Segment: "s1"}}}},
			Pools:  []desired.Pool{{Name: "p", Prefix: prefix("2001:db8:a000:1::/64")}},
		}
	}
	links := fmt.Sprintf("endpoint 2001:db8:a000:401:100::1 %s\nendpoint 2001:db8:a000:401:100::2 %s\n", desired.LinkName(one.Key), desired.LinkName(two.Key))
	const none = "00:00:00:00:00:00"
	inside := func(own, peer string) string {
		return "inside 2001:db8:a000::/37 0100  " + none + "\ninside 2001:db8:a000:1::/64 0000  " + none + "\n" + own + "inside 2001:db8:a000:402::/64 " + peer + "\n"
	}
	const own = "inside 2001:db8:a000:401::/64 0101  " + none + "\ninside 2001:db8:a000:401:1::1/128 1001  " + none + "\n"
	for _, tc := range []struct {
		name string
		c    desired.Config
		want string
	}{
		{"flat", config(desired.Uplink{Segment: "s1"}, mac), "uplink up0 0101\n" + inside(own, "0110 up0 "+mac.String()) + links + "kin 2\n"},
		{"flat without MAC", config(desired.Uplink{Segment: "s1"}, desired.MAC{}),
			"uplink up0 0001\n" + inside(own, "0100  "+none) + links + "unproved up0: " + string(PeerWithoutMAC) + "\nkin 2\n"},
		{"routed", config(desired.Uplink{Gateway: netip.MustParseAddr("fe80::1")}, mac),
			"uplink up0 1001\n" + inside(own, "0100  "+none) + links + "unproved up0: " + string(BehindRouter) + "\nkin 2\n"},
		{"outside", config(desired.Uplink{External: true}, mac), "uplink up0 0011\n" + inside(own, "0100  "+none) + links + "kin 2\n"},
		{"shared", config(desired.Uplink{Segment: "s1", Answer: true, Shared: true}, mac),
			"uplink up0 1001\n" + inside("", "0100  "+none) + links + "unproved up0: " + string(SharedLink) + "\nkin 2\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := desired.Snapshot{Config: tc.c, Endpoints: section.Map[desired.EndpointKey, desired.Endpoint]{}.Set(one.Key, one).Set(two.Key, two)}
			if d := cmp.Diff(tc.want, WantFor(s).text()); d != "" {
				t.Errorf("(-want +have):\n%s", d)
			}
		})
	}
}
