package agent_test

import (
	"strings"
	"testing"

	"hexapod.dev/linux/netns/netnstest"
)

// onLink is the plan with an uplink where nobody routes the host's prefix to it.
func onLink(how string) string {
	return strings.Replace(plan, `"fd7c:a1b2:c3d4::1", segment: s1`, `"fd7c:a1b2:c3d4::1", segment: s1, onLink: `+how, 1)
}

// neighbour is another host on the uplink, which believes that addrs' prefixes are on the link.
func (h *host) neighbour(t *testing.T, addrs ...string) func(line string) (string, error) {
	t.Helper()
	ns := netnstest.New(t)
	netnstest.Run(t, h.ns, "ip link set up1 netns "+ns.Path())
	netnstest.Run(t, ns, "ip link set up1 up")
	for _, a := range addrs {
		netnstest.Run(t, ns, "ip -6 addr add "+a+" dev up1 nodad")
	}
	netnstest.Run(t, h.ns, "ip -6 addr add fe80::1:1/64 dev up0 nodad") // the kernel asks for neighbours from there alone
	netnstest.Run(t, h.ns, "ip -6 route add 2001:db8:a000:401:ffff::/80 dev up0")
	until(t, "the uplink is up", func() bool {
		return strings.Contains(netnstest.Run(t, ns, "ip -br link show up1"), " UP ")
	})
	return func(line string) (string, error) { return netnstest.Try(ns, line) }
}

// A neighbour on the link reaches an endpoint whose prefix nobody routes, from the moment its ADD is answered until its DEL.
func TestAnswersForEndpointsOnTheUplink(t *testing.T) {
	h := newHost(t)
	h.configure(onLink("answer"))
	neighbour := h.neighbour(t, "2001:db8:a000:401:ffff::9/64", "fe80::9/64")
	a := h.start()
	e := h.endpoint("c1")
	attached, err := a.Add(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := neighbour("ping -6 -n -c 1 -W 3 " + attached.Addrs[0].String()); err != nil {
		t.Errorf("the first ping is lost:\n%s", out)
	}
	if out, err := neighbour("ping -6 -n -c 1 -W 3 2001:db8:a000:401:1::1"); err != nil {
		t.Errorf("the router address does not answer:\n%s", out)
	}
	if err := a.Del(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if _, err := neighbour("ip -6 neigh flush dev up1"); err != nil {
		t.Fatal(err)
	}
	if out, err := neighbour("ping -6 -n -c 1 -W 2 " + attached.Addrs[0].String()); err == nil {
		t.Errorf("an address that does not live is answered for:\n%s", out)
	}
}
