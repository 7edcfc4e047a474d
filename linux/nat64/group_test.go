package nat64

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/gateway"
	"hexapod.dev/model/xlat"
)

// fabric joins gateways, endpoints and one IPv4 server without a kernel. Routers know gateways by anycast: any of those that live gets a
// packet, whoever has its binding.
type fabric struct {
	t    *testing.T
	pool []netip.Addr

	mu     sync.Mutex
	gates  map[netip.Addr]*gate // that live, by where they are reached
	seen   map[end]netip.AddrPort
	back   map[end]bool                   // whose answers came
	sticky bool                           // routers lead all packets of a flow to one gateway
	deaf   func(from, to netip.Addr) bool // whose words get lost; nil: nobody's
	news   chan struct{}
	keys   []gateway.Key
	heard  func(b []byte) bool // hears what gateways send each other, and may keep it from them; nil: nobody does
}

// gate is a gateway at work.
type gate struct {
	*Translator
	log  bytes.Buffer // of grants
	tun  *os.File     // the other end of its device
	end  context.CancelFunc
	done chan struct{}
}

// end is an end of an endpoint, by the sequence number that its segments carry.
type end uint32

var (
	testPrefix = xlat.WellKnown
	testServer = netip.MustParseAddrPort("45.66.0.80:80")
	members    = []gateway.Member{
		{Name: "g1", At: netip.MustParseAddr("2001:db8:1::3")}, {Name: "g2", At: netip.MustParseAddr("2001:db8:2::3")}, {Name: "g3", At: netip.MustParseAddr("2001:db8:3::3")},
	}
)

func newFabric(t *testing.T, keys ...gateway.Key) *fabric {
	f := &fabric{t: t, keys: keys, gates: map[netip.Addr]*gate{}, seen: map[end]netip.AddrPort{}, back: map[end]bool{}, news: make(chan struct{}, 1)}
	for i := range 12 {
		f.pool = append(f.pool, netip.AddrFrom4([4]byte{45, 67, 0, byte(i + 1)}))
	}
	for _, m := range members {
		f.start(m)
	}
	f.live(len(members))
	return f
}

func (f *fabric) start(m gateway.Member) {
	f.t.Helper()
	g := &gate{done: make(chan struct{})}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // a packet is one read or write
	if err != nil {
		f.t.Fatal(err)
	}
	g.tun = os.NewFile(uintptr(pair[0]), "fabric")
	tun := os.NewFile(uintptr(pair[1]), "tun")
	g.Translator = New(Files{TUN: tun, Grants: logOf{&g.log}}, slog.New(slog.DiscardHandler))
	err = g.Configure(Config{Prefixes: []netip.Prefix{testPrefix.Prefix()}, Pool: f.pool, Gateway: m.Name, Members: members, Keys: f.keys,
		Blocks: 2, Bindings: 1 << 16, Self4: f.pool[0], Self6: m.At, MTU6: 1500})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.end = cancel
	go func() { defer close(g.done); defer tun.Close(); _ = g.Run(ctx) }()
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, err := g.tun.Read(b)
			if err != nil {
				return // it ended
			}
			f.route(b[:n])
		}
	}()
	f.mu.Lock()
	f.gates[m.At] = g
	f.mu.Unlock()
	f.t.Cleanup(func() { f.crash(m) })
}

// crash takes a gateway away, without a word to anybody.
func (f *fabric) crash(m gateway.Member) {
	f.mu.Lock()
	g := f.gates[m.At]
	delete(f.gates, m.At) // nothing is sent to it from here on
	f.mu.Unlock()
	if g == nil {
		return // it was taken away before
	}
	g.end()
	<-g.done
	g.tun.Close()
}

// logOf is a log that is empty at first.
type logOf struct{ to *bytes.Buffer }

func (logOf) Read([]byte) (int, error)      { return 0, io.EOF }
func (l logOf) Write(b []byte) (int, error) { return l.to.Write(b) }

