package agent_test

import (
	"strings"
	"testing"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// unnumberedPlan is a plan of hosts that look for a router on up0 by router advertisements.
const unnumberedPlan = oneRack + `
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h1}
spec: {cluster: c1, rack: r1, number: 1, clock: trusted, uplinks: [{name: up0}]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h2}
spec: {cluster: c1, rack: r1, number: 2, clock: trusted, uplinks: [{name: up0}]}
---
apiVersion: hexapod.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec: {interface: up0, racks: [r1]}
`

// advertisements listens for router advertisements in a namespace, and returns how many came from a MAC; empty: from any.
func advertisements(t *testing.T, ns *netns.NS, link string) (from func(mac string) int) {
	t.Helper()
	heard := startPeer(t, ns, nil, "tcpdump", "-lnei", link, "icmp6[icmp6type]=134")
	heard.says("listening on")
	return func(mac string) int {
		n := 0
		for line := range strings.Lines(heard.log.String()) {
			if strings.Contains(line, "router advertisement") && strings.Contains(line, mac+" > ") {
				n++
			}
		}
		return n
	}
}

// Two agents and radvd on one bridge, where a configuration that fits a cable was copied to: not one advertisement comes from us, and
// the status says why. The same agents on a cable do advertise.
func TestNothingIsAdvertisedBesideARouter(t *testing.T) {
	rounds := 4 // of radvd, which repeats itself every 3 to 4 seconds
	if soak() {
		rounds = 40
	}
	sw := newLAN(t, "mcast_snooping 0")
	var macs []string
	var hosts []*host
	for _, name := range []string{"h1", "h2"} {
		h, mac := sw.host(name, unnumberedPlan)
		hosts, macs = append(hosts, h), append(macs, mac)
	}
	router, routerMAC := sw.join("2001:db8:1:2::99/64")
	netnstest.Run(t, router, "sysctl -qw net.ipv6.conf.all.forwarding=1")
	from := advertisements(t, sw.ns, "br0")
	hosts[0].radvdOn(router, "up0", 12)
	for _, h := range hosts {
		h.spawn()
	}
	for _, h := range hosts {
		until(t, h.name+" says why it does not advertise", func() bool {
			o := h.object("advertises", "up0")
			return o.State == local.Failed && strings.Contains(o.Why, "more than one neighbour")
		})
	}
	// What they know of each other now counts. Before, one that began to listen a second before the other had time to look saw a cable: on a
	// machine with other work that happens, and make soak runs this by itself.
	already, first := from(routerMAC), []int{from(macs[0]), from(macs[1])}
	if soak() {
		first = []int{0, 0}
	}
	untilIn(t, 10*rounds, "radvd has repeated itself", func() bool { return from(routerMAC) >= already+rounds })
	for i, mac := range macs {
		if n := from(mac) - first[i]; n > 0 {
			t.Errorf("%s sent %d router advertisements beside a router", hosts[i].name, n)
		}
	}
	t.Logf("router advertisements on the bridge: %d of radvd, %d of two agents", from(routerMAC), from(macs[0])+from(macs[1]))

	t.Run("control: on a cable it advertises", func(t *testing.T) {
		h, router := newRoutedHost(t, unnumberedPlan)
		from := advertisements(t, router, "rt0")
		h.spawn()
		until(t, "it advertises", func() bool { return from("") > 0 })
		until(t, "the status says so", func() bool {
			o := h.object("advertises", "up0")
			return o.State == local.Done && strings.Contains(o.Detail, "lifetime 0")
		})
	})
}
