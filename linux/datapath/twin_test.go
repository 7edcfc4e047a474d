package datapath

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// twinPackets is how many packets a test sends through both forms; HEXAPOD_TWIN_PACKETS sets another number.
const twinPackets = 20_000

// world is one host in both forms.
type world struct {
	ns    *netns.NS
	state datapath.State
	maps  map[string]*ebpf.Map
	judge *ebpf.Program
	now   uint32
	links map[string]uint32

	legacy   int                  // of 100 packets, how many are no IPv6; 0: some
	pinned   map[string]*ebpf.Map // used in place of maps of the world's own
	services *serviceWorld        // nil: there are none
}

var (
	worldOwn       = netip.MustParsePrefix("2001:db8:a000:c12::/64")
	worldSelf      = netip.MustParsePrefix("2001:db8:a000:c12:1::1/128")
	worldPeer      = netip.MustParsePrefix("2001:db8:a000:c13::/64")
	worldFabric    = netip.MustParsePrefix("2001:db8:a000::/37")
	worldNoRoute   = netip.MustParsePrefix("3fff:8::/32")
	worldLAN       = netip.MustParsePrefix("3fff:9::/64")
	worldRuled     = netip.MustParseAddr("2001:db8:a000:c12:1a8:38b:8d98:5") // a rule of the host leads what it sends there elsewhere
	worldRuledTo   = netip.MustParsePrefix("3fff:7:0:0:2::/80")
	worldRouterMAC = desired.MAC{2, 0, 0, 0, 0x99, 2}
	worldPeerMAC   = desired.MAC{2, 0, 0, 0, 0x26, 2}
	worldHalfMAC   = desired.MAC{2, 0, 0, 0, 0x13, 1} // that of the peer where somebody shifts its last bytes by one bit more
	worldOtherMAC  = desired.MAC{2, 0, 0, 0, 0x99, 1}
)

// newWorld makes links, routes and maps of a small host, and the same host as a model.
func newWorld(t testing.TB, flowRows uint32) *world {
	t.Helper()
	w := &world{ns: netnstest.New(t), links: map[string]uint32{}, now: 1000}
	w.make(t, flowRows)
	return w
}