// who asks the log of a gateway who had a port.
func (f *fabric) who(m gateway.Member, at netip.AddrPort, when time.Time) (Had, bool) {
	f.t.Helper()
	f.mu.Lock()
	g := f.gates[m.At]
	f.mu.Unlock()
	g.mu.Lock()
	records, _, err := ReadRecords(bytes.NewReader(g.log.Bytes()))
	g.mu.Unlock()
	if err != nil {
		f.t.Fatal(err)
	}
	return Who(records, at.Addr(), at.Port(), when)
}

// route takes a packet where it goes.
func (f *fabric) route(b []byte) {
	b = append([]byte(nil), b...)
	f.mu.Lock()
	defer f.mu.Unlock()
	to := func(g *gate) {
		if raw, err := g.tun.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.Write(int(fd), b) }) // a full queue drops
		}
	}
	if b[0]>>4 == 4 {
		dst := netip.AddrFrom4([4]byte(b[16:]))
		if dst == testServer.Addr() {
			f.served(b)
			return
		}
		if len(f.gates) > 0 {
			to(f.owner(dst))
		}
		return
	}
	src, dst := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	switch g, ok := f.gates[dst]; {
	case ok && f.heard != nil && f.heard(b):
	case ok && b[6] == unix.IPPROTO_UDP && f.deaf != nil && f.deaf(src, dst):
	case ok:
		to(g)
	case testPrefix.Prefix().Contains(dst) && f.sticky && len(f.gates) == len(members):
		to(f.gates[members[int(binary.BigEndian.Uint16(b[40:]))%len(members)].At])
	case testPrefix.Prefix().Contains(dst) && len(f.gates) > 0:
		to(f.any())
	default:
		f.back[end(binary.BigEndian.Uint32(b[48:]))] = true // the server's segments carry the acknowledged number
	}
}

// owner is the gateway that routers lead an address of the pool to, if it lives: the one that is to have it.
func (f *fabric) owner(a netip.Addr) *gate {
	m, _ := gateway.New("", members, f.pool, true, 0).Owner(a)
	if g, lives := f.gates[m.At]; lives {
		return g
	}
	return f.any()
}

// any is a gateway that lives.
func (f *fabric) any() *gate {
	n := rand.IntN(len(f.gates))
	for _, g := range f.gates {
		if n--; n < 0 {
			return g
		}
	}
	return nil
}

// served notes what the server sees.
func (f *fabric) served(b []byte) {
	head := int(b[0]&15) * 4
	f.seen[end(binary.BigEndian.Uint32(b[head+4:]))] = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:])), binary.BigEndian.Uint16(b[head:]))
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// endpoints are so few that gateways which give out a part of an address's blocks have one for each of its endpoints.
const endpoints = 24

func endpointOf(n end) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:e::%x", 1+n%endpoints))
}

// send sends a segment of a flow.
func (f *fabric) send(n end, flags byte) { f.route(flowSegment(n, flags)) }

// flowSegment is a segment of a flow.
func flowSegment(n end, flags byte) []byte {
	src := endpointOf(n).As16()
	b := make([]byte, 60)
	b[0], b[6], b[7] = 6<<4, 6, 64
	binary.BigEndian.PutUint16(b[4:], 20)
	dst := testPrefix.Embed(testServer.Addr()).As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	binary.BigEndian.PutUint16(b[40:], uint16(10000+n))
	binary.BigEndian.PutUint16(b[42:], testServer.Port())
	binary.BigEndian.PutUint32(b[44:], uint32(n))
	b[52], b[53] = 5<<4, flags
	return b
}

const (
	syn = 2
	ack = 16
)

// reach sends a segment of each flow, again and again, until the server has seen all of them or they will not come, and returns who it saw.
func (f *fabric) reach(flows int, flags byte, patience time.Duration) map[end]netip.AddrPort {
	return f.reachFrom(0, end(flows), flags, patience)
}

