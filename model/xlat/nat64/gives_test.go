package nat64

import (
	"net/netip"
	"slices"
	"testing"
)

// A gateway goes on with bindings in blocks of others, and makes new ones in its own alone, also for an endpoint that has a block of another one.
func TestBlocksOfOthers(t *testing.T) {
	pool := Pool{Addrs: []netip.Addr{netip.MustParseAddr("45.67.0.1")}, Gateways: []string{"g1"}, Gives: func(b Block) bool { return b.First/BlockSize%4 == 0 }}
	blocks := NewBlocks(pool, "g1", 1, func(Grant) {})
	if blocks.Free() != 15 {
		t.Fatalf("%d blocks are free", blocks.Free())
	}
	table := New(Config{Blocks: blocks, Limit: 100, Times: DefaultTimes, Now: 1000})
	e := netip.MustParseAddr("2001:db8::1")
	old := Copy{Endpoint: netip.AddrPortFrom(e, 1), Pool: netip.MustParseAddrPort("45.67.0.1:1030"), Protocol: tcp}
	if table.Adopt(slices.Values([]Copy{old})) != 1 || !table.HasPort(old.Pool, tcp) || !table.HasEnd(old.Endpoint, tcp) {
		t.Fatal("a binding in a block of another gateway is not taken")
	}
	k, short := table.choose(e, 2, tcp)
	if b, _ := BlockOf(netip.AddrFrom4(k.addr), k.port); short != enough || !pool.Gives(b) {
		t.Errorf("a new one is in %s, %v", b, short)
	}
	for i := range 14 {
		if _, short := table.choose(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 1, 15: byte(i)}), 2, tcp); short != enough {
			t.Fatalf("endpoint %d: %v", i, short)
		}
	}
	if _, short := table.choose(netip.MustParseAddr("2001:db8:2::1"), 2, tcp); short != NoBlock {
		t.Errorf("when its own blocks are gone: %v", short)
	}
	blocks.leave(map[netip.Addr]bool{pool.Addrs[0]: true})
	if blocks.Free() != 0 || len(blocks.idle) != 0 {
		t.Errorf("of an address that it left, it has %d blocks and %d of others", blocks.Free(), len(blocks.idle))
	}
}
