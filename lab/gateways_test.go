package lab_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/bgp"
	"hexapod.dev/lab"
	"hexapod.dev/lab/topology"
	"hexapod.dev/linux/nat64"
)

// Three hosts of a rack are gateways, a fourth has the clients, and no IPv4.
const (
	gatewaysText = `apiVersion: hexapod.dev/v1alpha1
kind: Translation
metadata: {name: gateways}
spec: {hosts: [r1h1, r1h2, r1h3], prefixes: ["2001:db8:8010:4::/96"], pool: [45.65.1.0/28], announce: true}
`
	flowsServer = 9000
)

var gatewayHosts = []string{"r1h1", "r1h2", "r1h3"}

// Marks: what becomes of 1,000 TCP flows, of four endpoints that fill a quarter of their blocks, and of new ones, when the gateway that has most of
// them hangs with its links up, is drained, loses its links, and when it is no more. Agents and routers are real; the times are told, not judged.
func TestGatewayFaults(t *testing.T) {
	if os.Getenv("HEXAPOD_SOAK") == "" {
		t.Log("make soak runs this")
		return
	}
	for _, c := range []struct {
		name string
		bfd  bool
	}{{"hold time", false}, {"BFD", true}} {
		t.Run(c.name, func(t *testing.T) {
			g := gatewaysUp(t, c.bfd)
			t.Run("hangs", func(t *testing.T) { g.on(t).hangs() })
			if c.bfd {
				return
			}
			t.Run("translator hangs", func(t *testing.T) { g.on(t).translatorHangs() })
			t.Run("agent killed", func(t *testing.T) { g.on(t).agentKilled() })
			t.Run("drained", func(t *testing.T) { g.on(t).drained() })
			t.Run("links down", func(t *testing.T) { g.on(t).linksDown() })
			t.Run("destroyed", func(t *testing.T) { g.on(t).destroyed() })
		})
	}
}

// gateways are a lab with gateways, and flows through them.
type gateways struct {
	fabric
	flows []net.Conn
	by    []netip.Addr // the address of the pool that the server sees each by
	its   []bool       // it belongs to the gateway that has most of them
}

func (g *gateways) on(t *testing.T) *gateways { return &gateways{fabric: fabric{t, g.Lab}} }

func gatewaysUp(t *testing.T, bfd bool) *gateways {
	l := up(t, lab.Options{Name: testName("gates"), BFD: bfd, Size: topology.Size{Racks: 1, Hosts: 4, Endpoints: 8}})
	g := &gateways{fabric: fabric{t, l}}
	if err := l.AddInternet(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Configure("translations.yaml", []byte(gatewaysText)); err != nil {
		t.Fatal(err)
	}
	g.serve()
	go g.follow()
	g.allLive()
	return g
}

// allLive waits until all gateways are at work and led to.
func (g *gateways) allLive() {
	g.Helper()
	g.eventually("all gateways live and are led to", func() bool {
		for _, h := range gatewayHosts {
			if s, err := g.nat64(h); err != nil || s.Together == nil || len(s.Together.Living) != len(gatewayHosts) || g.ledTo(h) == 0 {
				return false
			}
		}
		return true
	})
}

func (g *gateways) nat64(host string) (nat64.Status, error) {
	return local.NewClient(g.folder(host, "run/hexapod")).NAT64(g.Context(), 64)
}

// serve answers every byte by the same one, on the Internet.
func (g *gateways) serve() {
	in, err := g.Inside(topology.Internet)
	if err != nil {
		g.Fatal(err)
	}
	var l net.Listener
	if err := in(func() (err error) { l, err = net.Listen("tcp4", fmt.Sprint(":", flowsServer)); return err }); err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().As4()
				if _, err := c.Write(from[:]); err == nil {
					_, _ = io.Copy(c, c)
				}
			}()
		}
	}()
}

