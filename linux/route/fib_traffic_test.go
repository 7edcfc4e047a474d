package route_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// pair is two machines with a link-local address on each of two links and learned routes to each other.
type pair struct {
	near, far         *netns.NS
	nearFIB, farFIB   *route.FIB
	nearWant, farWant routes
	flows             []*net.UDPConn // from near, each answered by far
}

const flows = 32

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{near: netnstest.New(t), far: netnstest.New(t)}
	for _, ns := range []*netns.NS{p.near, p.far} {
		netnstest.Run(t, ns, "ip link set lo up")
		netnstest.Run(t, ns, "sysctl -qw net.ipv6.fib_multipath_hash_policy=1")
	}
	lladdr := func(s string) []netip.Prefix { return []netip.Prefix{netip.PrefixFrom(addr(s), 64)} }
	netnstest.Connect(t, netnstest.End{NS: p.near, Name: "up0", Quiet: true, Addrs: lladdr("fe80::1")}, netnstest.End{NS: p.far, Name: "up0", Quiet: true, Addrs: lladdr("fe80::a")})
	netnstest.Connect(t, netnstest.End{NS: p.near, Name: "up1", Quiet: true, Addrs: lladdr("fe80::2")}, netnstest.End{NS: p.far, Name: "up1", Quiet: true, Addrs: lladdr("fe80::b")})
	netnstest.Run(t, p.near, "ip -6 addr add 3fff:0:0:1::1/128 dev lo nodad")
	netnstest.Run(t, p.far, "ip -6 addr add 3fff:0:0:2::1/128 dev lo nodad")
	p.nearFIB, p.farFIB = openFIB(t, p.near), openFIB(t, p.far)
	p.nearWant = routes{prefix("3fff:0:0:2::/64"): {hopA, hopB}}
	p.farWant = routes{prefix("3fff:0:0:1::/64"): {via("fe80::1", "up0"), via("fe80::2", "up1")}}
	ensure(t, p.nearFIB, p.nearWant)
	ensure(t, p.farFIB, p.farWant)
	p.open(t)
	return p
}

// open makes the flows and the one that answers them.
func (p *pair) open(t *testing.T) {
	t.Helper()
	at := net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr("3fff:0:0:2::1"), 7))
	var server *net.UDPConn
	netnstest.Do(t, p.far, func() (err error) {
		server, err = net.ListenUDP("udp6", at)
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := server.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = server.WriteToUDPAddrPort(b[:n], from) // a way back that fails is a lost packet
			}
		}
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	for range flows {
		netnstest.Do(t, p.near, func() error {
			c, err := net.DialUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr("3fff:0:0:1::1"), 0)), at)
			if err == nil {
				p.flows = append(p.flows, c)
				t.Cleanup(func() { c.Close() })
			}
			return err
		})
	}
}

// answered sends on every flow until each has had an answer to what it sent now. It returns how many packets were lost.
func (p *pair) answered(t *testing.T, when string) (lost int) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for i, c := range p.flows {
		for try := byte(0); ; try++ {
			if exchange(c, []byte{byte(i), try}) {
				break
			}
			if lost++; time.Now().After(end) {
				t.Fatalf("%s: flow %d of %d has no answer", when, i, len(p.flows))
			}
		}
	}
	t.Logf("%s: %d packets lost on the way to an answer for each of %d flows", when, lost, len(p.flows))
	return lost
}

// exchange sends one packet and waits a little for its answer.
func exchange(c *net.UDPConn, packet []byte) bool {
	if _, err := c.Write(packet); err != nil {
		return false
	}
	b := make([]byte, 16)
	for {
		if c.SetReadDeadline(time.Now().Add(100*time.Millisecond)) != nil {
			return false
		}
		n, err := c.Read(b)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) { // an ICMPv6 error of before
				continue
			}
			return false
		}
		if string(b[:n]) == string(packet) {
			return true
		}
	}
}

// sent is how many packets a link has sent.
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

// bothUsed checks that the flows are spread over the two links.
func (p *pair) bothUsed(t *testing.T, when string) {
	t.Helper()
	before := [2]int{sent(t, p.near, "up0"), sent(t, p.near, "up1")}
	p.answered(t, when)
	for i, link := range []string{"up0", "up1"} {
		if n := sent(t, p.near, link) - before[i]; n < flows/8 {
			t.Errorf("%s: %d of %d packets went over %s", when, n, flows, link)
		}
	}
}