func (w *world) make(t testing.TB, flowRows uint32) {
	t.Helper()
	for _, line := range []string{
		"sysctl -qw net.ipv6.conf.all.forwarding=1",
		"ip link add hxa type veth peer name pa", "ip link add hxb type veth peer name pb", "ip link add hxc type veth peer name pc",
		// One has twice the number of the other, for who shifts it by a bit too much.
		"ip link add up0 index 200 type veth peer name far0", "ip link add up1 index 100 type veth peer name far1", "ip link add up2 type veth peer name far2",
		"ip link set hxc mtu 1300", "ip link add hx0 type veth peer name p0", "ip link add hx1 type veth peer name p1",
		"ip link add hx2 type veth peer name p2", "ip link add hx3 type veth peer name p3", "ip link add hx4 type veth peer name p4",
		"ip link add hx5 type veth peer name p5", "ip link add dock type veth peer name farl",
	} {
		netnstest.Run(t, w.ns, line)
	}
	for _, l := range []string{"hx0", "hx1", "hx2", "hx3", "hx4", "hx5", "p0", "p1", "p2", "p3", "p4", "p5", "hxa", "hxb", "hxc", "pa", "pb", "pc", "up0", "up1", "up2", "far0", "far1", "far2", "dock"} {
		netnstest.Run(t, w.ns, "ip link set "+l+" addrgenmode none up")
	}
	for _, line := range []string{ // see worldRouterMAC
		"ip -6 addr add 3fff:9::2/64 dev up0 nodad",
		"ip -6 neigh add 3fff:9::1 dev up0 lladdr 02:00:00:00:99:02 nud permanent",
		"ip -6 route add default via 3fff:9::1 dev up0",
		"ip -6 route add unreachable " + worldNoRoute.String(),
		"ip -6 route add 3fff:a::/32 dev dock",
		fmt.Sprintf("ip -6 rule add from %s to %s table 100", worldRuled, worldRuledTo),
		"ip -6 route add unreachable default table 100",
	} {
		netnstest.Run(t, w.ns, line)
	}
	conn, err := rtnl.Dial(w.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	list, err := conn.Links()
	if err != nil {
		t.Fatal(err)
	}
	mtu := map[uint32]int{}
	var up0 desired.MAC
	for _, l := range list {
		if l.Name == "up0" {
			up0 = l.MAC
		}
		w.links[l.Name] = uint32(l.Index)
		mtu[uint32(l.Index)] = l.MTU
	}
	w.load(t, flowRows)
	w.state = datapath.State{
		Settings:  datapath.Settings{Fast: true, Generation: 1, Seed: 0x1234567890abcdef},
		Endpoints: map[netip.Addr]datapath.Endpoint{}, Links: map[uint32]datapath.LinkFlags{},
		Inside: map[netip.Prefix]datapath.Inside{}, Denied: map[datapath.Pair]bool{}, Fragments: map[datapath.FragmentKey]datapath.Fragment{},
		Flows: datapath.NewFlows(int(flowRows), 0x1234567890abcdef),
		MTU:   func(link uint32) int { return mtu[link] },
		Route: func(_ uint32, h datapath.Header) datapath.Route {
			switch {
			case worldNoRoute.Contains(h.Dst), h.Dst == netip.MustParseAddr("3fff:9::2"), h.Dst == netip.MustParseAddr("3fff:9::"),
				h.Dst.IsLinkLocalUnicast(), h.Src == worldRuled && worldRuledTo.Contains(h.Dst):
				return datapath.Route{}
			case netip.MustParsePrefix("3fff:a::/32").Contains(h.Dst):
				return datapath.Route{Known: true, Link: w.links["dock"], MTU: 1500}
			}
			if worldLAN.Contains(h.Dst) { // each is a neighbour that is not known yet
				return datapath.Route{Known: true, Link: w.links["up0"], MTU: 1500}
			}
			return datapath.Route{Known: true, Link: w.links["up0"], MTU: 1500, MAC: worldRouterMAC, LinkMAC: up0}
		},
	}
	w.fill(t)
}

// judgeToCompare is the program that is built in, or one with a mistake in it (test/faults).
func judgeToCompare() (*ebpf.CollectionSpec, error) {
	if path := os.Getenv("HEXAPOD_TWIN_OBJECT"); path != "" {
		return ebpf.LoadCollectionSpec(path)
	}
	return loadJudge()
}

func (w *world) load(t testing.TB, flowRows uint32) {
	t.Helper()
	spec, err := judgeToCompare()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
	}
	spec.Maps["flows"].MaxEntries, spec.Maps["service_flows"].MaxEntries = flowRows, flowRows
	for name, v := range map[string]uint32{"flow_mask": flowRows - 1, "service_flow_mask": flowRows - 1, "test_clock": 1} {
		if err := spec.Variables[name].Set(v); err != nil {
			t.Fatal(err)
		}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: w.pinned})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w.maps, w.judge = c.Maps, c.Programs["judge"]
}

