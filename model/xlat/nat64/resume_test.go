package nat64

import (
	"net/netip"
	"slices"
	"testing"

	"hexapod.dev/model/xlat"
)

// resumed is a table that goes on with what another one left in store.
func resumed(store []Binding, living []Grant, now Seconds) *bed {
	b := &bed{}
	b.blocks = NewBlocks(Pool{Addrs: pool, Gateways: []string{"g1"}}, "g1", 2, func(g Grant) { b.grants = append(b.grants, g) })
	for _, g := range living {
		b.blocks.Resume(g)
	}
	b.Table = New(Config{Prefixes: []xlat.Pref64{xlat.WellKnown}, Secret: Secret{1}, Times: DefaultTimes, Limit: len(store), Blocks: b.blocks,
		Bindings: store, Now: now})
	return b
}

// What a table held goes on in the next one: mappings stay, established TCP goes on from either side, blocks stay whose they were.
func TestTableResumes(t *testing.T) {
	store := make([]Binding, 100)
	first := resumed(store, nil, 10)
	up, why := first.out(tcp, endpoint, 5000, server, 80, syn)
	if why != xlat.Translated {
		t.Fatal(why)
	}
	first.in(tcp, server, 80, up.Src, up.SrcPort, flags(0x12))
	dns, _ := first.out(udp, endpoint, 6000, server, 53, nil)
	first.out(udp, other, 6000, server, 53, nil)

	next := resumed(store, first.blocks.Living(), 20)
	if len(next.grants) != 0 {
		t.Errorf("the log is told again: %v", next.grants)
	}
	if n, _ := next.Len(); n != 3 {
		t.Fatalf("%d bindings go on, want 3", n)
	}
	if e, why := next.in(tcp, server, 80, up.Src, up.SrcPort, ack); why != xlat.Translated || e.Dst != endpoint || e.DstPort != 5000 {
		t.Errorf("a segment of the server: %v %v", e, why)
	}
	if _, sessions := next.Len(); sessions != 1 {
		t.Errorf("%d sessions, want the one that is used", sessions)
	}
	if e, why := next.out(udp, endpoint, 6000, third, 53, nil); why != xlat.Translated || e.SrcPort != dns.SrcPort {
		t.Errorf("a datagram leaves from %d, %v, want %d", e.SrcPort, why, dns.SrcPort)
	}
	next.Advance(20 + DefaultTimes.TCPEst)
	next.Expire()
	if n, _ := next.Len(); n != 1 {
		t.Errorf("%d bindings after the longest time, want the one session that is asked whether it lives", n)
	}
}

func TestResumeDropsWhatContradicts(t *testing.T) {
	store := make([]Binding, 10)
	first := resumed(store, nil, 0)
	first.out(udp, endpoint, 6000, server, 53, nil)
	first.out(udp, endpoint, 6001, server, 53, nil)
	first.out(udp, other, 6000, server, 53, nil)
	living := first.blocks.Living()
	store[0].four.addr = [4]byte{192, 0, 2, 1}                                            // no address of the pool
	living = slices.DeleteFunc(living, func(g Grant) bool { return g.Endpoint == other }) // whose block nobody noted
	next := resumed(store, living, 1)
	if n, _ := next.Len(); n != 1 {
		t.Errorf("%d bindings go on, want 1", n)
	}
	for range 9 {
		if _, why := next.out(udp, endpoint, uint16(7000+len(next.by6)), server, 53, nil); why != xlat.Translated {
			t.Fatal(why)
		}
	}
	if _, why := next.out(udp, endpoint, 9999, server, 53, nil); why != xlat.Refused {
		t.Errorf("one more than the room holds: %v", why)
	}
}

func TestResumeReturnsEmptyBlocks(t *testing.T) {
	block := Block{pool[0], 2048}
	next := resumed(make([]Binding, 1), []Grant{{Block: block, Endpoint: endpoint, From: 1}}, 5)
	if len(next.grants) != 1 || next.grants[0].To != 5 || next.grants[0].Block != block {
		t.Errorf("told %v, want the end of the grant", next.grants)
	}
}

func TestShortagesAreTold(t *testing.T) {
	b := newBed(1, 3000)
	var told []Shortage
	b.Refused = func(_ netip.Addr, s Shortage) { told = append(told, s) }
	for port := range uint16(BlockSize + 1) {
		b.out(udp, endpoint, 1024+port, server, 53, nil)
	}
	if !slices.Equal(told, []Shortage{AtQuota}) {
		t.Errorf("told %v", told)
	}
	b.c.Limit = BlockSize
	b.out(udp, other, 1, server, 53, nil)
	if told[len(told)-1] != TableFull {
		t.Errorf("told %v", told)
	}
	found := 0
	b.Usage(func(a netip.Addr, u Usage) { found += u.Most() })
	if found != BlockSize {
		t.Errorf("%d bindings are counted", found)
	}
}

func TestRFC6052_3_1_PrivateIsNamed(t *testing.T) {
	own, err := xlat.NewPref64(netip.MustParsePrefix("2001:db8:64::/96"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(1, 10)
	b.c.Prefixes = []xlat.Pref64{own}
	b.c.Private = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.0.0/16")}
	b.c.Clients = []netip.Prefix{netip.PrefixFrom(endpoint, 128)}
	for a, want := range map[string]xlat.Why{"10.1.2.3": xlat.Translated, "10.2.2.3": xlat.Forbidden, "192.168.1.1": xlat.Forbidden, "8.8.8.8": xlat.Translated,
		"169.254.169.254": xlat.Forbidden, "127.0.0.1": xlat.Forbidden, "0.1.2.3": xlat.Forbidden, "224.0.0.1": xlat.Forbidden} {
		q := xlat.Query{Protocol: udp, Ends: xlat.Ends{Src: endpoint, Dst: own.Embed(netip.MustParseAddr(a)), SrcPort: 1, DstPort: 1}}
		if _, why := b.To4(q); why != want {
			t.Errorf("%s: %v, want %v", a, why, want)
		}
		q.Ends.Src = other
		if _, why := b.To4(q); why != xlat.Forbidden {
			t.Errorf("%s for somebody who may not: %v", a, why)
		}
	}
}
