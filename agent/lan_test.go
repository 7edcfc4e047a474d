package agent_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// lanPrefix lies on a link, and no router knows a host behind it.
const lanPrefix = "2001:db8:1:2::/64"

// lan is a switch in a namespace of its own.
type lan struct {
	t     testing.TB
	ns    *netns.NS
	ports int
}

// newLAN makes a switch; options are those of `ip link add type bridge`.
func newLAN(t testing.TB, options string) *lan {
	t.Helper()
	l := &lan{t: t, ns: netnstest.New(t)}
	netnstest.Run(t, l.ns, "ip link add br0 type bridge "+options)
	netnstest.Run(t, l.ns, "ip link set br0 up")
	return l
}

// join connects a new namespace to the switch by its link up0, which has these addresses and a link-local one, and returns it with
// the MAC of up0. Nothing asks for duplicates, and nothing is sent before the link works.
func (l *lan) join(addrs ...string) (ns *netns.NS, mac string) {
	l.t.Helper()
	ns = netnstest.New(l.t)
	netnstest.Run(l.t, ns, "sysctl -qw net.ipv6.conf.default.accept_dad=0")
	netnstest.Run(l.t, ns, "ip link set lo up")
	netnstest.Run(l.t, ns, "ip -4 addr flush dev lo")
	l.ports++
	port := fmt.Sprintf("p%d", l.ports)
	here := netnstest.End{NS: ns, Name: "up0"}
	for _, a := range addrs {
		here.Addrs = append(here.Addrs, netip.MustParsePrefix(a))
	}
	netnstest.Connect(l.t, here, netnstest.End{NS: l.ns, Name: port, Quiet: true})
	netnstest.Run(l.t, l.ns, "ip link set "+port+" master br0")
	until(l.t, "the link to the switch works", func() bool {
		return strings.Contains(netnstest.Run(l.t, ns, "ip -6 addr show dev up0 -tentative"), "scope link") &&
			strings.Contains(netnstest.Run(l.t, l.ns, "bridge link show dev "+port), "state forwarding")
	})
	_, mac, _ = strings.Cut(netnstest.Run(l.t, ns, "ip -o link show dev up0"), "link/ether ")
	return ns, mac[:len("00:00:00:00:00:00")]
}

// host makes a host of that name on the switch, without an agent.
func (l *lan) host(name, text string, addrs ...string) (h *host, mac string) {
	l.t.Helper()
	h = &host{t: l.t, name: name, dir: l.t.TempDir(), log: &lines{}}
	h.unmountAfter()
	h.ns, mac = l.join(addrs...)
	h.configure(text)
	l.t.Cleanup(func() {
		if l.t.Failed() {
			l.t.Logf("log of the agent of %s:\n%s", name, h.log)
		}
	})
	return h, mac
}

// inNamespace runs a line of shell words and returns its output and whether it succeeded.
func inNamespace(ns *netns.NS, line string) (string, bool) {
	out, err := netnstest.Try(ns, line)
	return out, err == nil
}
