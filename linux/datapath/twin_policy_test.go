package datapath

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"hexapod.dev/model/datapath"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/ipam"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/policy/policytest"
	"hexapod.dev/model/transport"
)

// worldLegacy is the address of IPv4 of one endpoint.
var worldLegacy = netip.MustParseAddr("192.0.2.3")

// policyDice throws worlds of policies onto a world of packets.
type policyDice struct {
	policytest.Dice
	w    *world
	seal *ipam.Seal

	rules    *policy.World
	compiler *policy.Compiler
	subjects map[netip.Addr]policy.Subject
	past     []tuple
	wide     int // packets from or to whoever has a number that no address has room for
}

// TestTwinPolicy sends packets through the program and the model under random policies, written as an agent writes them: endpoints come
// with tables or without, policies change while flows live, and identities are read from every form of address.
func TestTwinPolicy(t *testing.T) {
	worlds, packets, asked := 40, 500, 500
	if os.Getenv("HEXAPOD_SOAK") != "" {
		worlds, packets, asked = 10_000, 100, 1000
	}
	w := newWorld(t, 256)
	seal, err := ipam.NewSeal([]byte("0123456789abcdef"))
	must(t, err)
	table := &Table{maps: &Maps{byName: w.maps}}
	writer, err := table.Policies()
	must(t, err)
	seen := map[datapath.Why]int{}
	wide := 0
	var d *policyDice
	for n := range worlds {
		if d == nil || n%4 == 0 { // a world, and three that came of it one after the other
			d = &policyDice{Dice: policytest.Dice{Rand: rand.New(rand.NewPCG(uint64(n), 66))}, w: w, seal: seal}
		}
		c := d.compiled(t)
		delta, err := writer.Reconcile(c)
		must(t, err)
		if again, err := writer.Reconcile(c); err != nil || !again.Empty() {
			t.Fatalf("the same policies a second time: %+v, %v", again, err)
		}
		if c.Believed.Seal == nil {
			must(t, writer.m.put("who_seal", uint32(0), sealValue{Keys: [27]uint32(seal.RoundKeys())}, "the seal")) // keys that are not in use: nothing is read by them
		}
		w.state.Policy = &datapath.Policy{Compiled: c, Who: c.Believed.Directory()}
		w.state.Settings.Generation = w.generation(t)
		for range packets {
			d.compare(t, seen)
		}
		for range asked {
			d.readBack(t, writer, c)
		}
		wide += d.wide
		d.wide = 0
		if t.Failed() {
			t.Fatalf("world %d, written by %+v", n, delta)
		}
	}
	if wide == 0 || seen[datapath.IPv4] == 0 || seen[datapath.OtherWay] == 0 || seen[datapath.Denied] == 0 || seen[datapath.Local] == 0 || seen[datapath.Remote] == 0 {
		t.Errorf("the worlds are too simple: %v", seen)
	}
	t.Logf("%d sets of policies, %d packets, %d with wide numbers, and %d flows each: %v", worlds, packets, wide, asked, seen)
	empty(t, writer, table.maps)
}

// empty takes all policies away and looks whether anything is left of them.
func empty(t *testing.T, writer *Policies, m *Maps) {
	t.Helper()
	_, err := writer.Reconcile(policy.Compiled{})
	must(t, err)
	for _, name := range []string{"policy_tables", "policy_peers", "policy_prefixes", "policy_ports", "policy_subjects", "who_exact", "who_regions"} {
		key, value := make([]byte, m.byName[name].KeySize()), make([]byte, m.byName[name].ValueSize())
		if it := m.byName[name].Iterate(); it.Next(&key, &value) || it.Err() != nil {
			t.Errorf("map %s still has %x: %v", name, key, it.Err())
		}
	}
}

func (w *world) generation(t *testing.T) uint32 {
	t.Helper()
	s, err := (&Maps{byName: w.maps}).settings()
	must(t, err)
	return s.Generation
}