// reachFrom is reach for the flows from one to another.
func (f *fabric) reachFrom(from, to end, flags byte, patience time.Duration) map[end]netip.AddrPort {
	f.mu.Lock()
	clear(f.seen)
	f.mu.Unlock()
	timeout := time.After(patience)
	for again := time.After(0); ; {
		select {
		case <-again:
			for n := from; n < to; n++ {
				f.mu.Lock()
				_, seen := f.seen[n]
				f.mu.Unlock()
				if !seen {
					f.send(n, flags)
				}
			}
			again = time.After(200 * time.Millisecond)
		case <-f.news:
		case <-timeout:
			f.mu.Lock()
			defer f.mu.Unlock()
			return maps.Clone(f.seen)
		}
		f.mu.Lock()
		if len(f.seen) == int(to-from) {
			defer f.mu.Unlock()
			return maps.Clone(f.seen)
		}
		f.mu.Unlock()
	}
}

// await waits until something is so for all gateways.
func (f *fabric) await(what string, so func([]*Together) bool) {
	f.t.Helper()
	await(f.t, what, func() (list []*Translator) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, g := range f.gates {
			list = append(list, g.Translator)
		}
		return list
	}, so)
}

// live waits until all gateways say that n of them translate.
func (f *fabric) live(n int) {
	f.t.Helper()
	f.await(fmt.Sprintf("%d gateways translate", n), allLive(n))
}

// settled waits until all bindings were told to those who would go on with them.
func (f *fabric) settled(flows int) {
	f.t.Helper()
	f.await("every binding has a copy", keep(flows))
}

// A gateway crashes with a thousand TCP flows open: its flows go on by the others, under their addresses and ports, those of the others
// lose nothing, and new ones begin. When it is back, it goes on where the others left. Packets come to any gateway all the time. What gateways
// tell each other is signed.
func TestGatewayCrash(t *testing.T) {
	const flows = 1000
	f := newFabric(t, bytes.Repeat([]byte{1}, gateway.KeyLen))
	before := f.reach(flows, syn, time.Minute)
	if len(before) != flows {
		t.Fatalf("%d of %d flows begin", len(before), flows)
	}
	owners, all := map[netip.Addr]int{}, gateway.New("g1", members, f.pool, true, 0)
	for _, a := range f.pool {
		m, _ := all.Owner(a)
		owners[a] = slices.Index(members, m)
	}
	homes := map[uint32]netip.Addr{}
	for n, at := range before { // one address for each endpoint (RFC 4787 REQ-2), whichever gateway saw its packets
		e := uint32(n) % endpoints
		if home, ok := homes[e]; ok && home != at.Addr() {
			t.Fatalf("endpoint %d is seen by %s and %s", e, home, at.Addr())
		}
		homes[e] = at.Addr()
	}
	f.settled(flows)
	same := func(what string, lost int) {
		t.Helper()
		after := f.reach(flows, ack, 30*time.Second)
		var kept, own [3]int
		for n, at := range before {
			own[owners[at.Addr()]]++
			if after[n] == at {
				kept[owners[at.Addr()]]++
			}
		}
		for i, m := range members {
			if own[i] == 0 || i == lost && kept[i] < own[i]*9/10 || i != lost && kept[i] < own[i] {
				t.Errorf("%s: of %d flows of %s %d go on", what, own[i], m.Name, kept[i])
			}
		}
	}
	same("all live", -1)
	lived := time.Now()
	f.crash(members[1])
	f.live(2)
	same("one is gone", 1)
	for n, at := range before { // its log is gone with it
		if owner, _ := all.Owner(at.Addr()); owner == members[1] {
			heir, _ := all.Heir(at.Addr())
			if h, found := f.who(heir, at, lived); !found || h.Endpoint != endpointOf(n) || h.Gateway != owner.Name || !h.To.IsZero() {
				t.Fatalf("who had %s? %s says %+v, %v; want %s by %s until now", at, heir.Name, h, found, endpointOf(n), owner.Name)
			}
		}
	}
	if got := f.reach(flows+100, syn, 30*time.Second); len(got) != flows+100 {
		t.Errorf("%d of %d flows begin without it", len(got), flows+100)
	}
	f.start(members[1])
	f.live(3)
	same("it is back", 1)
}
