package link

import (
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
)

// dualEndpoint is an endpoint with an IPv4 address beside the IPv6 one, and the host's route to that.
func dualEndpoint(i int, ns *netns.NS) (desired.Link, desired.Route, desired.Neighbour, desired.Route) {
	l, r, n := endpoint(i, ns, "eth0")
	a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
	l.Addrs = append(l.Addrs, a)
	return l, r, n, desired.Route{Dst: netip.PrefixFrom(a, 32), Via: l.Addrs[0], Link: l.Name}
}

// Two endpoints of a host without any IPv4 address speak IPv4 with each other, and nobody asks by ARP.
func TestRFC8950_NextHopOfIPv4IsIPv6(t *testing.T) {
	netnstest.Root(t)
	h := newHost(t)
	netnstest.Run(t, h.ns, "sysctl -qw net.ipv4.ip_forward=1")
	var inside []*netns.NS
	for i := 1; i <= 2; i++ {
		ns := netnstest.New(t)
		inside = append(inside, ns)
		l, r, n, r4 := dualEndpoint(i, ns)
		if err := h.Ensure(t.Context(), l, h.routes.Part(r), h.routes.Part(r4), h.neighs.Part(n)); err != nil {
			t.Fatal(err)
		}
		if err := h.Check(t.Context(), l); err != nil {
			t.Error(err)
		}
		if i == 2 { // twice is the same as once
			if did := h.reconcile(t, []desired.Link{l, linkOf(1, inside[0])}, routesOf(inside), nil); strings.Contains(did, "links [") {
				t.Errorf("a second look changed: %s", did)
			}
		}
	}
	netnstest.Run(t, inside[0], "ping -c1 -W5 -I 192.0.2.1 192.0.2.2")
	for _, ns := range []*netns.NS{h.ns, inside[0], inside[1]} {
		if seen := netnstest.Run(t, ns, "ip -4 neigh"); seen != "" {
			t.Errorf("somebody asked by ARP:\n%s", seen)
		}
	}
}

func linkOf(i int, ns *netns.NS) desired.Link {
	l, _, _, _ := dualEndpoint(i, ns)
	return l
}

func routesOf(inside []*netns.NS) (list []desired.Route) {
	for i, ns := range inside {
		_, r, _, r4 := dualEndpoint(i+1, ns)
		list = append(list, r, r4)
	}
	return list
}

// An IPv4 address that somebody took away comes back, with its default route.
func TestIPv4IsRepaired(t *testing.T) {
	netnstest.Root(t)
	h := newHost(t)
	ns := netnstest.New(t)
	l, _, _, _ := dualEndpoint(1, ns)
	if err := h.Ensure(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	netnstest.Run(t, ns, "ip -4 addr flush dev eth0")
	if err := h.Check(t.Context(), l); err == nil {
		t.Error("Check does not miss the address")
	}
	if err := h.Ensure(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(t.Context(), l); err != nil {
		t.Error(err)
	}
	if routes := netnstest.Run(t, ns, "ip -4 route"); !strings.HasPrefix(routes, "default via inet6 fe80::1 dev eth0") {
		t.Errorf("routes inside: %s", routes)
	}
}