// follow lets the outside lead each address of the pool where the ToR would, as a router that takes IPv4 routes with IPv6 next hops does.
func (g *gateways) follow() {
	in, err := g.Inside("tor1")
	if err != nil {
		g.Error(err)
		return
	}
	// It takes a link of the ToR that is down for one of its own, which is the other cable of the same host.
	down := func(link string) bool {
		var state []byte
		_ = in(func() (err error) { state, err = os.ReadFile("/sys/class/net/" + link + "/operstate"); return err })
		return string(state) != "up\n"
	}
	led := map[netip.Prefix]string{}
	for tick := time.NewTicker(10 * time.Millisecond); g.Context().Err() == nil; <-tick.C {
		list, err := local.NewClient(g.folder("tor1", "run/hexapod")).BGPOffers(g.Context(), false)
		if err != nil {
			continue
		}
		list = slices.DeleteFunc(list, func(o bgp.Offer) bool { return !o.Prefix.Addr().Is4() || down(o.NextHop.Link) })
		short, want := map[netip.Prefix]int{}, map[netip.Prefix]string{}
		for _, o := range list {
			if n := len(o.ASPath); short[o.Prefix] == 0 || n < short[o.Prefix] {
				short[o.Prefix], want[o.Prefix] = n, strings.TrimPrefix(o.NextHop.Link, "to-")
			}
		}
		var lines strings.Builder
		for p, host := range want {
			if led[p] != host {
				fmt.Fprintf(&lines, "route replace %s via 45.64.1.%d dev v4-%s\n", p, 4*int(host[3]-'0')-2, host)
			}
		}
		if lines.Len() == 0 {
			continue
		}
		err = g.Exec(topology.Outside, []string{"ip", "-force", "-batch", "-"}, lab.Streams{In: strings.NewReader(lines.String())})
		if err == nil { // else a link is down that the ToR does not know of yet
			led = want
		}
	}
}

// ledTo is how many prefixes the ToR has by a gateway.
func (g *gateways) ledTo(host string) (n int) {
	for _, o := range g.offers("tor1", false) {
		if o.NextHop.Link == "to-"+host && o.Prefix.Bits() != 64 {
			n++
		}
	}
	return n
}

// dial opens a flow of an endpoint and tells by which address the server sees it.
func (g *gateways) dial(endpoint string, patience time.Duration) (net.Conn, netip.Addr, error) {
	in, err := g.Inside(endpoint)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	server := netip.AddrPortFrom(netip.MustParseAddr("2001:db8:8010:4::45.66.0.80"), flowsServer)
	deadline := time.Now().Add(patience)
	var c net.Conn
	err = in(func() (err error) {
		c, err = (&net.Dialer{Deadline: deadline}).Dial("tcp6", server.String())
		return err
	})
	if err != nil {
		return nil, netip.Addr{}, err
	}
	var from [4]byte
	_ = c.SetDeadline(deadline)
	if _, err := io.ReadFull(c, from[:]); err != nil {
		c.Close()
		return nil, netip.Addr{}, err
	}
	return c, netip.AddrFrom4(from), nil
}

// begin opens 250 flows of each of four endpoints, and returns the gateway that has most of them.
func (g *gateways) begin() (host string, its int) {
	const endpoints, each = 4, 250
	g.flows, g.by = make([]net.Conn, endpoints*each), make([]netip.Addr, endpoints*each)
	var wait sync.WaitGroup
	for e := range endpoints {
		wait.Go(func() {
			for k := range each {
				var err error
				if g.flows[e*each+k], g.by[e*each+k], err = g.dial(fmt.Sprintf("r1h4-e%d", e+1), time.Minute); err != nil {
					g.Errorf("open a flow: %v", err)
					return
				}
			}
		})
	}
	wait.Wait()
	g.Cleanup(func() {
		for _, c := range g.flows {
			if c != nil {
				c.Close()
			}
		}
	})
	if g.Failed() {
		g.FailNow()
	}
	s, err := g.nat64("r1h1")
	if err != nil {
		g.Fatal(err)
	}
	has := map[string]int{}
	for _, a := range s.Together.Addrs {
		for _, by := range g.by {
			if by == a.Addr {
				has[a.Owner]++
			}
		}
	}
	for _, h := range gatewayHosts {
		if has[h] > its {
			host, its = h, has[h]
		}
	}
	owned := map[netip.Addr]bool{}
	for _, a := range s.Together.Addrs {
		owned[a.Addr] = a.Owner == host
	}
	g.its = make([]bool, len(g.flows))
	for i, by := range g.by {
		g.its[i] = owned[by]
	}
	g.eventually("heirs know all bindings", func() bool {
		kept := 0
		for _, h := range gatewayHosts {
			s, err := g.nat64(h)
			if err != nil || s.Together.Untold > 0 {
				return false
			}
			kept += s.Together.Kept // of flows before them, too
		}
		return kept >= len(g.flows)
	})
	return host, its
}

