package lab_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/bgp"
	"hexapod.dev/edge/bgp/bgptest"
	"hexapod.dev/lab"
	"hexapod.dev/lab/labtest"
	"hexapod.dev/lab/probe"
	"hexapod.dev/lab/topology"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/prefix"
)

// fabric is a lab with two cables to each host, under test.
type fabric struct {
	*testing.T
	*lab.Lab
}

// What a host of ours needs from the routers above it, with each kind of router.
func TestRouters(t *testing.T) {
	t.Parallel()
	for _, kind := range []lab.RouterKind{lab.HexapodRouter, lab.FRRRouter, lab.BIRDRouter} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			labtest.Router(t, kind)
			began := time.Now()
			l := up(t, lab.Options{Name: testName(string(kind)), Router: kind, Open: true, Size: topology.Size{Racks: 2, Hosts: 2, Endpoints: 1, Cables: 2},
				Report: func(step string) {
					if strings.HasPrefix(step, "routers") {
						began = time.Now()
					}
				}})
			for _, c := range []struct {
				name  string
				run   func(fabric)
				alike bool // whatever the routers are: with -short, one kind is enough
			}{
				{"sessions", func(f fabric) { f.sessions(began) }, false},
				{"one route for each rack", fabric.aggregates, false},
				{"a cable is pulled", fabric.pulledCable, false},
				{"the MAC of the next hop changes without an agent", fabric.newMAC, true},
				{"RFC 7606 and RFC 8212: a peer that means harm", fabric.badPeer, true},
				{"without a drain (control)", fabric.notDrained, true},
				{"drain", fabric.drain, false},
			} {
				if c.alike && testing.Short() && kind != lab.HexapodRouter {
					continue
				}
				t.Run(c.name, func(t *testing.T) { c.run(fabric{t, l}) })
			}
			if kind != lab.HexapodRouter && !testing.Short() { // ours never does; make soak runs it
				t.Run("a ToR that calls itself a default router", func(t *testing.T) { fabric{t, l}.defaultRouter(kind) })
			}
		})
	}
}

// bound is for whatever converges, on a machine that does much else.
const bound = 90 * time.Second

// eventually waits until ok says that it is so.
func (f fabric) eventually(what string, ok func() bool) {
	f.Helper()
	deadline := time.After(bound)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			f.Fatalf("after %v: not %s", bound, what)
		case <-tick.C:
		}
	}
}

func (f fabric) folder(machine, name string) string {
	return filepath.Join(lab.Dir, f.Lab.Name(), "machines", machine, name)
}

