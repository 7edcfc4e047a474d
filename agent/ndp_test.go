package agent_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	twin "github.com/mdlayher/ndp"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/ipam"
)

// lanPlan is the plan of hosts on one link: HOSTS are Host objects by name, each with the prefix it has there.
func lanPlan(onLink string, prefixes map[string]string) string {
	text := `
apiVersion: hexapod.dev/v1alpha1
kind: AddressPlan
metadata: {name: fabric}
spec:
  prefix: 2001:db8:a000::/37
  lab: true
  outside: open # clients of these tests are neighbours that the plan does not know
  clusters: [{name: c1, number: 0, racks: [{name: r1, number: 1}]}]
  routerIDs: {h1: 10.0.0.1, h2: 10.0.0.2}
---
apiVersion: hexapod.dev/v1alpha1
kind: Pool
metadata: {name: fixed}
spec: {prefix: "2001:db8:1:2:f::/112", namespaces: [shop]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Address
metadata: {name: 20010db80001000200_0f000000000007}
spec: {address: "2001:db8:1:2:f::7", pool: fixed, namespace: shop, name: web}
`
	text = strings.Replace(text, "20010db80001000200_0f000000000007", "20010db800010002000f000000000007", 1)
	if onLink == "shared" { // no pool can lie in a prefix that hosts share
		text, _, _ = strings.Cut(text, "---\n")
	}
	for _, name := range []string{"h1", "h2"} {
		if prefixes[name] != "" {
			text += fmt.Sprintf(`---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: %s}
spec: {prefix: "%s", clock: trusted, uplinks: [{name: up0, onLink: %s}]}
`, name, prefixes[name], onLink)
		}
	}
	return text
}

var (
	ownPrefixes    = map[string]string{"h1": "2001:db8:1:2:a::/80", "h2": "2001:db8:1:2:b::/80"}
	sharedPrefixes = map[string]string{"h1": lanPrefix, "h2": lanPrefix}
)

// attach adds an endpoint.
func (h *host) attach(a cni.Backend, name string) (cni.Request, netip.Addr) {
	h.t.Helper()
	r := h.endpoint(name)
	got, err := a.Add(h.t.Context(), r)
	if err != nil {
		h.t.Fatalf("ADD %s: %v", name, err)
	}
	return r, got.Addrs[0]
}

// groups counts the solicited-node groups that a host has joined on up0.
func groups(t *testing.T, ns *netns.NS) (n int) {
	t.Helper()
	for line := range strings.Lines(netnstest.Run(t, ns, "cat /proc/net/igmp6")) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "up0" && strings.HasPrefix(f[2], "ff0200000000000000000001ff") {
			n++
		}
	}
	return n
}