// compiled makes the tables of a random world for most endpoints, and regions of every form.
func (d *policyDice) compiled(t *testing.T) policy.Compiled {
	t.Helper()
	if d.compiler == nil {
		d.rules = d.World()
		d.compiler = policy.NewCompiler(d.rules)
	} else {
		d.rules = d.After(d.rules)
		d.compiler = d.compiler.Next(d.rules)
	}
	b := policy.Believed{Trust: identity.TrustBits, Exact: map[netip.Addr]identity.Number{}, Seal: d.seal, Regions: map[netip.Prefix]policy.Form{
		netip.MustParsePrefix("192.0.2.0/24"): policy.Silent, worldFabric: policy.Silent, worldOwn: policy.Wide, worldPeer: policy.Wide,
		netip.MustParsePrefix("2001:db8:a000:c14::/64"):  policy.Sealed,
		netip.MustParsePrefix("3fff:c:0:7:5::/80"):       policy.Mid,
		netip.MustParsePrefix("2001:db8:a000:d00::/112"): policy.Silent,
	}}
	if d.IntN(8) == 0 {
		b.Trust = identity.TrustExact
	}
	if d.IntN(8) == 0 {
		b.Seal = nil
	}
	for range d.IntN(20) {
		b.Exact[d.Addr()] = d.Number()
		b.Exact[d.other(t)] = d.Number()
	}
	if d.subjects == nil || d.IntN(2) == 0 {
		d.subjects = map[netip.Addr]policy.Subject{}
	}
	for _, a := range append([]netip.Addr{worldLegacy}, generatorEndpoints...) {
		if d.IntN(20) > 0 {
			if _, there := d.subjects[a]; !there {
				d.subjects[a] = *d.Subject(d.rules)
			}
		}
	}
	c, err := d.compiler.CompileAll(d.subjects, b)
	must(t, err)
	return c
}

// other is an address that rules name, or one that says who has it in one of the forms.
func (d *policyDice) other(t *testing.T) netip.Addr {
	t.Helper()
	number := uint16(0x100 + d.IntN(21))
	switch d.IntN(8) {
	case 0:
		number = uint16(d.IntN(3))
	case 1:
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:a000:d00:%x::%x", d.IntN(2), d.IntN(16)))
	case 2, 3:
		for {
			if a := d.Addr(); a.Is6() {
				return a
			}
		}
	case 4:
		return netip.MustParseAddr(fmt.Sprintf("3fff:c:0:7:5:%x:0:%x", number, d.IntN(4)))
	case 5:
		l, err := ipam.NewLayout(netip.MustParsePrefix("2001:db8:a000:c14::/64"), d.seal)
		must(t, err)
		a, err := l.Encode(ipam.Fields{Identity: number, Born: 1, Sequence: 1 + uint16(d.IntN(4))})
		must(t, err)
		return a
	}
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:a000:c13:%x::%x", number, 1+d.IntN(4)))
}

// readBack asks what the maps hold about a random flow: the row of the table that was written.
func (d *policyDice) readBack(t *testing.T, writer *Policies, c policy.Compiled) {
	t.Helper()
	f := d.Flow()
	if d.IntN(4) > 0 {
		f.Other.Addr = d.other(t)
	}
	f.Other.Who = d.w.state.Policy.Who.Who(f.Other.Addr)
	a := pick(&generator{Rand: d.Rand}, append([]netip.Addr{worldLegacy}, generatorEndpoints...)...)
	row, _, known, err := writer.Held(a, f)
	must(t, err)
	if tables, ok := c.Subjects[a]; ok != known || ok && tables[f.Direction].Row(f) != row {
		t.Errorf("%+v at %s: the maps say row %d, known %v; the tables known %v", f, a, row, known, ok)
	}
}