// peers asks the agent of a host with whom it speaks.
func (f fabric) peers(host string) map[string]bgp.PeerStatus {
	f.Helper()
	list, err := local.NewClient(f.folder(host, "run/hexapod")).BGPPeers(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	all := map[string]bgp.PeerStatus{}
	for _, p := range list {
		all[p.Name] = p
	}
	return all
}

func (f fabric) offers(host string, rejected bool) []bgp.Offer {
	f.Helper()
	list, err := local.NewClient(f.folder(host, "run/hexapod")).BGPOffers(f.Context(), rejected)
	if err != nil {
		f.Fatal(err)
	}
	return list
}

func established(peers map[string]bgp.PeerStatus) bool {
	for _, p := range peers {
		if p.State != bgp.Established {
			return false
		}
	}
	return len(peers) > 0
}

// routes returns the destinations that a machine forwards to.
func (f fabric) routes(machine string) (all []netip.Prefix) {
	f.Helper()
	in, err := f.Inside(machine)
	if err != nil {
		f.Fatal(err)
	}
	err = in(func() error {
		here, err := netns.Current()
		if err != nil {
			return err
		}
		defer here.Close()
		conn, err := rtnl.Dial(here)
		if err != nil {
			return err
		}
		defer conn.Close()
		list, err := conn.Routes(unix.RT_TABLE_MAIN, 0)
		for _, r := range list {
			if r.Type == unix.RTN_UNICAST {
				all = append(all, r.Dst)
			}
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return all
}

func (f fabric) exec(where string, words ...string) {
	f.Helper()
	var said strings.Builder
	if err := f.Exec(where, words, lab.Streams{Out: &said, Err: &said}); err != nil {
		f.Fatalf("%s on %s: %v: %s", words, where, err, said.String())
	}
}

// stream pings from one place to another until stop, which returns how it went.
func (f fabric) stream(from string, dst netip.Addr, patience time.Duration) (stop func() probe.Tally, answered func(n int)) {
	f.Helper()
	in, err := f.Inside(from)
	if err != nil {
		f.Fatal(err)
	}
	p, err := probe.NewPinger(in)
	if err != nil {
		f.Fatal(err)
	}
	answers := make(chan struct{}, 1<<16)
	ctx, cancel := context.WithCancel(f.Context())
	var tally probe.Tally
	done := make(chan error, 1)
	go func() {
		var err error
		s := probe.Stream{Dst: dst, Interval: 10 * time.Millisecond, Patience: patience, Each: func(probe.Reply) { answers <- struct{}{} }}
		tally, err = s.Run(ctx, p)
		done <- err
	}()
	answered = func(n int) {
		f.Helper()
		late := time.After(bound)
		for range n {
			select {
			case <-answers:
			case <-late:
				f.Fatalf("no %d answers from %s within %v", n, dst, bound)
			}
		}
	}
	stop = func() probe.Tally {
		cancel()
		if err := <-done; err != nil {
			f.Error(err)
		}
		if err := p.Close(); err != nil {
			f.Error(err)
		}
		return tally
	}
	return stop, answered
}

// Patience for the last answers of a stream: a stream that lost one waits as long for it, so where some are lost it is short.
const (
	patience    = 2 * time.Second
	noneAreLost = 30 * time.Second
)

// fresh is a number of answers that takes a second.
const fresh = 100

func (f fabric) sessions(began time.Time) {
	var last time.Time
	for _, h := range f.Hosts() {
		f.eventually("every session of "+h.Name+" established", func() bool { return established(f.peers(h.Name)) })
		for _, p := range f.peers(h.Name) {
			if p.Since.After(last) {
				last = p.Since
			}
		}
	}
	f.Logf("all sessions of the hosts: %v after the start of the routers", last.Sub(began).Round(10*time.Millisecond))
	f.eventually("the way out by AS 65538 over both cables", func() bool { // routes come after their session
		far := 0
		for _, o := range f.offers("r1h1", false) {
			if o.Prefix.Bits() == 0 && len(o.ASPath) > 1 && slices.Equal(o.ASPath[1:], []uint32{4200000000, bgptest.ASN}) && o.Used {
				far++
			}
		}
		return far == 2
	})
}

func (f fabric) aggregates() {
	plan := f.Plan()
	cluster := plan.Clusters[0]
	var want []netip.Prefix
	for _, r := range cluster.Racks {
		p, err := plan.RackPrefix(cluster, r.Number)
		if err != nil {
			f.Fatal(err)
		}
		want = append(want, p)
	}
	f.eventually(fmt.Sprintf("one route for each rack at the spine, and nothing else inside the racks: %v", want), func() bool {
		var got []netip.Prefix
		for _, p := range f.routes(topology.Spine) {
			if slices.ContainsFunc(want, func(r netip.Prefix) bool { return prefix.ContainsPrefix(r, p) }) {
				got = append(got, p)
			}
		}
		slices.SortFunc(got, prefix.Compare)
		return slices.Equal(got, want)
	})
	f.eventually("the fabric at the outside", func() bool { return slices.Contains(f.routes(topology.Outside), plan.Prefix) })
}

func (f fabric) pulledCable() {
	for _, end := range []struct{ machine, link string }{{"tor2", "to-r2h1"}, {"r1h1", "up1"}} {
		stop, answered := f.stream("r1h1-e1", f.Addr("r2h1-e1"), patience)
		answered(fresh)
		if err := f.SetLink(end.machine, end.link, false); err != nil {
			f.Fatal(err)
		}
		answered(fresh)
		t := stop()
		f.Logf("%s on %s pulled: %d of %d lost, %v without answers", end.link, end.machine, t.Lost, t.Sent, time.Duration(t.Lost)*10*time.Millisecond)
		if err := f.SetLink(end.machine, end.link, true); err != nil {
			f.Fatal(err)
		}
		for _, host := range []string{"r1h1", "r2h1"} {
			f.eventually("the sessions of "+host+" back", func() bool { return established(f.peers(host)) })
		}
	}
	if err := f.Converge(f.Context()); err != nil {
		f.Fatal(err)
	}
}

func (f fabric) newMAC() {
	if err := f.KillAgent("r2h2"); err != nil {
		f.Fatal(err)
	}
	stop, answered := f.stream("r2h2-e1", f.Addr("r1h1-e1"), patience)
	answered(fresh)
	for _, link := range []string{"to-r2h2", "to-r2h2-2"} {
		f.exec("tor2", "ip", "link", "set", link, "address", fmt.Sprintf("02:00:5e:%02x:00:01", len(link)))
	}
	answered(fresh)
	t := stop()
	f.Logf("the MAC of the next hop changed, no agent: %d of %d lost", t.Lost, t.Sent)
	if err := f.StartAgent(f.Context(), "r2h2"); err != nil {
		f.Fatal(err)
	}
	f.eventually("the sessions of r2h2 back", func() bool { return established(f.peers("r2h2")) })
}

// rogue is what r1h2 has as one more peer.
const rogue = `apiVersion: hexapod.dev/v1alpha1
kind: BGPPeer
metadata: {name: rogue}
spec: {hosts: [r1h2], address: "3fff:0:0:9::bad", asn: 65538, passive: true, maxPrefixes: 1000}
`

func (f fabric) badPeer() {
	const host = "r1h2"
	if err := os.WriteFile(f.folder(host, "etc/rogue.yaml"), []byte(rogue), 0o644); err != nil {
		f.Fatal(err)
	}
	f.exec("tor1", "ip", "addr", "add", "3fff:0:0:9::bad/64", "dev", "to-"+host, "nodad")
	f.exec(host, "ip", "addr", "add", "3fff:0:0:9::2/64", "dev", "up0", "nodad")
	in, err := f.Inside("tor1")
	if err != nil {
		f.Fatal(err)
	}
	var bad net.Conn
	connect := func() {
		f.Helper()
		f.eventually("the rogue connected", func() bool {
			var err error
			bad, err = bgptest.Dial(f.Context(), in, "3fff:0:0:9::2", 99)
			return err == nil
		})
	}
	connect()
	f.eventually("established with the rogue", func() bool { return f.peers(host)["rogue"].State == bgp.Established })
	since := f.peers(host)
	stop, answered := f.stream("r1h2-e1", f.Addr("r2h1-e1"), noneAreLost)
	answered(fresh)
	own, err := f.Plan().PrefixOf(f.Plan().Hosts[1])
	if err != nil {
		f.Fatal(err)
	}
	hop := netip.MustParseAddr("3fff:0:0:9::bad")
	say := func(b []byte) {
		f.Helper()
		if _, err := bad.Write(b); err != nil {
			f.Fatal(err)
		}
	}

	say(bgptest.Announce(hop, own, netip.MustParsePrefix("::/0"), netip.MustParsePrefix("2001:db8:ffff::/48")))
	want := map[string]announce.Why{own.String(): announce.WhyOwn, "::/0": announce.WhyDefault, "2001:db8:ffff::/48": announce.WhyNotAccepted}
	f.eventually("three offers of the rogue refused, and why", func() bool {
		found := 0
		for _, o := range f.offers(host, true) {
			if o.Peer == "rogue" && want[o.Prefix.String()] == o.Why {
				found++
			}
		}
		return found == len(want)
	})
	say(bgptest.Malformed())
	f.eventually("the malformed update shown", func() bool { return f.peers(host)["rogue"].LastError != "" })
	f.Logf("shown of a malformed update: %s", f.peers(host)["rogue"].LastError)
	bytes := rand.New(rand.NewPCG(1, 2)) // the same in each run
	for range 2 {
		bad.Close()
		connect()
		for range 50 {
			if _, err := bad.Write(bgptest.Damage(bgptest.Announce(hop, netip.MustParsePrefix("2001:db8:8fff::/64")), bytes)); err != nil {
				break // it hung up
			}
		}
	}
	bad.Close()
	connect()
	bgptest.Many(bad, hop, netip.MustParsePrefix("2001:db8:8100::/40"), 1_000_000)
	f.eventually("the session with too many routes ended, and why", func() bool {
		p := f.peers(host)["rogue"]
		return p.State != bgp.Established && strings.Contains(p.Why, "more than 1000 prefixes (maxPrefixes)")
	})
	bad.Close()

	answered(fresh)
	if t := stop(); t.Lost > 0 {
		f.Errorf("others were harmed: %d of %d lost", t.Lost, t.Sent)
	}
	for name, p := range f.peers(host) {
		if name != "rogue" && (p.State != bgp.Established || !p.Since.Equal(since[name].Since)) {
			f.Errorf("the session with %s was harmed: %+v, before %+v", name, p, since[name])
		}
	}
	f.exec("tor1", "ip", "addr", "del", "3fff:0:0:9::bad/64", "dev", "to-"+host)
	f.exec(host, "ip", "addr", "del", "3fff:0:0:9::2/64", "dev", "up0")
	if err := os.Remove(f.folder(host, "etc/rogue.yaml")); err != nil {
		f.Fatal(err)
	}
}
