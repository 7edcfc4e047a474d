package nat64

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// twinPackets is how many packets the test sends through both forms; HEXAPOD_TWIN_PACKETS sets another number.
const twinPackets = 200_000

// twinRooms is how many endpoints begin flows in the program.
const twinRooms = 4

// twin is one gateway twice: one with a fast path before its translator, one without. Both see the same packets.
type twin struct {
	program  *ebpf.Program // at the device
	early    *ebpf.Program // where packets arrive
	arrive   skbuff        // by which link
	mac      [6]byte       // of that link
	settings *ebpf.Map
	memory   []nat64.Bucket
	rooms    nat64.Rooms
	now      nat64.Seconds
	id       uint16
	direct   bool
	only6    bool   // others have rules for forwarding IPv4
	index    uint32 // of a link in the namespace
	most     int    // bindings
	prefix   xlat.Pref64

	with, without *half
}

// half is a table and the translator over it.
type half struct {
	table  *nat64.Table
	blocks *nat64.Blocks
	engine *xlat.Translator
	out    xlat.Packets
}

var (
	twinPool    = netip.MustParseAddr("45.0.0.1")
	twinSecret  = nat64.Secret{1, 2, 3}
	twinServers = []netip.Addr{netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("1.0.0.1")}
	twinNowhere = []netip.Addr{netip.MustParseAddr("192.168.3.4"), netip.MustParseAddr("240.1.2.3"), netip.MustParseAddr("169.254.169.254")}
	twinClients = []netip.Addr{netip.MustParseAddr("2001:db8:1::5"), netip.MustParseAddr("2001:db8:1::6")}
	twinOwn     = xlat.Pref64{}
)

func newTwin(t *testing.T, ns *netns.NS, buckets int) *twin {
	t.Helper()
	c := unpinned(t, buckets, 14)
	flows, rooms, err := (&Fast{loaded: c}).Memory()
	must(t, err)
	defer flows.Close()
	defer rooms.Close()
	w := &twin{program: c.Programs[fastProgram], early: c.Programs[earlyProgram], settings: c.Maps[settingsMap], now: 1000, most: 100_000, prefix: xlat.WellKnown}
	w.memory, err = shared(flows, buckets)
	must(t, err)
	w.rooms, err = sharedRooms(rooms, twinRooms)
	must(t, err)
	netnstest.Run(t, ns, "sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1")
	netnstest.Run(t, ns, "ip link add way type veth peer name far")
	netnstest.Run(t, ns, "ip link set way up addrgenmode none")
	netnstest.Run(t, ns, "ip link set far up addrgenmode none")
	netnstest.Run(t, ns, "ip addr add 8.8.4.1/24 dev way")
	netnstest.Run(t, ns, "ip -6 addr add 2001:db8:1::1/64 dev way nodad")
	for _, line := range []string{ // whoever asks for a way by another source than the packet's finds none
		"ip -6 route add blackhole 2001:db8:1::/64 table 200", "ip -6 rule add from 2001:db8:1::/64 lookup 200",
		"ip route add blackhole 8.8.4.0/24 table 200", "ip rule add from 8.8.4.0/24 lookup 200",
		// what leads to the translator
		"ip -6 route add 64:ff9b::/96 dev far", "ip -6 route add 2001:db8:64::/48 dev far", "ip route add 45.0.0.1/32 dev far",
	} {
		netnstest.Run(t, ns, line)
	}
	asksWithPorts(t, ns)
	w.index = index(t, ns, "far")
	must(t, c.Maps[deviceMap].Put(uint32(0), w.index))
	conn, err := rtnl.Dial(ns)
	must(t, err)
	defer conn.Close()
	way, _, err := conn.Link("way")
	must(t, err)
	w.arrive.Ifindex, w.mac = uint32(way.Index), [6]byte(way.MAC)
	prefixes := []xlat.Pref64{xlat.WellKnown}
	own, err := xlat.NewPref64(netip.MustParsePrefix("2001:db8:64::/48"))
	must(t, err)
	twinOwn = own
	prefixes = append(prefixes, own)
	w.with, w.without = w.half(prefixes, nat64.NewFast(w.memory, w.rooms, fastSeed(twinSecret))), w.half(prefixes, nil)
	w.tell(t)
	return w
}