// compare sends one packet through both: one that begins a flow, or the next one of either side of a flow of before.
func (d *policyDice) compare(t *testing.T, seen map[datapath.Why]int) {
	t.Helper()
	g := &generator{Rand: d.Rand, w: d.w}
	flow := tuple{
		src: pick(g, generatorEndpoints...), dst: d.other(t), srcPort: 1000 + uint16(d.IntN(3)), dstPort: uint16(d.IntN(12)),
		proto: pick(g, uint8(6), 6, 17, 17, 132, 58, 41),
	}
	if d.IntN(4) == 0 {
		flow.dst = pick(g, generatorEndpoints...)
	} else if d.IntN(2) == 0 {
		flow.src, flow.dst = flow.dst, flow.src
	}
	if len(d.past) > 0 && d.IntN(2) == 0 {
		flow = pick(g, d.past...)
		if d.IntN(2) == 0 {
			flow.src, flow.dst, flow.srcPort, flow.dstPort = flow.dst, flow.src, flow.dstPort, flow.srcPort
		}
	}
	if d.IntN(6) == 0 {
		flow.src, flow.dst = worldLegacy, netip.AddrFrom4([4]byte{192, 0, 2, byte(4 + d.IntN(60))})
		if d.IntN(2) == 0 {
			flow.dst = netip.AddrFrom4([4]byte{198, 51, 100, byte(d.IntN(64))})
		}
		if d.IntN(2) == 0 {
			flow.src, flow.dst = flow.dst, flow.src
		}
	}
	d.past = append(d.past, flow)
	if flow.src.Is4() {
		d.same(t, d.legacy(g, flow), flow, seen)
		return
	}
	self, here := d.w.state.Endpoints[flow.src]
	p := datapath.Packet{Place: datapath.FromEndpoint, Link: self.Link, Came: self.Link, Now: d.w.now}
	if !here {
		self = d.w.state.Endpoints[flow.dst]
		p.Place, p.Link, p.Came = datapath.FromUplink, d.w.links["up0"], d.w.links["up0"]
	}
	p.Frame = append(g.plain(flow, self.Link), make([]byte, 8)...) // a header of TCP is longer
	put16(p.Frame[18:], 16+8)
	if flow.proto == 58 {
		p.Frame[54] = pick(g, byte(128), 129)
	}
	if flow.proto == 6 {
		p.Frame[54+12], p.Frame[54+13] = 0x50, pick(g, byte(2), 0x10, 0x12, 0x11, 4)
	}
	if here && d.w.state.Endpoints[flow.src].Link != p.Link {
		t.Fatal("the packet is on the wrong link")
	}
	if !here {
		mac := worldPeerMAC
		if !worldPeer.Contains(flow.src) {
			mac = worldOtherMAC
		}
		copy(p.Frame[6:12], mac[:])
	}
	d.same(t, p, flow, seen)
}

// legacy is a packet of IPv4 from the endpoint that has an address of it, or as the kernel delivers it there.
func (d *policyDice) legacy(g *generator, flow tuple) datapath.Packet {
	link := d.w.links["hxa"]
	p := datapath.Packet{Place: datapath.FromEndpoint, Link: link, Came: link, Now: d.w.now, Frame: make([]byte, 14+20+24)}
	if flow.src != worldLegacy {
		p.Place, p.Came = datapath.ToEndpoint, d.w.links["up0"]
	}
	b := p.Frame
	copy(b, []byte{2, 0, 0, 0, byte(link), 1, 2, 0, 0, 0, byte(link), 2, 8, 0, 0x45})
	put16(b[16:], uint16(len(b)-14))
	b[23] = flow.proto
	src, dst := flow.src.As4(), flow.dst.As4()
	copy(b[26:], src[:])
	copy(b[30:], dst[:])
	put16(b[34:], flow.srcPort)
	put16(b[36:], flow.dstPort)
	switch flow.proto {
	case 58:
		b[23], b[34] = 1, pick(g, byte(0), 8)
	case 6:
		b[34+12], b[34+13] = 0x50, pick(g, byte(2), 0x10, 0x12, 0x11, 4)
	}
	return p
}

// same sends a packet through both.
func (d *policyDice) same(t *testing.T, p datapath.Packet, flow tuple, seen map[datapath.Why]int) {
	t.Helper()
	want := d.w.state.Judge(p)
	var got datapath.Outcome
	must(t, d.w.ns.Do(func() (err error) {
		got, err = run(d.w.judge, p)
		return err
	}))
	seen[want.Why]++
	for _, a := range []netip.Addr{flow.src, flow.dst} {
		if d.w.state.Policy.Who.Who(a).Number.Wide() {
			d.wide++
		}
	}
	if !same(got, want) {
		t.Errorf("%s -> %s protocol %d port %d at %s: model %s, program %s; %+v", flow.src, flow.dst, flow.proto, flow.dstPort, p.Place, want.Why, got.Why,
			d.w.state.Policy.Ask(d.w.state.Policy.Who, flow.src, flow.dst, transport.Protocol(flow.proto), flow.dstPort))
	}
}