// TestFIBLinkDown takes one of two links away while nobody looks after the routes: the kernel goes on with the other. When
// the link is back, a Reconcile brings its next hop back.
func TestFIBLinkDown(t *testing.T) {
	for _, tc := range []struct {
		name string
		far  bool // the end that goes down
	}{
		{"the far end loses power", true},
		{"the own end is set down", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPair(t)
			p.bothUsed(t, "both links up")
			events, err := rtnl.Subscribe(p.near, rtnl.Links)
			if err != nil {
				t.Fatal(err)
			}
			defer events.Close()
			at, addrs := p.near, "fe80::2/64"
			if tc.far {
				at, addrs = p.far, "fe80::b/64"
			}
			netnstest.Run(t, at, "ip link set up1 down")
			await(t, events, "up1", false)
			p.answered(t, "one link down")
			expect(t, "one link down", p.near, objectA+group0+"1752694784 proto 206\n", "3fff:0:0:2::/64 nhid 1752760320 metric 2048\n"+byA)
			netnstest.Run(t, at, "ip link set up1 up")
			await(t, events, "up1", true)
			netnstest.Run(t, at, "ip -6 addr replace "+addrs+" dev up1 nodad") // the kernel forgets addresses of a link that is set down
			for fib, want := range map[*route.FIB]routes{p.nearFIB: p.nearWant, p.farFIB: p.farWant} {
				if delta, err := fib.Reconcile(context.Background(), want); err != nil || len(delta.Change) != 1 {
					t.Errorf("after the link is back: %v, %v", delta, err)
				}
			}
			expect(t, "link back", p.near, objectA+objectB+group0+"1752694784/1752694785 proto 206\n", "3fff:0:0:2::/64 nhid 1752760320 metric 2048\n"+byA+byB)
			p.bothUsed(t, "link back")
		})
	}
}

// await waits until a link runs or does not.
func await(t *testing.T, events *rtnl.Subscription, link string, running bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		list, err := events.Receive(ctx)
		if err != nil {
			t.Fatalf("wait for link %s: %v", link, err)
		}
		for _, e := range list {
			if e.Link != nil && e.Link.Name == link && e.Link.Running == running {
				return
			}
		}
	}
}

// TestFIBDown takes a router out of service while its link stays up.
func TestFIBDown(t *testing.T) {
	p := newPair(t)
	p.bothUsed(t, "both routers")
	for range 2 {
		if err := p.nearFIB.Down(context.Background(), hopB); err != nil {
			t.Fatal(err)
		}
	}
	before := sent(t, p.near, "up1")
	p.answered(t, "one router down")
	if n := sent(t, p.near, "up1") - before; n >= flows/8 {
		t.Errorf("%d packets went to a router that is down", n)
	}
	shown := showLearned(t, p.near)
	ensure(t, p.nearFIB, routes{prefix("3fff:0:0:2::/64"): {hopA}}) // the withdrawals come later and find it done
	if after := showLearned(t, p.near); after != shown {
		t.Errorf("the withdrawal changed\n%sto\n%s", shown, after)
	}
	ensure(t, p.nearFIB, p.nearWant)
	p.bothUsed(t, "both routers again")
	for _, h := range []desired.NextHop{hopA, hopB} {
		if err := p.nearFIB.Down(context.Background(), h); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "no router left", p.near, "", "")
	ensure(t, p.nearFIB, p.nearWant)
	p.bothUsed(t, "both routers at last")
}

// TestRFC4861_7_3_NextHopChangesItsMAC changes the MAC of the next hop while no agent runs: neighbour discovery is the
// kernel's, so traffic goes on, at once when the router tells (RFC 4861 7.2.6) and else when it is found unreachable.
func TestRFC4861_7_3_NextHopChangesItsMAC(t *testing.T) {
	for _, tc := range []struct {
		name string
		far  string // what the router does
	}{
		{"the router tells", "net.ipv6.conf.up0.ndisc_notify=1"},
		{"the router says nothing", "net.ipv6.conf.up0.ndisc_notify=0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPair(t)
			ensure(t, p.nearFIB, routes{prefix("3fff:0:0:2::/64"): {hopA}})
			netnstest.Run(t, p.far, "sysctl -qw "+tc.far)
			for _, timer := range []string{"base_reachable_time_ms=200", "delay_first_probe_time=1", "retrans_time_ms=50", "ucast_solicit=1"} {
				netnstest.Run(t, p.near, "sysctl -qw net.ipv6.neigh.up0."+timer)
			}
			p.answered(t, "before")
			for _, fib := range []*route.FIB{p.nearFIB, p.farFIB} {
				if err := fib.Close(); err != nil {
					t.Fatal(err)
				}
			}
			netnstest.Run(t, p.far, "ip link set up0 address 02:00:00:00:00:99")
			p.answered(t, "after")
			if out := netnstest.Run(t, p.near, "ip -6 neigh show fe80::a dev up0"); !strings.Contains(out, "02:00:00:00:00:99") {
				t.Errorf("the neighbour is still %s", out)
			}
		})
	}
}
