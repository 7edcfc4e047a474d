package agent_test

import (
	"slices"
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

// Two agents and radvd on one bridge, where a configuration that fits a cable was copied to: not one advertisement comes from us, also
// while one agent is alone with radvd, and the status says why. The same agents on a cable do advertise.
func TestNothingIsAdvertisedBesideARouter(t *testing.T) {
	t.Parallel()
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
	until(t, "radvd is there", func() bool { return from(routerMAC) > 0 })
	silent := func(h *host, why string) {
		t.Helper()
		until(t, h.name+" says why it does not advertise", func() bool {
			s, err := h.client().Status(t.Context())
			return err == nil && slices.ContainsFunc(s.Objects, func(o local.Object) bool { // not there before the first pass
				return o.Kind == "advertises" && o.State == local.Failed && strings.Contains(o.Why, why)
			})
		})
	}
	hosts[0].spawn()
	silent(hosts[0], "takes no BGP connection")
	hosts[1].spawn()
	for _, h := range hosts {
		silent(h, "more than one neighbour")
	}
	already := from(routerMAC)
	untilIn(t, 30*rounds, "radvd has repeated itself", func() bool { return from(routerMAC) >= already+rounds })
	for i, mac := range macs {
		if n := from(mac); n > 0 {
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