// asksWithPorts adds rules by which whoever asks for a way with the ports of a packet exchanged finds none: endpoints have high ports here and
// servers low ones, and the pool has high ones.
func asksWithPorts(t *testing.T, ns *netns.NS) {
	t.Helper()
	const low, high = "1-1023", "1024-65534"
	for _, family := range []string{"-4", "-6"} {
		netnstest.Run(t, ns, "ip "+family+" route add blackhole default table 201")
		for _, proto := range []string{"6", "17"} { // by number: names need a file that small systems do not have
			for _, never := range []struct{ to4, to6, sport, dport string }{
				{"45.0.0.1/32", "2001:db8:1::/64", high, low}, // from servers
				{"8.8.4.0/24", "64:ff9b::/96", low, high},     // to servers
			} {
				to := map[string]string{"-4": never.to4, "-6": never.to6}[family]
				netnstest.Run(t, ns, fmt.Sprintf("ip %s rule add to %s ipproto %s sport %s lookup 201", family, to, proto, never.sport))
				netnstest.Run(t, ns, fmt.Sprintf("ip %s rule add to %s ipproto %s dport %s lookup 201", family, to, proto, never.dport))
			}
		}
	}
}

// programToCompare is the program that is built in, or one with a mistake in it (test/faults).
func programToCompare() (*ebpf.CollectionSpec, error) {
	if path := os.Getenv("HEXAPOD_TWIN_OBJECT"); path != "" {
		return ebpf.LoadCollectionSpec(path)
	}
	return loadNat64()
}

// TestVerifier lets the kernel look at the program.
func TestVerifier(t *testing.T) {
	netnstest.Root(t)
	unpinned(t, 4, 0)
}

// unpinned loads the program over maps of its own.
func unpinned(t testing.TB, buckets int, header uint32) *ebpf.Collection {
	t.Helper()
	spec, err := programToCompare()
	must(t, err)
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
	}
	spec.Maps[flowsMap].MaxEntries = uint32(buckets)
	spec.Maps[roomsMap].MaxEntries = 1 + twinRooms
	must(t, setVariables(spec, uint32(buckets), twinRooms))
	must(t, spec.Variables["link_header"].Set(header))
	c, err := ebpf.NewCollection(spec)
	if refused := (*ebpf.VerifierError)(nil); errors.As(err, &refused) {
		t.Log(strings.Join(refused.Log[max(0, len(refused.Log)-30):], "\n"))
	}
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *twin) half(prefixes []xlat.Pref64, fast *nat64.Fast) *half {
	return w.halfWith(prefixes, fast, nat64.NewBlocks(nat64.Pool{Addrs: []netip.Addr{twinPool}, Gateways: []string{"g"}}, "g", 4, func(nat64.Grant) {}))
}

func (w *twin) halfWith(prefixes []xlat.Pref64, fast *nat64.Fast, blocks *nat64.Blocks) *half {
	h := &half{blocks: blocks, table: nat64.New(nat64.Config{Prefixes: prefixes, Secret: twinSecret, Times: nat64.DefaultTimes, Limit: w.most, Blocks: blocks, Fast: fast, Now: w.now})}
	h.engine = &xlat.Translator{Mapper: h.table, MTU6: 1500, LowestMTU6: 1500, Carried: true, ID: func() uint16 { return w.id }}
	return h
}

// tell brings the program to the clock and identification of the test.
func (w *twin) tell(t *testing.T) {
	t.Helper()
	s := settingsOf(Config{Secret: twinSecret, MTU6: 1500, Prefixes: []netip.Prefix{w.prefix.Prefix()}})
	s.Flags, s.Now, s.ID = s.Flags|fastOn|fastTest, uint32(w.now), uint32(w.id)
	if w.direct {
		s.Flags |= fastDirect
	}
	if !w.only6 {
		s.Flags |= fastEarly4
	}
	must(t, w.settings.Put(uint32(0), s))
	for _, h := range []*half{w.with, w.without} {
		h.table.Advance(w.now)
		h.table.Expire()
	}
}

// through translates a packet by the engine.
func (h *half) through(p []byte, segment int) (xlat.Why, []byte) {
	engine := *h.engine
	if segment > 0 { // a super-packet leaves in segments, which fit
		engine.MTU6, engine.LowestMTU6 = 0, 1<<16
	}
	why := xlat.Malformed
	if p[0]>>4 == 6 {
		why = engine.To4(&h.out, p)
	} else {
		why = engine.To6(&h.out, p)
	}
	if why != xlat.Translated || h.out.Len() != 1 {
		return why, nil
	}
	return why, slices.Clone(h.out.At(0))
}

