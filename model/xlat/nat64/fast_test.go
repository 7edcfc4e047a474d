package nat64

import (
	"net/netip"
	"testing"
	"unsafe"

	"hexapod.dev/model/xlat"
)

func TestFastLayout(t *testing.T) {
	if n := unsafe.Sizeof(Bucket{}); n != 768 {
		t.Errorf("a bucket has %d bytes, bpf/nat64.c has 768", n)
	}
}

// fastBed is a table with a fast path, both in memory that the next one may go on with.
func fastBed(store []Binding, buckets []Bucket, living []Grant, now Seconds, prefix xlat.Pref64) *bed {
	b := &bed{}
	b.blocks = NewBlocks(Pool{Addrs: pool, Gateways: []string{"g1"}}, "g1", 2, func(g Grant) { b.grants = append(b.grants, g) })
	for _, g := range living {
		b.blocks.Resume(g)
	}
	b.Table = New(Config{Prefixes: []xlat.Pref64{prefix}, Secret: Secret{1}, Times: DefaultTimes, Limit: len(store), Blocks: b.blocks, Bindings: store, Now: now, Fast: NewFast(buckets, Rooms{}, 7)})
	return b
}

func newFastBed() *bed {
	return fastBed(make([]Binding, 1000), make([]Bucket, 64), nil, 10, xlat.WellKnown)
}

// fast is the entry of a flow of the endpoint, nil if the fast path does not know it.
func (b *bed) fast(protocol uint8, port uint16, to netip.Addr, remote uint16) *fastEntry {
	e := fastEndsOf(xlat.Ends{Src: endpoint, Dst: six(to), SrcPort: port, DstPort: remote}, protocol)
	if p, ok := b.c.Fast.find(&e); ok {
		return b.c.Fast.at(p)
	}
	return nil
}

func TestFastPacketsKeepABindingAlive(t *testing.T) {
	b := newFastBed()
	b.out(udp, endpoint, 5000, server, 53, nil)
	e := b.fast(udp, 5000, server, 53)
	if e == nil || e.life != 10+300 {
		t.Fatalf("entry %+v", e)
	}
	b.Advance(300)
	e.life = 600 // as the program does with each packet
	b.Advance(500)
	b.Expire()
	if n, _ := b.Len(); n != 1 {
		t.Fatalf("%d bindings, the one that is used has gone", n)
	}
	b.Advance(600)
	b.Expire()
	if n, _ := b.Len(); n != 0 || b.fast(udp, 5000, server, 53) != nil {
		t.Errorf("%d bindings and entry %+v after the last packet's time", n, b.fast(udp, 5000, server, 53))
	}
	if flows, _ := b.c.Fast.Len(); flows != 0 {
		t.Errorf("%d flows are left", flows)
	}
}

// A session stands where the last packet left it, whoever translated that.
func TestFastPathMovesSessions(t *testing.T) {
	b := newFastBed()
	up, _ := b.out(tcp, endpoint, 5000, server, 80, syn)
	e := b.fast(tcp, 5000, server, 80)
	if e == nil || e.life != life(V6Init, 10+DefaultTimes.TCPTrans) {
		t.Fatalf("entry %+v", e)
	}
	b.in(tcp, server, 80, up.Src, up.SrcPort, flags(0x12))
	if e.life != life(Established, 10+DefaultTimes.TCPEst) {
		t.Errorf("life %x after the answer", e.life)
	}
	e.life = life(Trans, 20) // a reset went by the fast path
	b.Advance(20)
	b.Expire()
	if bindings, sessions := b.Len(); bindings != 0 || sessions != 0 || b.fast(tcp, 5000, server, 80) != nil {
		t.Errorf("%d bindings, %d sessions after the end", bindings, sessions)
	}
}