// fill gives both forms the same endpoints, prefixes and links.
func (w *world) fill(t testing.TB) {
	t.Helper()
	addr := netip.MustParseAddr
	for a, link := range map[string]string{
		"2001:db8:a000:c12:1a7:38b:8d98:3": "hxa", "2001:db8:a000:c12:1a7:38b:8d98:4": "hxa",
		"2001:db8:a000:c12:1a8:38b:8d98:5": "hxb", "2001:db8:a000:c12:1a9:38b:8d98:6": "hxc",
		"192.0.2.3": "hxa", "2001:db8:a000:c12:200::": "hx0", "2001:db8:a000:c12:200::1": "hx1", "2001:db8:a000:c12:200::2": "hx2",
		"2001:db8:a000:c12:200::3": "hx3", "2001:db8:a000:c12:200::4": "hx4", "2001:db8:a000:c12:200::5": "hx5",
	} {
		n := byte(w.links[link])
		w.state.Endpoints[netip.AddrFrom16(addr(a).As16())] = datapath.Endpoint{Link: w.links[link], MAC: desired.MAC{2, 0, 0, 0, n, 2}, HostMAC: desired.MAC{2, 0, 0, 0, n, 1}, Identity: 0x1a7}
	}
	far, near := w.links["hx0"], w.links["hxb"] // two links of one endpoint
	w.state.Kin = map[datapath.Kin]datapath.Endpoint{
		{Addr: addr("2001:db8:a000:c12:200::"), Link: near}:         w.state.Endpoints[addr("2001:db8:a000:c12:1a8:38b:8d98:5")],
		{Addr: addr("2001:db8:a000:c12:1a8:38b:8d98:5"), Link: far}: w.state.Endpoints[addr("2001:db8:a000:c12:200::")],
	}
	w.state.Links = map[uint32]datapath.LinkFlags{
		w.links["up0"]: datapath.Uplink | datapath.Flat | datapath.Gateway,
		w.links["up1"]: datapath.Uplink | datapath.Flat,
		w.links["up2"]: datapath.Uplink | datapath.Outside,
	}
	w.state.Inside = map[netip.Prefix]datapath.Inside{
		worldFabric: {Flags: datapath.Located},
		worldOwn:    {Flags: datapath.Own | datapath.Located},
		worldSelf:   {Flags: datapath.Own | datapath.Self},
		worldPeer:   {Flags: datapath.KnownBy | datapath.Located, Link: w.links["up0"], MAC: worldPeerMAC},
	}
	w.state.Denied = map[datapath.Pair]bool{
		{From: addr("2001:db8:a000:c12:1a7:38b:8d98:4"), To: addr("3fff:7::bad")}: true,
		{From: addr("192.0.2.3"), To: addr("198.51.100.2")}:                       true,
		{From: addr("3fff:7::bad"), To: addr("2001:db8:a000:c12:1a8:38b:8d98:5")}: true,
	}
	w.state.Denied = mapped(w.state.Denied)
	m := &Maps{byName: w.maps}
	for a, e := range w.state.Endpoints {
		must(t, m.PutEndpoint(a, e))
	}
	for k, e := range w.state.Kin {
		must(t, m.PutKin(k, e))
	}
	for l, f := range w.state.Links {
		must(t, m.PutLink(l, f))
	}
	for p, in := range w.state.Inside {
		must(t, m.PutInside(p, in))
	}
	for p := range w.state.Denied {
		must(t, m.PutDenied(p))
	}
	w.setClock(t)
}

// mapped writes IPv4 addresses as the maps have them (RFC 4291 2.5.5.2).
func mapped(denied map[datapath.Pair]bool) map[datapath.Pair]bool {
	out := map[datapath.Pair]bool{}
	for p := range denied {
		out[datapath.Pair{From: netip.AddrFrom16(p.From.As16()), To: netip.AddrFrom16(p.To.As16())}] = true
	}
	return out
}