// alive sends a byte on every flow and tells how many come back, of those of the gateway that has most and of the others.
func (g *gateways) alive() (its, others int) {
	var wait sync.WaitGroup
	ok := make([]bool, len(g.flows))
	for i, c := range g.flows {
		wait.Go(func() {
			_ = c.SetDeadline(time.Now().Add(30 * time.Second)) // TCP sends it again meanwhile
			if _, err := c.Write([]byte{1}); err == nil {
				_, err = io.ReadFull(c, make([]byte, 1))
				ok[i] = err == nil
			}
		})
	}
	wait.Wait()
	for i, o := range ok {
		switch {
		case o && g.its[i]:
			its++
		case o:
			others++
		}
	}
	return its, others
}

// attempt is a flow that was begun.
type attempt struct {
	begun, took time.Duration // since the fault; until it was answered
	ok          bool
	err         error
}

// attempts begins a flow every 10 ms, from eight endpoints in turn, until stop is closed, and gives each so long.
func (g *gateways) attempts(since time.Time, patience time.Duration, stop <-chan struct{}) (list []attempt) {
	var wait sync.WaitGroup
	var mu sync.Mutex
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			wait.Wait()
			slices.SortFunc(list, func(a, b attempt) int { return int(a.begun - b.begun) })
			return list
		case <-tick.C:
		}
		wait.Go(func() {
			begun := time.Now()
			c, _, err := g.dial(fmt.Sprintf("r1h4-e%d", i%8+1), patience)
			if err == nil {
				c.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			list = append(list, attempt{begun.Sub(since), time.Since(begun), err == nil, err})
		})
	}
}

// hangs: agent and translator of a gateway do nothing any more.
func (g *gateways) hangs() {
	host, its := g.begin()
	began := time.Now()
	if err := g.HangAgent(host, true); err != nil {
		g.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan []attempt, 1)
	go func() { ended <- g.attempts(began, time.Second/2, stop) }()
	g.eventually("the gateway that hangs is not led to", func() bool { return g.ledTo(host) == 0 })
	withdrawn := time.Since(began)
	g.eventually("time for some more flows", func() bool { return time.Since(began) > withdrawn+2*time.Second })
	close(stop)
	list := <-ended
	var served time.Duration
	for _, a := range list {
		if !a.ok {
			served = a.begun
		}
	}
	g.Logf("%s hangs with %d of %d flows: not led to after %v; of %d new flows, which wait half a second, all begun after %v succeed",
		host, its, len(g.flows), withdrawn.Round(10*time.Millisecond), len(list), served.Round(10*time.Millisecond))
	if last := list[len(list)-1]; !last.ok {
		g.Error("new flows still fail when nothing leads to the gateway that hangs")
	}
	g.lives(its)
	if err := g.HangAgent(host, false); err != nil {
		g.Fatal(err)
	}
	g.allLive()
}

// lives counts what goes on, and returns how many of a hundred flows of the gateway: seventy at least. The others lose none.
func (g *gateways) lives(its int) (share int) {
	g.Helper()
	own, others := g.alive()
	share = own * 100 / its
	g.Logf("%d of its %d flows go on, and %d of %d of the others", own, its, others, len(g.flows)-its)
	if share < 70 {
		g.Errorf("%d of its %d flows are lost", its-own, its)
	}
	if n := len(g.flows) - its - others; n > 0 {
		g.Errorf("%d flows of the others are lost", n)
	}
	return share
}