// Ways that the program tells of (bpf/nat64.c).
const (
	leftAlone = iota
	direct4
	direct6
	again4
	again6
)

// skbuff is struct __sk_buff of linux/bpf.h, as far as a test run takes it.
type skbuff struct {
	_              [10]uint32
	Ifindex, _     uint32
	CB             [5]uint32
	_              [21]uint32
	_              uint64
	_, _           uint32
	_              uint64
	SegmentSize, _ uint32
	_              uint64
}

// run sends a packet through the program of the device.
func (w *twin) run(p []byte, segment int) (way uint32, out []byte, err error) {
	return send(w.program, skbuff{Ifindex: w.index, SegmentSize: uint32(segment)}, [6]byte{}, p)
}

// arrives sends a packet through the program of links, as it is before the kernel has counted a hop.
func (w *twin) arrives(p []byte, segment int) (way uint32, out []byte, err error) {
	in := w.arrive
	in.SegmentSize = uint32(segment)
	return send(w.early, in, w.mac, oneHopMore(slices.Clone(p)))
}

func send(program *ebpf.Program, in skbuff, mac [6]byte, p []byte) (way uint32, out []byte, err error) {
	way, frame, err := sendFrame(program, in, mac, p)
	if err != nil {
		return 0, nil, err
	}
	return way, frame[14:], nil
}

// sendFrame sends a packet to a MAC through a program.
func sendFrame(program *ebpf.Program, in skbuff, mac [6]byte, p []byte) (way uint32, out []byte, err error) {
	frame := append(make([]byte, 14), p...)
	copy(frame, mac[:])
	binary.BigEndian.PutUint16(frame[12:], 0x0800)
	if p[0]>>4 == 6 {
		binary.BigEndian.PutUint16(frame[12:], 0x86dd)
	}
	back := skbuff{}
	o := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: in, ContextOut: &back, Repeat: 1}
	verdict, err := program.Run(&o)
	if err == nil && back.CB[0] != leftAlone && verdict != 7 {
		err = fmt.Errorf("it returned %d", int32(verdict))
	}
	if err != nil {
		return 0, nil, err
	}
	return back.CB[0], o.DataOut, nil
}

// TestTwin sends the same packets through the fast path and through the engine: what it translates is the same byte by byte, sessions and
// bindings live as long, and it leaves nothing to the translator that it is made for.
func TestTwin(t *testing.T) {
	n := twinPackets
	if os.Getenv("HEXAPOD_SOAK") != "" {
		n = 1_000_000
	}
	if s := os.Getenv("HEXAPOD_TWIN_PACKETS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, buckets := range []int{2, 256} { // with two, flows push each other out all the time
		t.Run(strconv.Itoa(buckets), func(t *testing.T) {
			ns := netnstest.New(t)
			w := newTwin(t, ns, buckets)
			netnstest.Do(t, ns, func() error { return w.compare(t, n/2, uint64(buckets)) })
		})
	}
}

