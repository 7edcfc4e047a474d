package agent_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// withTor is the plan with a router that gives what lies in 3fff::/20.
const withTor = plan + `---
apiVersion: hexapod.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec: {address: "2001:db8:f::2", asn: 65538, accept: ["3fff::/20"]}
`

// newFedHost is a host beside a BIRD that offers n prefixes and a way to the host's own.
func newFedHost(t *testing.T, n int) (h *host, router *netns.NS) {
	t.Helper()
	h, router = newRoutedHost(t, withTor)
	// Addresses stay when a link goes, so that the session outlives it.
	netnstest.Run(t, h.ns, "sysctl -qw net.ipv6.conf.up0.keep_addr_on_down=1")
	netnstest.Run(t, router, "sysctl -qw net.ipv6.conf.rt0.keep_addr_on_down=1")
	netnstest.Run(t, h.ns, "ip addr add 2001:db8:f::1/64 dev up0 nodad")
	netnstest.Run(t, router, "ip addr add 2001:db8:f::2/64 dev rt0 nodad")
	var routes strings.Builder
	for i := range n {
		fmt.Fprintf(&routes, "route 3fff:0:%x:%x::/64 blackhole;\n", i>>16, i&0xffff)
	}
	conf := h.file("bird.conf", `router id 192.0.2.2;
protocol device { scan time 1; }
protocol static feed { ipv6; `+routes.String()+`}
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; }
protocol bgp host {
	local 2001:db8:f::2 as 65538;
	neighbor 2001:db8:f::1 external;
	graceful restart on;
	connect retry time 1; error wait time 1, 2; connect delay time 1;
	ipv6 { import all; export where source = RTS_STATIC; next hop self; };
}
`)
	startPeer(t, router, nil, "bird", "-f", "-c", conf, "-s", filepath.Join(h.dir, "bird.ctl"), "-P", filepath.Join(h.dir, "bird.pid"))
	return h, router
}

// birdc speaks to the BIRD of newFedHost.
func (h *host) birdc(line string) {
	h.t.Helper()
	out, err := exec.Command("birdc", append([]string{"-s", filepath.Join(h.dir, "bird.ctl")}, strings.Fields(line)...)...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("birdc %s: %v: %s", line, err, out)
	}
}

// learned counts the learned routes of the host.
func (h *host) learned() int {
	return strings.Count(netnstest.Run(h.t, h.ns, "ip -6 route show proto 206 metric 2048"), "nhid")
}

// What the agent does to learned routes it is not told of, what others do it undoes, and a link that comes back brings them back.
func TestLearnedRoutesAreKept(t *testing.T) {
	t.Parallel()
	const n = 2000
	h, router := newFedHost(t, n)
	p := h.spawn()
	all := func() bool { return h.learned() == n }
	until(t, "all routes learned", all)
	h.birdc("disable feed")
	until(t, "all routes withdrawn", func() bool { return h.learned() == 0 })
	h.birdc("enable feed")
	until(t, "all routes learned again", all)
	if told := h.metric(`hexapod_agent_events_total{part="learned"}`); told != 0 {
		t.Errorf("the agent was told of %v learned routes that it took away itself", told)
	}
	netnstest.Run(t, h.ns, "ip -6 route del 3fff:0:0:7::/64 metric 2048")
	until(t, "the removed route is back", all)
	until(t, "the agent was told of the route that was removed", func() bool { return h.metric(`hexapod_agent_events_total{part="learned"}`) > 0 })
	netnstest.Run(t, router, "ip link set rt0 down")
	until(t, "the routes went with their link", func() bool { return h.learned() == 0 })
	netnstest.Run(t, router, "ip link set rt0 up")
	until(t, "the routes came back with their link", all)

	for name, want := range map[string]float64{
		`hexapod_bgp_established{peer="tor"}`: 1, `hexapod_bgp_prefixes{peer="tor",state="accepted"}`: n,
	} {
		until(t, fmt.Sprintf("%s is %v", name, want), func() bool { return h.metric(name) == want })
	}
	const ends = `hexapod_bgp_session_ends_total{how="by-peer",peer="tor"}`
	before := h.metric(ends) // BIRD ends a session by itself whose link it saw go
	h.birdc("disable host")
	until(t, "the end of the session is counted", func() bool { return h.metric(ends) == before+1 })
	h.birdc("enable host")
	until(t, "the session is back", func() bool { return h.metric(`hexapod_bgp_established{peer="tor"}`) == 1 && all() })

	netnstest.Run(t, h.ns, "ip -6 route add 3fff:ffff::/64 dev up0 proto static")
	p.end(syscall.SIGTERM)
	if !all() {
		t.Error("the end of the agent took learned routes away")
	}
	var out []byte
	netnstest.Do(t, h.ns, func() (err error) {
		out, err = exec.Command(h.program("hexapod"), "agent", "--cleanup", "--host", "h1", "--state", h.state(), "--run", h.run()).CombinedOutput()
		return err
	})
	if !strings.Contains(string(out), fmt.Sprintf("learned routes removed: %d\n", n)) {
		t.Errorf("--cleanup says:\n%s", out)
	}
	if left := netnstest.Run(t, h.ns, "ip -6 route show proto 206") + netnstest.Run(t, h.ns, "ip nexthop show"); left != "" {
		t.Errorf("--cleanup left:\n%s", left)
	}
	if kept := netnstest.Run(t, h.ns, "ip -6 route show proto static"); !strings.Contains(kept, "3fff:ffff::/64") {
		t.Error("--cleanup took a route of another program")
	}
}

