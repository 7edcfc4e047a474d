package datapath

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/datapath/connect"
	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// serviceWorld is the services of a world, written by the agent's own writer, and as a model.
type serviceWorld struct {
	w     *world
	hooks *connect.Hooks
	held  map[service.Key]service.Entry
	last  uint32 // number of an entry
	seen  map[string]int
	led   []ledFlow // lately
}

// ledFlow is a flow as its client and its backend see it.
type ledFlow struct {
	client, vip, backend netip.AddrPort
	proto                uint8
}

var (
	serviceVIPs = []netip.Addr{netip.MustParseAddr("2001:db8:a000:7::1"), netip.MustParseAddr("2001:db8:a000:7::2")}
	serviceKeys = []service.Key{
		{Addr: serviceVIPs[0], Port: 80, Protocol: transport.TCP}, {Addr: serviceVIPs[0], Port: 53, Protocol: transport.UDP},
		{Addr: serviceVIPs[1], Port: 80, Protocol: transport.TCP}, {Addr: serviceVIPs[1], Port: 80, Protocol: transport.SCTP},
		{Addr: serviceVIPs[1], Port: 53, Protocol: transport.UDP},
	}
)

// newServiceWorld is newWorld with services, whose maps are pinned where the hooks of sockets find them too.
func newServiceWorld(t *testing.T, rows uint32) *world {
	t.Helper()
	w := &world{ns: netnstest.New(t), links: map[string]uint32{}, now: 1000}
	run := t.TempDir()
	folder, err := pin.Open(filepath.Join(run, "none"), run)
	must(t, err)
	t.Cleanup(func() { must(t, folder.Remove()) })
	root, err := connect.Root()
	must(t, err)
	cgroup, err := os.MkdirTemp(root, "hexapod-twin-")
	must(t, err)
	t.Cleanup(func() { must(t, os.Remove(cgroup)) })
	hooks, err := connect.Open(folder, cgroup)
	must(t, err)
	t.Cleanup(func() { must(t, connect.Detach(folder)); must(t, hooks.Close()) })
	w.pinned = map[string]*ebpf.Map{}
	for _, name := range []string{"service_frontends", "service_affinity", "service_table_251", "service_table_1021", "service_table_4093",
		"service_table_16381", "service_table_65521"} {
		m, err := ebpf.LoadPinnedMap(folder.File(name), nil)
		must(t, err)
		t.Cleanup(func() { must(t, m.Close()) })
		w.pinned[name] = m
	}
	w.make(t, rows)
	w.services = &serviceWorld{w: w, hooks: hooks, held: map[service.Key]service.Entry{}, seen: map[string]int{}}
	w.state.Settings.Services = true
	w.state.Services = datapath.Services{Seed: w.state.Settings.Seed, Rows: make([]datapath.ServiceRow, rows),
		Fragments: map[datapath.FragmentKey]netip.Addr{}}
	w.setClock(t)
	g := &generator{Rand: rand.New(rand.NewPCG(1, 9)), w: w}
	for range 20 {
		w.services.change(t, g)
	}
	return w
}

// change gives one service other backends, another affinity, or an end.
func (s *serviceWorld) change(t *testing.T, g *generator) {
	t.Helper()
	if s == nil {
		return
	}
	s.w.state.Settings.Services = !g.chance(5)
	s.w.setClock(t)
	k := pick(g, serviceKeys...)
	old, known := s.held[k]
	if known && g.chance(10) {
		delete(s.held, k)
		s.w.state.Services.Delete(k)
		must(t, s.hooks.Remove(t.Context(), k))
		return
	}
	if !known {
		s.last++
		old = service.Entry{ID: s.last}
	}
	var backends []netip.AddrPort
	for range pick(g, 0, 1, 2, 2, 3, 12) {
		a := pick(g, pick(g, generatorEndpoints...), pick(g, generatorOthers[:4]...), netip.MustParseAddr(fmt.Sprintf("2001:db8:a000:c13::%x", g.IntN(9))))
		backends = append(backends, netip.AddrPortFrom(a, pick(g, uint16(8080), 80, 5353, k.Port)))
	}
	slices.SortFunc(backends, netip.AddrPort.Compare)
	backends = slices.Compact(backends)
	prev := old.Table
	next := service.Entry{ID: old.ID, Table: service.Next(&prev, backends), AffinitySeconds: pick(g, uint32(0), 0, 30)}
	s.held[k] = next
	s.w.state.Services.Set(k, next)
	must(t, s.hooks.Ensure(t.Context(), service.Frontend{Key: k, Backends: backends, AffinitySeconds: next.AffinitySeconds}))
}

// tuple is a packet to a service, or one of those that came of such.
func (s *serviceWorld) tuple(g *generator, place datapath.Place) (t tuple, ok bool) {
	if s == nil || place != datapath.FromEndpoint || !g.chance(60) {
		return t, false
	}
	k := pick(g, serviceKeys...)
	t = tuple{src: pick(g, generatorEndpoints...), dst: k.Addr, srcPort: uint16(1 + g.IntN(6)), dstPort: k.Port, proto: uint8(k.Protocol)}
	if g.chance(5) {
		t.dstPort++
	}
	return t, true
}

