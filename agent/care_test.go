package agent_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// routedPlan is a host whose uplink leads to a router that advertises itself.
const routedPlan = oneRack + `
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h1}
spec: {cluster: c1, rack: r1, number: 1, clock: trusted, uplinks: [{name: up0}]}
`

// soak reports whether this is `make soak`: the same tests with the times of real networks.
func soak() bool { return os.Getenv("HEXAPOD_SOAK") == "1" }

// advertised is the lifetime of a route and how long it is looked at, both in seconds.
func advertised() (lifetime, look int) {
	if soak() {
		return 30, 120
	}
	return 12, 16 // radvd repeats itself every 3 to 4 seconds
}

// hasDefault reports whether the host has a default route from an advertisement.
func (h *host) hasDefault() bool {
	return strings.Contains(netnstest.Run(h.t, h.ns, "ip -6 route show default"), "proto ra")
}

// looking calls each ten times a second for so many seconds, until it says false.
func looking(seconds int, each func() bool) bool {
	end := time.NewTimer(time.Duration(seconds) * time.Second)
	defer end.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end.C:
			return true
		case <-tick.C:
			if !each() {
				return false
			}
		}
	}
}

// dockerd starts Debian's Docker on the host; with IPv6 it switches forwarding on.
func (h *host) dockerd() *peer {
	h.t.Helper()
	dir, err := os.MkdirTemp("", "hxd") // the path of a unix socket has at most 107 bytes (unix(7))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			h.t.Error(err)
		}
	})
	// What it mounts goes with a mount namespace of its own.
	p := startPeer(h.t, h.ns, nil, "unshare", "--mount", "--propagation", "private", "/usr/sbin/dockerd", "--config-file", h.file("docker.json", "{}"), "--data-root", dir+"/data", "--exec-root", dir+"/exec",
		"--host", "unix://"+dir+"/docker.sock", "--pidfile", dir+"/docker.pid", "--storage-driver", "vfs", "--iptables=false", "--ip-masq=false",
		"--ipv6", "--fixed-cidr-v6", "fd5e:d0c:e2::/64")
	p.says("API listen on")
	if got := netnstest.Run(h.t, h.ns, "sysctl -n net.ipv6.conf.all.forwarding"); got != "1\n" {
		h.t.Fatalf("dockerd does not forward: %q; this test proves nothing", got)
	}
	return p
}

// A router with a short lifetime, and Docker started and restarted beside: the host keeps its default route when the agent cares for
// it, and loses it when nobody does (RFC 4861 6.3.4).
func TestRFC4861_6_3_4_DefaultRouteBesideDocker(t *testing.T) {
	t.Parallel()
	lifetime, look := advertised()
	t.Run("without the agent it is lost", func(t *testing.T) {
		h, router := newRoutedHost(t, routedPlan)
		h.radvd(router, lifetime)
		until(t, "the router is heard", h.hasDefault)
		h.dockerd()
		if looking(look, h.hasDefault) {
			t.Error("the default route stays without any care: this test proves nothing")
		}
	})
	t.Run("with the agent it stays", func(t *testing.T) {
		h, router := newRoutedHost(t, routedPlan)
		h.radvd(router, lifetime)
		until(t, "the router is heard", h.hasDefault)
		h.start()
		docker := h.dockerd()
		stays := looking(look/2, h.hasDefault)
		docker.kill()
		h.dockerd()
		if stays = stays && looking(look-look/2, h.hasDefault); !stays {
			t.Errorf("the default route was lost:\n%s", netnstest.Run(t, h.ns, "ip -6 route"))
		}
		until(t, "the status says so", func() bool {
			o := h.object("care", "default route on up0")
			return o.State == local.Done && strings.Contains(o.Detail, "expires in")
		})
	})
}

// A route that somebody takes away comes back at once, long before the next advertisement (RFC 4861 6.3.7).
func TestRFC4861_6_3_7_LostRouteComesBack(t *testing.T) {
	t.Parallel()
	h, router := newRoutedHost(t, routedPlan)
	radvd := h.radvd(router, 1800)
	until(t, "the router is heard", h.hasDefault)
	h.start()
	netnstest.Run(t, h.ns, "ip -6 route del default")
	until(t, "the default route is back", h.hasDefault)
	h.logged("has a default route from a router advertisement again")

	radvd.kill()
	netnstest.Run(t, h.ns, "ip -6 route del default")
	until(t, "the loss is in the status", func() bool {
		o := h.object("care", "default route on up0")
		return o.State == local.Failed && strings.Contains(o.Why, "has gone") && !strings.Contains(o.Why, "asked 0 times")
	})
}