// metric reads one number of a running agent; 0 when it is not there.
func (h *host) metric(name string) float64 {
	h.t.Helper()
	text, err := h.client().Metrics(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			number, err := strconv.ParseFloat(value, 64)
			if err != nil {
				h.t.Fatal(err)
			}
			return number
		}
	}
	return 0
}

// A scan of addresses that nothing has (RFC 7084 4.2, WPD-5): each packet crosses the uplink once, answers come as the
// kernel's limit lets them (RFC 4443 2.4 f), and the agent has nothing to do with it.
func TestScanFromOutside(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	const stray = 200 // neighbour discovery, and BGP
	h, router := newFedHost(t, 1)
	netnstest.Run(t, h.ns, "ip -6 route add default via 2001:db8:f::2 dev up0") // where packets would bounce to
	p := h.spawn()
	until(t, "the host's prefix is routed to it", func() bool {
		return strings.Contains(netnstest.Run(t, router, "ip -6 route show"), hostPrefix.String())
	})
	var c *net.UDPConn
	netnstest.Do(t, router, func() (err error) {
		c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8:f::2]:0")))
		return err
	})
	defer c.Close()
	in, out, busy, start := sent(t, router, "rt0"), sent(t, h.ns, "up0"), p.cpu(), time.Now()
	for i := range n {
		a := hostPrefix.Addr().As16()
		a[8], a[13], a[14], a[15] = 1, byte(i>>16), byte(i>>8), byte(i)
		_, _ = c.WriteToUDPAddrPort([]byte("scan"), netip.AddrPortFrom(netip.AddrFrom16(a), 9)) // an answer to one is an error of the next
	}
	took := time.Since(start)
	in, out, busy = sent(t, router, "rt0")-in, sent(t, h.ns, "up0")-out, p.cpu()-busy
	t.Logf("%d packets in %v: %d in, %d out, %v of the agent (%.1f %%)", n, took, in, out, busy, 100*busy.Seconds()/took.Seconds())
	if in < n-n/100 || in > n+stray { // an answer takes the place of a packet: the socket tells of it instead of sending
		t.Errorf("%d packets came in for %d sent", in, n)
	}
	// Some at once, then one in net.ipv6.icmp.ratelimit, which is a second at most.
	if most := 100 + stray + 10*int(took.Seconds()); out == 0 || out > most {
		t.Errorf("%d packets went out, want from 1 to %d", out, most)
	}
	const other = 50 * time.Millisecond // of the agent, which has just learned a route
	if busy > took/20+other {
		t.Errorf("the agent was busy for %v of %v", busy, took)
	}
}

// sent counts the packets that a link has sent.
func sent(t *testing.T, ns *netns.NS, link string) int {
	t.Helper()
	var shown []struct {
		Stats struct {
			TX struct{ Packets int } `json:"tx"`
		} `json:"stats64"`
	}
	out := netnstest.Run(t, ns, "ip -s -j link show "+link)
	if err := json.Unmarshal([]byte(out), &shown); err != nil || len(shown) != 1 {
		t.Fatalf("ip -s -j link show %s: %v\n%s", link, err, out)
	}
	return shown[0].Stats.TX.Packets
}
