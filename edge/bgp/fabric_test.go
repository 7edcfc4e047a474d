package bgp_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/announce"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

var fabricRange = pfx("2001:db8:a000::/37")

// place is a network namespace of the test.
type place struct {
	do  func(func() error) error        // does something inside
	run func(line string) string        // runs a program inside
	end func(name string) netnstest.End // of a cable
}

func newPlace(t *testing.T) place {
	t.Helper()
	ns := netnstest.New(t)
	return place{
		do:  ns.Do,
		run: func(line string) string { t.Helper(); return netnstest.Run(t, ns, line) },
		end: func(name string) netnstest.End { return netnstest.End{NS: ns, Name: name} },
	}
}

// link is a host and a router on one cable: eth0 with 2001:db8:f::1 and fe80::a on the host, swp1 with 2001:db8:f::2 and fe80::1
// on the router.
func link(t *testing.T) (host, router place) {
	t.Helper()
	host, router = newPlace(t), newPlace(t)
	cable(t, host, router, "eth0", "swp1", 0)
	return host, router
}

func cable(t *testing.T, host, router place, hostEnd, routerEnd string, n int) {
	t.Helper()
	for _, ns := range []place{host, router} {
		ns.run("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.addr_gen_mode=1")
		ns.run("ip link set lo up")
	}
	netnstest.Connect(t, host.end(hostEnd), router.end(routerEnd))
	host.run(fmt.Sprintf("ip addr add 2001:db8:f:%d::1/64 dev %s nodad", n, hostEnd))
	host.run(fmt.Sprintf("ip addr add fe80::a/64 dev %s nodad", hostEnd))
	router.run(fmt.Sprintf("ip addr add 2001:db8:f:%d::2/64 dev %s nodad", n, routerEnd))
	router.run(fmt.Sprintf("ip addr add fe80::1/64 dev %s nodad", routerEnd))
}

// numbered is the router by its address, with small times.
func numbered(name string) announce.Peer {
	return announce.Peer{
		Name: name, Addr: netip.MustParseAddr("2001:db8:f::2"), ASN: 65538, MaxPrefixes: 1000, HoldSeconds: 9, KeepaliveSeconds: 3,
		Restart: announce.RestartTimes{Seconds: 60}, Terms: announce.Terms{Accept: announce.Within(fabricRange)},
	}
}

func unnumbered(name, link string) announce.Peer {
	p := numbered(name)
	p.Addr, p.Interface = netip.Addr{}, link
	return p
}

func config(peers ...announce.Peer) *bgp.Config {
	return &bgp.Config{
		Speaker:  announce.Speaker{ASN: 4200000101, RouterID: netip.MustParseAddr("0.0.12.18"), Peers: peers},
		Announce: hosts(1),
	}
}

// hosts is n prefixes to announce.
func hosts(n int) (out []announce.Route) {
	for i := range n {
		out = append(out, announce.Route{Prefix: pfx(fmt.Sprintf("2001:db8:a000:c%02x::/64", 0x12+i)), Purpose: announce.PurposeHost})
	}
	return out
}

// frrConfig is a router of AS 65538 that offers two prefixes. neighbor is how it knows the host.
func frrConfig(neighbor, more string) string {
	remote := "neighbor " + neighbor + " remote-as external"
	if !strings.Contains(neighbor, ":") {
		remote = "neighbor " + neighbor + " interface remote-as external"
	}
	return fmt.Sprintf(`frr defaults datacenter
hostname tor
interface swp1
 no ipv6 nd suppress-ra
 ipv6 nd ra-interval 1
 ipv6 nd ra-lifetime 0
exit
router bgp 65538
 bgp router-id 192.0.2.1
 bgp graceful-restart
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 %s
 neighbor %s capability extended-nexthop
 address-family ipv6 unicast
  network 2001:db8:a000:d01::/64
  network 2001:db8:a000:d02::/64
%s
  neighbor %s activate
 exit-address-family
 address-family ipv4 unicast
  network 203.0.113.0/24
  neighbor %s activate
 exit-address-family
exit
`, remote, neighbor, more, neighbor, neighbor)
}
