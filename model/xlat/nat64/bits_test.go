package nat64

import (
	"net/netip"
	"testing"

	"hexapod.dev/model/xlat"
)

// sharing is a table over one block that begins at first, whose ports others have but for those that are left.
func sharing(t *testing.T, bound Bits, left ...uint16) *Table {
	t.Helper()
	pool := Pool{Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.5")}, Gateways: []string{"h"}, First: 36864, Last: 37887}
	table := New(Config{Prefixes: []xlat.Pref64{xlat.WellKnown}, Times: DefaultTimes, Limit: 100, Now: 1000, Bound: bound,
		Blocks: NewBlocks(pool, "h", 1, func(Grant) {})})
	held := make(Bits, BitsWords)
	for p := range uint16(BlockSize) {
		held.Set(udp, 36864+p)
	}
	for _, p := range left {
		held.Clear(udp, p)
	}
	table.Hold(held)
	return table
}

func asking(port uint16) xlat.Query {
	return xlat.Query{Protocol: udp, Ends: xlat.Ends{Src: netip.MustParseAddr("2001:db8::1"), SrcPort: port,
		Dst: netip.MustParseAddr("64:ff9b::8.8.8.8"), DstPort: 53}}
}

// Ports of sockets are given to nobody, those of bindings are marked as long as they live, and a table that goes on marks the same.
func TestPortsOfSocketsStayTheirs(t *testing.T) {
	bound := make(Bits, BitsWords)
	bound.Set(tcp, 50000) // of a table before
	table := sharing(t, bound, 36866, 36867)
	if bound.Has(tcp, 50000) {
		t.Error("what nobody has any more is marked")
	}
	for i := range uint16(2) {
		e, why := table.To4(asking(1000 + i))
		if why != xlat.Translated || e.SrcPort != 36866 && e.SrcPort != 36867 || !bound.Has(udp, e.SrcPort) {
			t.Fatalf("binding %d: %v, %v", i, e, why)
		}
	}
	if e, why := table.To4(asking(1002)); why != xlat.Refused {
		t.Errorf("a port of a socket is given out: %v, %v", e, why)
	}
	table.Advance(1000 + DefaultTimes.UDP + 1)
	table.Expire()
	if bound.Has(udp, 36866) || bound.Has(udp, 36867) {
		t.Error("ports that nobody has any more are marked")
	}
}

// A block whose ports sockets have does not stay with an endpoint that cannot use it.
func TestBlockOfSocketsGoesBack(t *testing.T) {
	table := sharing(t, make(Bits, BitsWords))
	if _, why := table.To4(asking(1000)); why != xlat.Refused {
		t.Errorf("it says %v", why)
	}
	if living := table.c.Blocks.Living(); len(living) != 0 {
		t.Errorf("it has %v", living)
	}
}

func TestBitsOfProtocolsAreApart(t *testing.T) {
	bits := make(Bits, BitsWords)
	for _, p := range []uint8{tcp, udp, icmp} {
		bits.Set(p, 65535)
	}
	bits.Clear(udp, 65535)
	if !bits.Has(tcp, 65535) || bits.Has(udp, 65535) || !bits.Has(icmp, 65535) || bits.Has(tcp, 65534) {
		t.Error("bits are mixed up")
	}
}

// Sockets come and go while an endpoint has the block: their ports are taken and given back, and those of bindings stay with them.
func TestHoldAnew(t *testing.T) {
	table := sharing(t, make(Bits, BitsWords), 36866)
	if e, why := table.To4(asking(1000)); why != xlat.Translated || e.SrcPort != 36866 {
		t.Fatalf("%v, %v", e, why)
	}
	held := make(Bits, BitsWords)
	for p := range uint16(BlockSize) {
		held.Set(udp, 36864+p)
	}
	held.Clear(udp, 37000)
	table.Hold(held) // the port of the binding is a socket's now too
	if e, why := table.To4(asking(1001)); why != xlat.Translated || e.SrcPort != 37000 {
		t.Fatalf("the port of a socket that went: %v, %v", e, why)
	}
	if e, why := table.To4(asking(1000)); why != xlat.Translated || e.SrcPort != 36866 {
		t.Fatalf("a binding ends because of a socket: %v, %v", e, why)
	}
	table.Advance(1000 + DefaultTimes.UDP - 1)
	if _, why := table.To4(asking(1001)); why != xlat.Translated {
		t.Fatal(why)
	}
	table.Advance(1000 + DefaultTimes.UDP + 1)
	table.Expire()
	if e, why := table.To4(asking(1002)); why != xlat.Refused {
		t.Errorf("the port of a socket, when the binding is over: %v, %v", e, why)
	}
}
