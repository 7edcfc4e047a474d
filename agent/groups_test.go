package agent_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/netns/netnstest"
)

// Through a switch with multicast snooping and a querier, for longer than it remembers who does not report: a host with many
// endpoints in a shared prefix is one group there, and each endpoint is found. Beside are a host whose reports are lost, as the
// control that the switch does forget, and ndppd.
func TestManyEndpointsCostOneGroup(t *testing.T) {
	t.Parallel()
	endpoints, patience := 40, 20
	bridge := "mcast_snooping 1 mcast_querier 1 mcast_mld_version 2 mcast_startup_query_interval 100 "
	if soak() { // the switch's own times: a query every 125 s, a group forgotten after 260 s (RFC 3810 9)
		endpoints, patience = 3000, 400
	} else {
		bridge += "mcast_query_interval 200 mcast_query_response_interval 50 mcast_membership_interval 500"
	}
	sw := newLAN(t, bridge)
	for _, querier := range []string{"0", "1"} { // anew, with these times
		netnstest.Run(t, sw.ns, "ip link set br0 type bridge mcast_querier "+querier)
	}
	h, _ := sw.host("h1", lanPlan("shared", sharedPrefixes), "2001:db8:1:2::1/64")
	neighbour, _ := sw.join("2001:db8:1:2::9/64")
	beside, _ := sw.join("2001:db8:1:2::2/64")
	deaf, _ := sw.join("2001:db8:1:2::3/64")
	ping := func(addr string) bool {
		netnstest.Run(t, neighbour, "ip -6 neigh flush dev up0")
		_, ok := inNamespace(neighbour, "ping -6 -n -c 1 -W 1 "+addr)
		return ok
	}

	a := h.start()
	before := groups(t, h.ns)
	all := h.attachMany(a, endpoints)
	if got := groups(t, h.ns) - before; got != 1 {
		t.Errorf("%d endpoints joined %d groups, want 1", endpoints, got)
	}

	const theirs, lost = "2001:db8:1:2:aaaa::1", "2001:db8:1:2::dead:beef"
	netnstest.Run(t, beside, "ip -6 addr add "+theirs+"/128 dev lo")
	ndppd, err := exec.LookPath("ndppd")
	if err != nil {
		t.Fatalf("ndppd is missing, install the packages of test/packages.txt: %v", err)
	}
	startPeer(t, beside, nil, ndppd, "-c", h.file("ndppd.conf", "proxy up0 {\n rule 2001:db8:1:2:aaaa::/80 {\n  static\n }\n}\n"))

	mdb := func() string { return netnstest.Run(t, sw.ns, "bridge mdb show") }
	netnstest.Run(t, deaf, "ip -6 addr add "+lost+"/64 dev up0 nodad")
	until(t, "the switch learns the group of the deaf host", func() bool { return strings.Contains(mdb(), "ff02::1:ffad:beef") })
	netnstest.Run(t, deaf, "nft add table ip6 deaf")
	netnstest.Run(t, deaf, "nft add chain ip6 deaf out { type filter hook output priority 0 ; }")
	netnstest.Run(t, deaf, "nft add rule ip6 deaf out icmpv6 type { mld-listener-report, mld2-listener-report } drop")
	untilIn(t, patience, "the membership time-out is over", func() bool { return !strings.Contains(mdb(), "ff02::1:ffad:beef") })
	untilIn(t, 60, "the switch does not flood", func() bool { return !ping(lost) })

	found := 0
	for _, i := range []int{0, 1, endpoints / 2, endpoints - 1} {
		// Not the first ping: on a busy machine the answer of the agent, or to a query of the switch, may take longer than a ping waits.
		untilIn(t, 60, all[i].String()+" is found behind the switch", func() bool { return ping(all[i].String()) })
		found++
	}
	group := ndp.Group(all[0])
	if n := strings.Count(mdb(), "port p1 grp "+group.String()+" "); n != 1 {
		t.Errorf("the switch has the host's group %s %d times, want once:\n%s", group, n, mdb())
	}
	t.Logf("hexapod: %d endpoints, %d group joined, %d of 4 found; ndppd: 1 address, found %v", endpoints, groups(t, h.ns)-before, found, ping(theirs))
}

// attachMany adds so many endpoints and returns their addresses.
func (h *host) attachMany(a cni.Backend, n int) []netip.Addr {
	h.t.Helper()
	requests := make([]cni.Request, n)
	for i := range requests {
		requests[i] = h.endpoint(fmt.Sprintf("many-%d", i))
	}
	all := make([]netip.Addr, n)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(n, 200) { // each waits a second for objections (RFC 4862 5.4)
		workers.Go(func() {
			for i := range next {
				got, err := a.Add(h.t.Context(), requests[i])
				if err != nil {
					h.t.Errorf("ADD %d: %v", i, err)
					continue
				}
				all[i] = got.Addrs[0]
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	if h.t.Failed() {
		h.t.FailNow()
	}
	return all
}