// What the fast path knows goes on in the next table, as far as that would map it in the same way.
func TestFastPathIsAdopted(t *testing.T) {
	store, buckets := make([]Binding, 100), make([]Bucket, 64)
	first := fastBed(store, buckets, nil, 10, xlat.WellKnown)
	first.out(tcp, endpoint, 5000, server, 80, syn)
	first.out(udp, endpoint, 6000, server, 53, nil)
	first.fast(tcp, 5000, server, 80).life = life(Established, 5000)

	next := fastBed(store, buckets, first.blocks.Living(), 20, xlat.WellKnown)
	if flows, _ := next.c.Fast.Len(); flows != 2 {
		t.Errorf("%d flows go on, want 2", flows)
	}
	if _, sessions := next.Len(); sessions != 1 {
		t.Errorf("%d sessions go on, want 1", sessions)
	}
	for _, s := range next.sessions {
		if state, ends := next.look(s); state != Established || ends != 5000 {
			t.Errorf("the session is %s until %d", state, ends)
		}
	}
	own, err := xlat.NewPref64(netip.MustParsePrefix("64:ff9b:1::/96"))
	if err != nil {
		t.Fatal(err)
	}
	other := fastBed(store, buckets, first.blocks.Living(), 30, own)
	if flows, _ := other.c.Fast.Len(); flows != 0 {
		t.Errorf("%d flows of a prefix that is none any more go on", flows)
	}
	for place := range uint32(len(buckets) * fastWays) {
		if other.c.Fast.kind(place) != free {
			t.Errorf("entry %+v is left", other.c.Fast.at(place))
		}
	}
}

// A flow that is silent makes room for another one, and one that is not stays.
func TestSilentFlowsMakeRoom(t *testing.T) {
	b := fastBed(make([]Binding, 1000), make([]Bucket, 1), nil, 10, xlat.WellKnown)
	const last = 5000 + fastWays/2 // both directions of a flow are in the one bucket
	for port := uint16(5000); port <= last; port++ {
		b.out(udp, endpoint, port, server, 53, nil)
	}
	if flows, refused := b.c.Fast.Len(); flows != fastWays/2 || refused == 0 {
		t.Errorf("%d flows, %d without a place; want %d and some", flows, refused, fastWays/2)
	}
	b.Advance(30)
	written := *b.c.Fast.used(0)
	b.out(udp, endpoint, last, server, 53, nil)
	if b.fast(udp, last, server, 53) == nil {
		t.Error("a flow found no place beside silent ones")
	}
	if *b.c.Fast.used(0) == written {
		t.Error("who reads an entry cannot see that it was written anew")
	}
}

// A connection that has ended makes room after two seconds, one that stands after a minute.
func TestEndedConnectionsMakeRoom(t *testing.T) {
	for _, c := range []struct {
		state   State
		ends    Seconds // after its last packet
		silence Seconds
	}{{V4V6Fin, DefaultTimes.TCPTrans, 2}, {Trans, DefaultTimes.TCPTrans, 2}, {V6Init, DefaultTimes.TCPTrans, 10}, {Established, DefaultTimes.TCPEst, 60}} {
		for _, late := range []Seconds{-1, 0} {
			b := fastBed(make([]Binding, 1000), make([]Bucket, 1), nil, 10, xlat.WellKnown)
			const last = 5000 + fastWays/2
			for port := uint16(5000); port < last; port++ {
				b.out(tcp, endpoint, port, server, 80, syn)
				b.fast(tcp, port, server, 80).life = life(c.state, 10+c.ends)
			}
			b.Advance(10 + c.silence + late)
			b.out(tcp, endpoint, last, server, 80, syn)
			if has := b.fast(tcp, last, server, 80) != nil; has != (late == 0) {
				t.Errorf("%s, silent for %d s: room %v", c.state, c.silence+late, has)
			}
		}
	}
}

func FuzzFastAdopts(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, memory []byte) {
		buckets := make([]Bucket, 4)
		room := unsafe.Slice((*byte)(unsafe.Pointer(&buckets[0])), 4*int(unsafe.Sizeof(Bucket{})))
		copy(room, memory)
		b := fastBed(make([]Binding, 10), buckets, nil, 10, xlat.WellKnown)
		b.out(udp, endpoint, 5000, server, 53, nil)
		b.Advance(1000)
		b.Expire()
	})
}
