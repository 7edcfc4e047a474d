package nat64

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"hexapod.dev/model/xlat"
)

// S18: the heir of a gateway that is gone goes on with its bindings, under their addresses and ports; when the gateway is back, it goes on
// with what the heir has then. No grant ends on the way.
func TestBindingsGoOnElsewhere(t *testing.T) {
	copies := map[Copy]bool{}
	note := func(c Copy, gone bool) {
		if copies[c] = !gone; gone {
			delete(copies, c)
		}
	}
	first, heir := newBed(2, 1000), newBed(2, 1000)
	heir.Leave(pool, func(c Copy) { t.Errorf("a new table tells of %v", c) })
	first.Changed = note
	seen := map[uint16]xlat.Ends{}
	for port := range uint16(100) {
		seen[port], _ = first.out(tcp, endpoint, 5000+port, server, 80, syn)
	}
	short, _ := first.out(icmp, other, 7, server, 7, nil)
	first.Advance(DefaultTimes.ICMP)
	first.Expire()
	if len(copies) != 100 {
		t.Fatalf("%d bindings are known elsewhere, want 100 without the one that ended", len(copies))
	}
	take := func(b *bed, from map[Copy]bool) {
		t.Helper()
		b.grants = nil
		b.blocks.Take(Pool{Addrs: pool})
		if n := b.Adopt(maps.Keys(from)); n != len(from) {
			t.Fatalf("%d of %d are adopted", n, len(from))
		}
		if n := b.Adopt(maps.Keys(from)); n != 0 {
			t.Fatalf("%d are adopted twice", n)
		}
		if len(b.grants) != 1 || b.grants[0].Endpoint != endpoint || b.grants[0].To != 0 {
			t.Errorf("the log is told %v, want the block of the endpoint", b.grants)
		}
		for port, was := range seen {
			if e, why := b.out(tcp, endpoint, 5000+port, server, 80, ack); why != xlat.Translated || e != was {
				t.Fatalf("a flow goes on as %v (%s), it was %v", e, why, was)
			}
		}
		if e, why := b.out(udp, other, 9, server, 53, nil); why != xlat.Translated || e.Src == short.Src && b.blocks.Of(other)[0] == b.blocks.Of(endpoint)[0] {
			t.Errorf("another endpoint gets %v (%s)", e, why)
		}
	}
	take(heir, copies)

	back := map[Copy]bool{}
	heir.Changed = func(c Copy, gone bool) { t.Errorf("%v ended (%v) though it goes on", c, gone) }
	heir.grants = nil
	heir.Leave(pool, func(c Copy) { back[c] = true })
	if n, sessions := heir.Len(); n != 0 || sessions != 0 || heir.blocks.Free() != 0 || len(heir.grants) != 0 || len(heir.blocks.Living()) != 0 {
		t.Errorf("it left with %d bindings, %d sessions, %d blocks and %v to the log", n, sessions, heir.blocks.Free(), heir.grants)
	}
	if len(back) != 101 {
		t.Fatalf("it tells of %d bindings, want 101", len(back))
	}
	again := newBed(2, 1000)
	again.Leave(pool, nil)
	for c := range back {
		if c.Protocol == udp {
			delete(back, c) // asked for anew
		}
	}
	take(again, back)
}

// What contradicts what a gateway has is not adopted.
func TestAdoptHasLimits(t *testing.T) {
	b := newBed(1, 2)
	adopted := func(c Copy) bool { return b.Adopt(slices.Values([]Copy{c})) == 1 }
	had, _ := b.out(udp, endpoint, 5000, server, 53, nil)
	at := func(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
	for name, c := range map[string]Copy{
		"another port of the endpoint's end": {at(endpoint, 5000), at(had.Src, had.SrcPort+1), udp},
		"a port that is taken":               {at(endpoint, 5001), at(had.Src, had.SrcPort), udp},
		"a block that is taken":              {at(other, 5000), at(had.Src, had.SrcPort^1), udp},
		"an address of nobody":               {at(endpoint, 5001), at(server, 5000), udp},
		"a port in no block":                 {at(endpoint, 5001), at(had.Src, 80), udp},
	} {
		if adopted(c) {
			t.Errorf("%s: adopted", name)
		}
	}
	if !adopted(Copy{at(endpoint, 5001), at(had.Src, had.SrcPort^1), udp}) {
		t.Error("what is right is not adopted")
	}
	if adopted(Copy{at(endpoint, 5002), at(had.Src, had.SrcPort^2), udp}) {
		t.Error("more than the table holds is adopted")
	}
}

// Each endpoint has one home, endpoints are spread, and a gateway grants there first, and elsewhere when it is full.
func TestRFC4787_REQ2_HomeOfAnEndpoint(t *testing.T) {
	var addrs []netip.Addr
	for i := range byte(8) {
		addrs = append(addrs, netip.AddrFrom4([4]byte{198, 51, 100, i}))
	}
	blocks := NewBlocks(Pool{Addrs: addrs, Gateways: []string{"g1"}}, "g1", 1, func(Grant) {})
	blocks.Home = func(e netip.Addr) netip.Addr { return Home(e, addrs) }
	share, granted, away := map[netip.Addr]int{}, map[netip.Addr]int{}, 0
	for i := range 500 {
		e := netip.MustParseAddr(fmt.Sprintf("2001:db8:e::%x", i+1))
		backward := slices.Clone(addrs)
		slices.Reverse(backward)
		home := Home(e, addrs)
		if other := Home(e, backward); other != home {
			t.Fatalf("%s is at home at %s and %s", e, home, other)
		}
		share[home]++
		b, short := blocks.Grant(e, 0)
		if short != enough {
			t.Fatalf("endpoint %d: %s", i, short)
		}
		if b.Addr != home {
			if away++; granted[home] < blocksPerAddr {
				t.Errorf("%s is granted %s, and its home %s has room", e, b, home)
			}
		}
		granted[b.Addr]++
	}
	for _, a := range addrs {
		if share[a] < 30 || share[a] > 100 {
			t.Errorf("%s is the home of %d of 500 endpoints", a, share[a])
		}
	}
	if away == 0 {
		t.Error("no home was full")
	}
}