// packet is the next one about a flow that was led: from either end, a part of it, or an error.
func (s *serviceWorld) packet(g *generator) (p datapath.Packet, ok bool) {
	if s == nil || len(s.led) == 0 || g.chance(50) {
		return p, false
	}
	f := pick(g, s.led...)
	self := s.w.state.Endpoints[f.client.Addr()].Link
	there := tuple{f.client.Addr(), f.vip.Addr(), f.client.Port(), f.vip.Port(), f.proto}
	led := tuple{f.client.Addr(), f.backend.Addr(), f.client.Port(), f.backend.Port(), f.proto}
	back := tuple{f.backend.Addr(), f.client.Addr(), f.backend.Port(), f.client.Port(), f.proto}
	shown := tuple{f.vip.Addr(), f.client.Addr(), f.vip.Port(), f.client.Port(), f.proto}
	what := g.IntN(100)
	switch {
	case what < 25:
		p = s.from(g, there, self)
	case what < 35: // the client tells of an answer
		p = s.from(g, tuple{src: f.client.Addr(), dst: pick(g, f.vip.Addr(), f.vip.Addr(), f.backend.Addr()), proto: 58}, self)
		s.quote(g, &p, pick(g, shown, shown, back))
	default:
		t := back
		about := what >= 75 // the network or the backend tells of what the client sent
		if about {
			t = tuple{src: pick(g, f.backend.Addr(), f.backend.Addr(), generatorOthers[3]), dst: f.client.Addr(), proto: 58}
		}
		if from, here := s.w.state.Endpoints[t.src]; here && g.chance(80) {
			p = s.from(g, t, from.Link)
		} else {
			p = s.from(g, t, self)
			p.Place = datapath.FromUplink
			p.Link, p.Came = g.w.links["up0"], g.w.links["up0"]
			copy(p.Frame[6:12], worldPeerMAC[:])
			if g.chance(30) {
				p.Place, p.Link, p.Came = datapath.ToEndpoint, self, pick(g, 0, 0, g.w.links["up0"])
				p.Mark = pick(g, uint32(datapath.MarkService), datapath.MarkService, datapath.MarkSet, 0)
			}
		}
		if about {
			s.quote(g, &p, pick(g, led, led, led, there))
		}
	}
	if g.chance(10) {
		g.spoil(&p)
	}
	p.Now = s.w.now
	return p, true
}

// from is a packet of an endpoint, now and then in fragments.
func (s *serviceWorld) from(g *generator, t tuple, link uint32) datapath.Packet {
	p := datapath.Packet{Place: datapath.FromEndpoint, Link: link, Came: link, Frame: g.plain(t, link)[:54]}
	upper := g.upper(&p, t)
	if t.proto == 58 {
		upper = []byte{pick(g, byte(1), 2, 3, 4), byte(g.IntN(5)), byte(g.IntN(256)), byte(g.IntN(256)), 0, 0, 5, 0}
	} else if g.chance(20) {
		part := []byte{t.proto, 0, 0, pick(g, byte(1), 1, 0), 0, 0, 0, byte(g.IntN(2))}
		if g.chance(50) {
			put16(part[2:], uint16(8*(len(upper)/8+1))|uint16(g.IntN(2)))
		}
		p.Frame[20] = 44
		upper = append(part, upper...)
	}
	if t.proto == 6 && len(upper) > 12 && g.chance(80) && p.Frame[20] == 6 {
		upper[12] = 5 << 4
	}
	p.Frame = append(p.Frame, upper...)
	put16(p.Frame[18:], uint16(len(p.Frame)-54))
	return p
}

// quote appends the packet that an error is about.
func (s *serviceWorld) quote(g *generator, p *datapath.Packet, t tuple) {
	p.Frame = append(p.Frame, g.packetOf(t)...)
	put16(p.Frame[18:], uint16(len(p.Frame)-54))
}

// look remembers which flows were led, and counts what was met.
func (s *serviceWorld) look(g *generator, p datapath.Packet, o datapath.Outcome) {
	if s == nil || o.Why.Drop() || len(o.Frame) < 58 || o.Frame[12] != 0x86 {
		return
	}
	ends := func(frame []byte) (from, to netip.AddrPort) {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(frame[22:])), binary.BigEndian.Uint16(frame[54:])),
			netip.AddrPortFrom(netip.AddrFrom16([16]byte(frame[38:])), binary.BigEndian.Uint16(frame[56:]))
	}
	what := ""
	switch {
	case o.Why == datapath.Refused:
		what = "refused"
	case string(p.Frame[22:38]) != string(o.Frame[22:38]):
		what = "shown"
	case string(p.Frame[38:54]) != string(o.Frame[38:54]):
		what = "led"
	case o.Mark&datapath.MarkMask == datapath.MarkService:
		what = "to be shown"
	case p.Frame[20] == 58 && string(p.Frame[54:]) != string(o.Frame[54:]):
		what = "inner shown"
	default:
		return
	}
	if p.Frame[20] == 44 {
		what += " fragment"
	} else if p.Frame[20] == 58 && what != "refused" {
		what += " error"
	}
	s.seen[what]++
	if what != "led" {
		return
	}
	client, vip := ends(p.Frame)
	_, backend := ends(o.Frame)
	f := ledFlow{client, vip, backend, o.Frame[20]}
	if len(s.led) < 20 {
		s.led = append(s.led, f)
	} else {
		s.led[g.IntN(20)] = f
	}
}

// report fails where the packets missed a path.
func (s *serviceWorld) report(t *testing.T) {
	t.Helper()
	for _, what := range []string{"led", "shown", "refused", "to be shown", "led fragment", "shown fragment", "led error", "shown error", "inner shown error"} {
		if s.seen[what] == 0 {
			t.Errorf("no packet was %s: the packets miss a path", what)
		}
	}
	t.Log(s.seen)
}