func (w *twin) compare(t *testing.T, n int, seed uint64) error {
	g := &packets{Rand: rand.New(rand.NewPCG(seed, 6)), w: w}
	seen := map[uint32]int{}
	plain, left, different, begun, arrived := 0, 0, 0, 0, 0
	for i := range n {
		if g.IntN(50) == 0 {
			w.now += nat64.Seconds(pick(g, 0, 1, 2, 3, 30, 61, 250, 301))
			w.id, w.direct = uint16(g.Uint32()), g.IntN(2) == 0
			w.tell(t)
			g.forget()
		}
		p := g.next()
		known := g.isKnown(p)
		why, want := w.without.through(p.bytes, p.segment)
		run, early := w.run, p.bytes[hopsAt(p.bytes)] < 255 && g.IntN(2) == 0
		if early {
			run = w.arrives
		}
		way, got, err := run(p.bytes, p.segment)
		if err != nil {
			return fmt.Errorf("packet %d: %w\n%s", i, err, short(p.bytes))
		}
		if early && way == leftAlone {
			if hasWay := p.back || p.flow.server == twinServers[0]; w.direct && known && p.plain && want != nil && p.bytes[hopsAt(p.bytes)] > 0 && hasWay {
				t.Errorf("packet %d was left to the kernel: %s", i, short(p.bytes))
			}
			way, got, err = w.run(p.bytes, p.segment)
			early = false
		}
		if err != nil {
			return fmt.Errorf("packet %d: %w\n%s", i, err, short(p.bytes))
		}
		if early {
			arrived++
		}
		seen[way]++
		if !known && way != leftAlone {
			begun++
		}
		if way == leftAlone {
			_, got = w.with.through(p.bytes, p.segment)
		}
		if known && p.plain && want != nil {
			if plain++; way == leftAlone {
				left++
				t.Logf("packet %d was left to the translator: %s", i, short(p.bytes))
			}
		}
		if hasWay := way == again6 || way == again4 && [4]byte(got[16:20]) == twinServers[0].As4(); p.plain && w.direct && hasWay {
			t.Errorf("packet %d was not handed to its next hop: %s", i, short(p.bytes))
		}
		if way == direct4 || way == direct6 {
			want = oneHopLess(want)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("packet %d (%s, segment %d, way %d): %s\nengine  %s\nprogram %s", i, why, p.segment, way,
				short(p.bytes), short(want), short(got))
			if different++; different > 3 {
				return fmt.Errorf("too many differences")
			}
		}
		g.learn(p, want)
	}
	if left > 0 {
		t.Errorf("%d of %d packets that the fast path is made for were left to the translator", left, plain)
	}
	w.sameState(t)
	t.Logf("ways %v, %d of them where they arrive, %d of the fast set, %d flows began there", seen, arrived, plain, begun)
	if begun == 0 || arrived == 0 {
		t.Errorf("the fast path began %d flows, and translated %d packets where they arrive", begun, arrived)
	}
	for _, way := range []uint32{leftAlone, direct4, direct6, again4, again6} {
		if seen[way] == 0 {
			t.Errorf("no packet went way %d", way)
		}
	}
	return nil
}

// short shows the headers of a packet.
func short(p []byte) string {
	return fmt.Sprintf("%d bytes %s", len(p), hex.EncodeToString(p[:min(len(p), 80)]))
}

// sameState compares what both tables hold at the end.
func (w *twin) sameState(t *testing.T) {
	t.Helper()
	w.tell(t)
	held := func(h *half) (list []string) {
		h.table.Entries(func(e nat64.Entry) bool {
			list = append(list, fmt.Sprintf("%+v", e))
			return true
		})
		slices.Sort(list)
		return list
	}
	if a, b := held(w.with), held(w.without); !slices.Equal(a, b) {
		t.Errorf("bindings differ:\n%v\n%v", a, b)
	}
	_, a := w.with.table.Len()
	if _, b := w.without.table.Len(); a != b {
		t.Errorf("%d sessions with the fast path, %d without", a, b)
	}
}

// hopsAt is where a packet has its hop limit.
func hopsAt(p []byte) int {
	if p[0]>>4 == 6 {
		return 7
	}
	return 8
}

// oneHopMore is what a packet was before the kernel forwarded it. Its checksum stays as wrong as it is (RFC 1624).
func oneHopMore(p []byte) []byte {
	at := hopsAt(p)
	p[at]++
	if at == 8 && len(p) >= 20 {
		sum := uint32(^binary.BigEndian.Uint16(p[10:])) + 0x100
		binary.BigEndian.PutUint16(p[10:], ^uint16(sum>>16+sum&0xffff))
	}
	return p
}

// oneHopLess is what the kernel makes of a packet that it forwards.
func oneHopLess(p []byte) []byte {
	switch {
	case len(p) == 0:
	case p[0]>>4 == 6:
		p[7]--
	default:
		p[8]--
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^fold(p[:20]))
	}
	return p
}

func fold(parts ...[]byte) uint16 {
	var s uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			s += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			s += uint32(b[len(b)-1]) << 8
		}
		for s > 0xffff {
			s = s>>16 + s&0xffff
		}
	}
	return uint16(s)
}

func index(t *testing.T, ns *netns.NS, name string) uint32 {
	t.Helper()
	conn, err := rtnl.Dial(ns)
	must(t, err)
	defer conn.Close()
	l, _, err := conn.Link(name)
	must(t, err)
	return uint32(l.Index)
}