func (w *world) setClock(t testing.TB) {
	t.Helper()
	s := settingsValue(w.state.Settings)
	s.Now = w.now
	must(t, w.maps["settings"].Put(uint32(0), s))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(a, b datapath.Outcome) bool {
	return a.Fate == b.Fate && a.Why == b.Why && a.Mark == b.Mark && a.Out == b.Out && bytes.Equal(a.Frame, b.Frame)
}

// TestTwin sends the same packets through the program and through the model.
func TestTwin(t *testing.T) {
	n := twinPackets
	if s := os.Getenv("HEXAPOD_TWIN_PACKETS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[datapath.Why]int{}
	for _, rows := range []uint32{1, 256} { // with one row flows push each other out all the time
		t.Run(strconv.Itoa(int(rows)), func(t *testing.T) {
			w := newWorld(t, rows)
			netnstest.Do(t, w.ns, func() error { return w.compare(t, n/2, uint64(rows), seen) })
		})
	}
	t.Run("ipv4", func(t *testing.T) {
		w := newServiceWorld(t, 16)
		w.legacy = 80
		netnstest.Do(t, w.ns, func() error { return w.compare(t, n/2, 8, seen) })
	})
	t.Run("services", func(t *testing.T) {
		w := newServiceWorld(t, 16)
		netnstest.Do(t, w.ns, func() error { return w.compare(t, n, 7, seen) })
		w.services.report(t)
	})
	t.Run("full row", func(t *testing.T) {
		w := newWorld(t, 1)
		netnstest.Do(t, w.ns, func() error { w.fillRow(t, seen); return nil })
	})
	for _, why := range datapath.AllWhys() {
		if seen[why] == 0 && n >= twinPackets {
			t.Errorf("no packet ended as %s: the packets miss a path", why)
		}
		t.Logf("%-22s %d", why, seen[why])
	}
}

// fillRow gives each of eight endpoints an established flow in the one row there is; a ninth finds no room.
func (w *world) fillRow(t *testing.T, seen map[datapath.Why]int) {
	g := &generator{Rand: rand.New(rand.NewPCG(1, 1)), w: w}
	owners := map[uint32]bool{}
	for _, a := range generatorEndpoints {
		link := w.state.Endpoints[a].Link
		if owners[link] {
			continue
		}
		owners[link] = true
		ask := tuple{src: a, dst: netip.MustParseAddr("3fff:7::1"), srcPort: 1, dstPort: 53, proto: 17}
		answer := tuple{src: ask.dst, dst: ask.src, srcPort: 53, dstPort: 1, proto: 17}
		for _, p := range []datapath.Packet{
			{Place: datapath.FromEndpoint, Link: link, Came: link, Now: w.now, Frame: g.plain(ask, link)},
			{Place: datapath.FromUplink, Link: w.links["up0"], Came: w.links["up0"], Now: w.now, Frame: g.plain(answer, link)},
		} {
			want := w.state.Judge(p)
			got, err := run(w.judge, p)
			if err != nil || !same(got, want) {
				t.Errorf("%v: model %s, program %s, %v", a, want.Why, got.Why, err)
			}
			seen[want.Why]++
		}
	}
}

// deny forbids a pair, or allows it again.
func (w *world) deny(p datapath.Pair) error {
	m := &Maps{byName: w.maps}
	if w.state.Denied[p] {
		delete(w.state.Denied, p)
		return m.RemoveDenied(p)
	}
	w.state.Denied[p] = true
	return m.PutDenied(p)
}

func (w *world) compare(t *testing.T, n int, seed uint64, seen map[datapath.Why]int) error {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 5)), w: w}
	different := 0
	for i := range n {
		if g.IntN(300) == 0 {
			if w.compareTables(t); t.Failed() {
				return fmt.Errorf("after packet %d", i)
			}
			w.now += pick(g, uint32(0), 1, 29, 30, 30, 31, 60, 61, 180)
			must(t, w.deny(datapath.Pair{From: pick(g, generatorEndpoints...), To: pick(g, generatorOthers...)}))
			w.state.Settings.Generation += uint32(g.IntN(2))
			w.state.Settings.Fast = g.IntN(4) != 0
			w.setClock(t)
			w.services.change(t, g)
		}
		p := g.packet()
		p.Now = w.now
		want := w.state.Judge(p)
		got, err := run(w.judge, p)
		if err != nil {
			return fmt.Errorf("packet %d: %w (%d bytes)", i, err, len(p.Frame))
		}
		seen[want.Why]++
		w.services.look(g, p, want)
		if same(got, want) {
			continue
		}
		t.Errorf("packet %d at %s link %d came %d mark %#x now %d segment %d:\n%s\nmodel   %d %s mark %#x out %d\nprogram %d %s mark %#x out %d\n%s\n%s",
			i, p.Place, p.Link, p.Came, p.Mark, p.Now, p.Segment, short(p.Frame), want.Fate, want.Why, want.Mark, want.Out,
			got.Fate, got.Why, got.Mark, got.Out, short(want.Frame), short(got.Frame))
		if different++; different > 5 {
			return errors.New("too many differences")
		}
	}
	return nil
}

// short shows the headers of a frame.
func short(frame []byte) string {
	return fmt.Sprintf("%d bytes %s", len(frame), hex.EncodeToString(frame[:min(len(frame), 160)]))
}

// put16 writes two bytes in network order.
func put16(b []byte, v uint16) { binary.BigEndian.PutUint16(b, v) }