// Forwarding that somebody switches off comes back, and with it nothing is lost.
func TestForwardingIsRepaired(t *testing.T) {
	t.Parallel()
	h, router := newRoutedHost(t, routedPlan)
	h.radvd(router, 1800)
	until(t, "the router is heard", h.hasDefault)
	h.start()
	netnstest.Run(t, h.ns, "sysctl -qw net.ipv6.conf.all.forwarding=0")
	until(t, "forwarding is on", func() bool { return netnstest.Run(t, h.ns, "sysctl -n net.ipv6.conf.all.forwarding") == "1\n" })
	until(t, "the default route is there", h.hasDefault)
}

// The MTU of uplinks and the tables of the kernel are in the status.
func TestStatusShowsHostCare(t *testing.T) {
	t.Parallel()
	h, _ := newRoutedHost(t, strings.Replace(routedPlan, "{name: up0}", "{name: up0}, {name: up1}", 1))
	netnstest.Run(t, h.ns, "ip link add up1 type bridge")
	netnstest.Run(t, h.ns, "ip link set up1 up mtu 1500")
	h.start()
	until(t, "equal MTUs are shown", func() bool {
		o := h.object("care", "mtu")
		return o.State == local.Done && strings.Contains(o.Detail, "1500")
	})
	until(t, "a neighbour table outside the first namespace is shown", func() bool {
		o := h.object("care", "neighbour table")
		return o.State == local.Done && strings.Contains(o.Detail, "first of them")
	})
	netnstest.Run(t, h.ns, "ip link set up1 mtu 1400")
	until(t, "different MTUs are shown", func() bool { return h.object("care", "mtu").State == local.Failed })
	netnstest.Run(t, h.ns, "ip link set up1 mtu 1279")
	until(t, "an MTU that is too small is shown", func() bool { return strings.Contains(h.object("uplink", "up1").Why, "1280") })
}

// A host gets its address from Kea by Debian's dhclient and its prefix by the agent, at once and over one link. Both stay over five
// lifetimes, and the address answers all the while.
func TestAddressOfAnotherClientBesideOurPrefix(t *testing.T) {
	t.Parallel()
	lease, lifetimes := times{T1: 15, T2: 30, Preferred: 45, Valid: 60}, 5
	if !soak() {
		lease, lifetimes = times{T1: 2, T2: 8, Preferred: 11, Valid: 12}, 2
	}
	h, router := newRoutedHost(t, planWith("dhcpv6-pd"))
	netnstest.Run(t, router, "ip -6 addr add 2001:db8:5e::1/64 dev rt0 nodad")
	netnstest.Run(t, h.ns, "ip -6 route add 2001:db8:5e::/64 dev up0")
	h.kea(router, poolA, lease)
	// What the distribution's script does for an address, without its changes to the machine's name servers.
	script := h.file("dhclient-script", `#!/bin/sh
case $reason in
BOUND6|RENEW6|REBIND6) ip -6 addr replace $new_ip6_address/128 dev $interface nodad valid_lft $new_max_life preferred_lft $new_preferred_life ;;
EXPIRE6|FAIL6|STOP6|RELEASE6) ip -6 addr del $old_ip6_address/128 dev $interface ;;
esac
`)
	dhclient := startPeer(t, h.ns, nil, "dhclient", "-6", "-d", "-cf", h.file("dhclient.conf", ""), "-lf", h.file("dhclient.leases", ""),
		"-pf", filepath.Join(h.dir, "dhclient.pid"), "-sf", script, "up0")
	address := func() string {
		for _, word := range strings.Fields(netnstest.Run(t, h.ns, "ip -6 addr show dev up0 scope global")) {
			if p, err := netip.ParsePrefix(word); err == nil && p.Bits() == 128 {
				return p.Addr().String()
			}
		}
		return ""
	}
	a := h.start()
	h.delegationIs(local.Done)
	until(t, "dhclient has an address", func() bool { return address() != "" })
	_, endpoint := h.add(a, "first", poolA)
	held := address()
	prefix := h.object("host", "h1").Detail
	answers := func(ns *netns.NS, addr string) bool {
		_, err := netnstest.Try(ns, "ping -6 -c 1 -W 30 "+addr)
		return err == nil
	}
	until(t, "the address answers", func() bool { return answers(router, held) })
	if !looking(lifetimes*lease.Valid, func() bool { return answers(router, held) && address() == held }) {
		t.Errorf("%s is lost: now %q\n%s", held, address(), dhclient.log)
	}
	if now := h.object("host", "h1"); now.Detail != prefix || now.State != local.Done {
		t.Errorf("the prefix was %s and is %+v", prefix, now)
	}
	h.reaches(endpoint)
}