// A host on a /64 that nobody routes to it. What neighbours ask for is answered, whether the host has a part of the /64 for its own
// or takes single addresses out of it.
func TestNeighboursOnALAN(t *testing.T) {
	t.Parallel()
	for onLink, prefixes := range map[string]map[string]string{"answer": ownPrefixes, "shared": sharedPrefixes} {
		t.Run(onLink, func(t *testing.T) {
			sw := newLAN(t, "mcast_snooping 0")
			h, mac := sw.host("h1", lanPlan(onLink, prefixes), "2001:db8:1:2::1/64")
			neighbour, _ := sw.join("2001:db8:1:2::9/64")
			a := h.start()
			r, addr := h.attach(a, "c1")
			ping := func() (string, bool) { return inNamespace(neighbour, "ping -6 -n -c 1 -W 10 "+addr.String()) }
			if out, ok := ping(); !ok {
				t.Errorf("the first ping is lost:\n%s", out)
			}

			t.Run("RFC 4861 7.3.3 unicast probe after reachable time", func(t *testing.T) { probed(t, h, neighbour, addr) })
			t.Run("RFC 4862 5.4.4 another claimant gives up", func(t *testing.T) { defended(t, h, sw, addr) })
			if mine := netnstest.Run(t, neighbour, "ip -6 neigh show "+addr.String()); !strings.Contains(mine, mac) {
				t.Errorf("the neighbour knows the endpoint as %q, want MAC %s", mine, mac)
			}

			if err := a.Del(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			netnstest.Run(t, neighbour, "ip -6 neigh flush dev up0")
			if out, ok := inNamespace(neighbour, "ping -6 -n -c 1 -W 2 "+addr.String()); ok {
				t.Errorf("an address that does not live is answered for:\n%s", out)
			}
		})
	}
}

// probed lets a neighbour be idle for longer than it believes an answer (RFC 4861 6.3.2), and sees that it asks the address itself and
// has an answer.
func probed(t *testing.T, h *host, neighbour *netns.NS, addr netip.Addr) {
	reachable := 300
	if soak() {
		reachable = 30000 // REACHABLE_TIME of RFC 4861 10
	}
	netnstest.Run(t, neighbour, fmt.Sprintf("sysctl -qw net.ipv6.neigh.up0.base_reachable_time_ms=%d net.ipv6.neigh.up0.delay_first_probe_time=1 net.ipv6.neigh.up0.mcast_resolicit=0", reachable))
	netnstest.Run(t, neighbour, "ip -6 neigh flush dev up0")
	heard := startPeer(t, h.ns, nil, "tcpdump", "-lnvi", "up0", "icmp6[icmp6type]=135 and dst "+addr.String())
	heard.says("listening on")
	state := func() string { return netnstest.Run(t, neighbour, "ip -6 neigh show "+addr.String()) }
	ping := func() {
		if out, ok := inNamespace(neighbour, "ping -6 -n -c 1 -W 10 "+addr.String()); !ok {
			t.Fatalf("ping:\n%s", out)
		}
	}
	ping()
	untilIn(t, 100, "the neighbour's knowledge gets old", func() bool { return !strings.Contains(state(), "REACHABLE") })
	// From here on what it learns lasts long enough to be seen.
	netnstest.Run(t, neighbour, "sysctl -qw net.ipv6.neigh.up0.base_reachable_time_ms=120000")
	ping() // by the old MAC; then it asks whether that is still right (RFC 4861 7.3.3)
	heard.says("> " + addr.String())
	until(t, "the probe is answered", func() bool { return strings.Contains(state(), "REACHABLE") })
}

// defended lets another node claim an address that an endpoint of h has.
func defended(t *testing.T, h *host, sw *lan, addr netip.Addr) {
	claimant, _ := sw.join()
	netnstest.Run(t, claimant, "sysctl -qw net.ipv6.conf.up0.accept_dad=1")
	for strings.HasSuffix(h.object("answers", "up0").Detail, " 0 defended") { // an announcement, of the first two seconds, makes it give up as well
		netnstest.Run(t, claimant, "ip -6 addr replace "+addr.String()+"/64 dev up0")
		until(t, "the claimant gives up", func() bool {
			return strings.Contains(netnstest.Run(t, claimant, "ip -6 addr show dev up0"), "dadfailed")
		})
		netnstest.Run(t, claimant, "ip -6 addr del "+addr.String()+"/64 dev up0")
	}
}

// Two hosts take addresses out of the prefix of one link. Each costs the switch one group however many endpoints it has, all reach
// each other without a route, and nothing of the prefix is a host's own.
func TestHostsShareThePrefixOfALink(t *testing.T) {
	t.Parallel()
	sw := newLAN(t, "mcast_snooping 0")
	var hosts []*host
	var all []netip.Addr
	var inside []cni.Request
	for i, name := range []string{"h1", "h2"} {
		h, _ := sw.host(name, lanPlan("shared", sharedPrefixes), fmt.Sprintf("2001:db8:1:2::%d/64", i+1))
		a := h.start()
		before := groups(t, h.ns)
		first := len(all)
		for n := range 5 {
			r, addr := h.attach(a, fmt.Sprintf("%s-%d", name, n))
			inside, all = append(inside, r), append(all, addr)
		}
		for _, addr := range all[first:] {
			if ndp.Group(addr) != ndp.Group(all[first]) {
				t.Errorf("host %s has %s and %s: two solicited-node groups", name, all[first], addr)
			}
		}
		if got := groups(t, h.ns) - before; got != 1 {
			t.Errorf("host %s joined %d groups for 5 endpoints, want 1", name, got)
		}
		for what, line := range map[string]string{"a discard route": "ip -6 route show proto 206 type unreachable", "a router address": "ip -6 addr show dev lo scope global"} {
			if out := netnstest.Run(t, h.ns, line); out != "" {
				t.Errorf("host %s has %s in a prefix that is shared:\n%s", name, what, out)
			}
		}
		if o := h.object("host", name); o.State != local.Done || !strings.Contains(o.Detail, lanPrefix) {
			t.Errorf("status of the host: %+v", o)
		}
		hosts = append(hosts, h)
	}
	if ndp.Group(all[0]) == ndp.Group(all[len(all)-1]) {
		t.Error("both hosts have the same group")
	}
	neighbour, _ := sw.join("2001:db8:1:2::9/64")
	from := map[netip.Addr]*netns.NS{netip.MustParseAddr("2001:db8:1:2::9"): neighbour}
	for _, i := range []int{0, 5} {
		r := inside[i]
		ns, err := netns.Open(r.NetNS)
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		from[all[i]] = ns
	}
	for who, ns := range from {
		for _, addr := range all {
			if addr == who {
				continue
			}
			if out, ok := inNamespace(ns, "ping -6 -n -c 1 -W 10 "+addr.String()); !ok {
				t.Errorf("the first ping of %s to %s is lost:\n%s", who, addr, out)
			}
		}
	}
	for _, h := range hosts {
		for _, peer := range []string{"h1", "h2"} {
			if s, err := h.client().Status(t.Context()); err != nil || strings.Contains(fmt.Sprint(s.Objects), "peer "+peer+" failed") {
				t.Errorf("%s: %v %v", h.name, s.Objects, err)
			}
		}
	}
}

// The first address that a host wants is somebody else's: the ADD fails and says whose, and its retry gets another one.
func TestRFC4862_5_4_AddressOfAnotherOnTheLink(t *testing.T) {
	t.Parallel()
	sw := newLAN(t, "mcast_snooping 0")
	h, _ := sw.host("h1", lanPlan("shared", sharedPrefixes), "2001:db8:1:2::1/64")
	other, mac := sw.join()
	claimed := claimFirst(t, other)
	a := h.start()
	r := h.endpoint("c1")
	_, err := a.Add(t.Context(), r)
	var theirs string
	select {
	case addr := <-claimed:
		theirs = addr.String()
	default:
		t.Fatalf("nobody was asked before the address was used: %v", err)
	}
	if err == nil || !strings.Contains(err.Error(), theirs) || !strings.Contains(err.Error(), mac) {
		t.Fatalf("ADD with an address that MAC %s has: %v", mac, err)
	}
	if list := h.endpoints(); len(list) != 0 {
		t.Errorf("the refused endpoint lives: %+v", list)
	}
	got, err := a.Add(t.Context(), r)
	if err != nil || got.Addrs[0].String() == theirs {
		t.Fatalf("the retry: %v, %v; want another address than %s", got.Addrs, err, theirs)
	}
	h.reaches(got.Addrs[0].String())
}

// claimFirst answers the first question of duplicate address detection on up0, whatever it asks for, as its owner would (RFC 4862
// 5.4.4), and tells the address.
func claimFirst(t *testing.T, ns *netns.NS) <-chan netip.Addr {
	t.Helper()
	var c *twin.Conn
	netnstest.Do(t, ns, func() error {
		link, err := net.InterfaceByName("up0")
		if err != nil {
			return err
		}
		c, _, err = twin.Listen(link, twin.LinkLocal)
		if err != nil {
			return err
		}
		return c.JoinGroup(ndp.Group(ownGroup("h1")))
	})
	t.Cleanup(func() { _ = c.Close() })
	claimed := make(chan netip.Addr, 1)
	go func() {
		for {
			m, _, from, err := c.ReadFrom()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if s, ok := m.(*twin.NeighborSolicitation); ok && from.WithZone("").IsUnspecified() {
				claimed <- s.TargetAddress // before the claim: who reads it there finds it here
				claim := &twin.NeighborAdvertisement{Override: true, TargetAddress: s.TargetAddress}
				if err := c.WriteTo(claim, nil, netip.MustParseAddr("ff02::1")); err != nil {
					t.Errorf("the claim of %s: %v", s.TargetAddress, err)
				}
				return
			}
		}
	}()
	return claimed
}

// ownGroup is an address that ends as those of a host in a shared prefix do.
func ownGroup(name string) netip.Addr {
	g := ipam.GroupOf(name)
	return netip.AddrFrom16([16]byte{0: 0x20, 13: byte(g >> 16), 14: byte(g >> 8), 15: byte(g)})
}

// A second host takes a fixed address over from one whose agent is dead: neighbours send there from its first word on.
func TestTakeoverOfAFixedAddress(t *testing.T) {
	t.Parallel()
	sw := newLAN(t, "mcast_snooping 0")
	var hosts [2]*host
	var macs [2]string
	var requests [2]cni.Request
	for i, name := range []string{"h1", "h2"} {
		hosts[i], macs[i] = sw.host(name, lanPlan("answer", ownPrefixes), fmt.Sprintf("2001:db8:1:2::%d/64", i+1))
		requests[i] = hosts[i].endpoint(name)
		requests[i].Name, requests[i].Fixed = "web", []netip.Addr{netip.MustParseAddr("2001:db8:1:2:f::7")}
	}
	addr := requests[0].Fixed[0].String()
	neighbour, _ := sw.join("2001:db8:1:2::9/64")
	first := hosts[0].start()
	if _, err := first.Add(t.Context(), requests[0]); err != nil {
		t.Fatal(err)
	}
	if out, ok := inNamespace(neighbour, "ping -6 -n -c 1 -W 10 "+addr); !ok {
		t.Fatalf("the first host does not answer:\n%s", out)
	}
	knows := func() string { return netnstest.Run(t, neighbour, "ip -6 neigh show "+addr) }
	if !strings.Contains(knows(), macs[0]) {
		t.Fatalf("the neighbour knows %q, want MAC %s", knows(), macs[0])
	}
	if err := hosts[0].stop(); err != nil { // its kernel goes on
		t.Fatal(err)
	}
	second := hosts[1].start()
	pings := startPeer(t, neighbour, nil, "ping", "-6", "-n", "-D", "-i", "0.01", addr)
	pings.says("icmp_seq=50 ")
	begin := time.Now()
	if _, err := second.Add(t.Context(), requests[1]); err != nil {
		t.Fatal(err)
	}
	added := time.Since(begin)
	until(t, "the neighbour sends to the second host", func() bool { return strings.Contains(knows(), macs[1]) })
	t.Logf("the neighbour sends to the second host %s after its ADD began, which took %s", time.Since(begin), added)
	netnstest.Run(t, hosts[0].ns, "ip link set up0 down") // whatever answers now is the second
	if out, ok := inNamespace(neighbour, "ping -6 -n -c 3 -W 10 "+addr); !ok || strings.Contains(out, "DUP") {
		t.Errorf("the second host does not answer alone:\n%s", out)
	}
	until(t, "the second host answers and says so", func() bool { return hosts[1].object("answers", "up0").State == local.Done })
}
