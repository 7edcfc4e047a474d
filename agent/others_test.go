package agent_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/netns/netnstest"
)

// otherHosts are so many hosts beside those of plan, on the same segment. Addresses end in the number, plus an offset.
func otherHosts(n, offset int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\napiVersion: hexapod.dev/v1alpha1\nkind: Host\nmetadata: {name: o%d}\nspec: {cluster: c1, rack: r1, number: %d, uplinks: [{name: up0, address: \"fd7c:a1b2:c3d4::%x\", segment: s1}]}\n",
			i, 100+i, 0x100+i+offset)
	}
	return b.String()
}

// otherPrefix is the prefix of the i-th of them.
func otherPrefix(i int) string {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 0xa0, 0, 4, byte(100 + i)}), 64).String()
}

// Hosts that come, move and go cost this one nothing but what is theirs: no table of the kernel is read whole, no rule of the guard is looked at.
func TestOtherHostsCostThemselvesAlone(t *testing.T) {
	t.Parallel()
	const many = 20
	h := newHost(t)
	h.start()
	routes := func() string { return netnstest.Run(t, h.ns, "ip -6 route show proto 206") }
	via := func(i, offset int) string {
		return fmt.Sprintf("%s via fd7c:a1b2:c3d4::%x dev up0", otherPrefix(i), 0x100+i+offset)
	}
	passes := func(part string) float64 {
		return h.metric(fmt.Sprintf(`hexapod_agent_passes_total{part=%q,result="ok"}`, part))
	}
	h.configure(plan + otherHosts(1, 0)) // what the start asked for is over by then
	until(t, "there is a route to the first", func() bool { return strings.Contains(routes(), via(0, 0)) })

	whole := []string{"routes", "neighbours", "links", "answers", "bgp", "services", "nat64", "dns"}
	before := map[string]float64{}
	for _, part := range whole {
		before[part] = passes(part)
	}
	for n := 2; n <= many; n++ {
		h.configure(plan + otherHosts(n, 0))
		until(t, fmt.Sprintf("there is a route to host %d", n), func() bool { return strings.Contains(routes(), via(n-1, 0)) })
	}
	h.configure(plan + otherHosts(many, 0x1000))
	until(t, "routes lead to where hosts moved", func() bool {
		now := routes()
		return strings.Contains(now, via(0, 0x1000)) && strings.Contains(now, via(many-1, 0x1000)) && !strings.Contains(now, via(1, 0))
	})
	h.configure(plan)
	until(t, "routes to hosts that went are gone", func() bool { return !strings.Contains(routes(), "fd7c:a1b2:c3d4::1") })
	if !strings.Contains(routes(), peerPrefix) {
		t.Errorf("the route to the host that stayed is gone:\n%s", routes())
	}
	const others = 3 // what the kernel tells by itself at any time
	for _, part := range whole {
		if n := passes(part) - before[part]; n > others {
			t.Errorf("%d changes of other hosts asked for %.0f passes over all %s, want at most %d", many+1, n, part, others)
		}
	}
	if n := passes("peers"); n < many {
		t.Errorf("%.0f passes for other hosts alone, want at least %d", n, many)
	}
}

// A route to a new host that cannot be had is told, and had as soon as it can be.
func TestOtherHostWhoseRouteIsTaken(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start()
	netnstest.Run(t, h.ns, "ip -6 route add unreachable "+otherPrefix(0)+" proto static")
	h.configure(plan + otherHosts(2, 0))
	until(t, "the status tells who has it", func() bool {
		o := h.object("kernel", "routes")
		return o.State == local.Failed && strings.Contains(o.Why, otherPrefix(0))
	})
	routes := func() string { return netnstest.Run(t, h.ns, "ip -6 route show proto 206") }
	until(t, "the other has its route", func() bool { return strings.Contains(routes(), otherPrefix(1)) })
	netnstest.Run(t, h.ns, "ip -6 route del unreachable "+otherPrefix(0)+" proto static")
	until(t, "it has its route", func() bool { return strings.Contains(routes(), otherPrefix(0)) })
}
