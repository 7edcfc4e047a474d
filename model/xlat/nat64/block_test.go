package nat64

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func gateways(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("gateway-%d", i))
	}
	return names
}

// When a gateway goes, its blocks go to those that were next, and no other block moves.
func TestOwnersMoveOnlyWhatIsLost(t *testing.T) {
	var addrs []netip.Addr
	for i := range byte(32) {
		addrs = append(addrs, netip.AddrFrom4([4]byte{198, 51, 100, i}))
	}
	before, after := Pool{Addrs: addrs, Gateways: gateways(10)}, Pool{Addrs: addrs, Gateways: gateways(9)}
	share := map[string]int{}
	blocks := before.Blocks()
	for _, b := range blocks {
		owner, next := before.Owners(b)
		now, _ := after.Owners(b)
		share[owner]++
		want := owner
		if owner == "gateway-9" {
			want = next
		}
		if now != want {
			t.Fatalf("%s went from %s to %s, want %s", b, owner, now, want)
		}
	}
	mean := float64(len(blocks)) / 10
	for g, n := range share {
		if sigma := math.Sqrt(mean * 0.9); math.Abs(float64(n)-mean) > 4.5*sigma {
			t.Errorf("%s has %d of %d blocks", g, n, len(blocks))
		}
	}
	if len(share) != 10 || len(blocks) != 32*63 {
		t.Errorf("%d gateways, %d blocks", len(share), len(blocks))
	}
}

// S14: who had an address and port at a time is answered from grants alone.
func TestRFC6888_REQ12_GrantsAnswerWho(t *testing.T) {
	b := newBed(1, 10)
	e, _ := b.out(udp, endpoint, 5000, server, 53, nil)
	b.Advance(300)
	b.Expire()
	block, _ := BlockOf(e.Src, e.SrcPort)
	want := []Grant{{Block: block, Endpoint: endpoint}, {Block: block, Endpoint: endpoint, To: 300}}
	if d := cmp.Diff(want, b.grants, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if _, ok := b.blocks.Owner(block); ok {
		t.Error("the block has an owner still")
	}
}

// S12: a block rests before another endpoint gets it (RFC 6888 REQ-8).
func TestRFC6888_REQ8_BlocksRest(t *testing.T) {
	p := Pool{Addrs: pool[:1], Gateways: []string{"g"}}
	l := NewBlocks(p, "g", 63, func(Grant) {})
	for range 63 {
		if _, short := l.Grant(endpoint, 0); short != enough {
			t.Fatal("a free block is refused")
		}
	}
	if _, short := l.Grant(other, 0); short == enough {
		t.Fatal("a 64th block of one address")
	}
	l.Return(l.Of(endpoint)[5], 1000)
	if _, short := l.Grant(other, 1119); short == enough {
		t.Error("a block is given out after 119 s")
	}
	if _, short := l.Grant(other, 1120); short != enough {
		t.Error("a block is not given out after 120 s")
	}
}