// agentKilled: the translator lives on, and so does what leads to it.
func (g *gateways) agentKilled() {
	g.unharmed("whose agent is killed and started again", 0, func(host string) {
		if err := g.KillAgent(host); err != nil {
			g.Fatal(err)
		}
		killed := time.Now()
		g.eventually("time without an agent", func() bool { return time.Since(killed) > 2*time.Second })
		if g.ledTo(host) == 0 {
			g.Errorf("nothing leads to %s", host)
		}
		if err := g.StartAgent(g.Context(), host); err != nil {
			g.Fatal(err)
		}
	})
}

// drained: a gateway says that it goes, goes, and comes back.
func (g *gateways) drained() {
	g.unharmed("which is drained and comes back", 1, func(host string) {
		begun := time.Now()
		g.exec(host, "hexapod", "drain", "--wait", "2s")
		g.Logf("drained after %v", time.Since(begun).Round(time.Millisecond))
		if n := g.ledTo(host); n > 0 {
			g.Errorf("%s is drained and led to by %d prefixes", host, n)
		}
		g.exec(host, "hexapod", "drain", "--undo")
	})
}

// unharmed does something to the gateway that has most flows, and counts flows that go on, all of them, and new ones that fail: at most so many of
// a hundred, those that begin in the very moment in which an address changes hands.
func (g *gateways) unharmed(what string, most int, do func(host string)) {
	g.Helper()
	host, its := g.begin()
	stop, ended := make(chan struct{}), make(chan []attempt, 1)
	began := time.Now()
	go func() { ended <- g.attempts(began, 20*time.Second, stop) }()
	do(host)
	g.allLive()
	close(stop)
	list := <-ended
	failed, slowest := 0, time.Duration(0)
	for _, a := range list {
		slowest = max(slowest, a.took)
		if !a.ok {
			failed++
			g.Logf("a flow begun %v after the begin failed %v later: %v", a.begun.Round(time.Millisecond), a.took.Round(time.Millisecond), a.err)
		}
	}
	own, others := g.alive()
	n := own + others
	g.Logf("%s, %s, has %d of %d flows: %d of %d new flows fail, the slowest in %v; %d of %d flows go on",
		host, what, its, len(g.flows), failed, len(list), slowest.Round(time.Millisecond), n, len(g.flows))
	if failed*100 > most*len(list) || n < len(g.flows) {
		g.Error("that costs flows")
	}
}

func (g *gateways) linksDown() {
	host, its := g.begin()
	down := func(up bool) {
		g.Helper()
		state := map[bool]string{true: "up", false: "down"}[up]
		if err := g.SetLink("tor1", "to-"+host, up); err != nil {
			g.Fatal(err)
		}
		g.exec(topology.Outside, "ip", "link", "set", "v4-"+host, state)
	}
	began := time.Now()
	down(false)
	g.lost(began, host, its)
	down(true)
	g.allLive()
}

func (g *gateways) destroyed() (share int) {
	host, its := g.begin()
	began := time.Now()
	if err := g.DestroyHost(host); err != nil {
		g.Fatal(err)
	}
	return g.lost(began, host, its)
}

// lost counts the flows that go on without a gateway, and the new ones that were begun one second after it was gone. It returns what lives does.
func (g *gateways) lost(began time.Time, host string, its int) (share int) {
	g.Helper()
	stop := make(chan struct{})
	time.AfterFunc(3*time.Second, func() { close(stop) })
	list := g.attempts(began, 20*time.Second, stop)
	var from, ok, prompt int
	var slowest time.Duration
	for _, a := range list {
		if a.begun < time.Second {
			continue
		}
		from++
		if a.ok {
			ok++
			slowest = max(slowest, a.took)
		}
		if a.ok && a.took < time.Second { // the first retransmission of a SYN (RFC 6298 2.1)
			prompt++
		}
	}
	g.Logf("%s is lost with %d of %d flows: of %d new flows begun 1.0 s to 3 s later %d succeed, %d without a SYN sent again, the slowest in %v",
		host, its, len(g.flows), from, ok, prompt, slowest.Round(time.Millisecond))
	if ok < from {
		g.Errorf("%d of %d new flows fail", from-ok, from)
	}
	return g.lives(its)
}
