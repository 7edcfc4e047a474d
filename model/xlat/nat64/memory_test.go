package nat64

import (
	"net/netip"
	"os"
	"runtime"
	"testing"

	"hexapod.dev/model/xlat"
)

// TestMemoryOfAMillion measures what a million bindings of UDP, and a million sessions of TCP with theirs, take: memory of the table and of
// what outlives the process together. At most 160 and 280 bytes each. `make soak` takes the million; an eighth fills maps as much.
func TestMemoryOfAMillion(t *testing.T) {
	million := 125_000
	if os.Getenv("HEXAPOD_SOAK") != "" {
		million = 1_000_000
	}
	for _, c := range []struct {
		name     string
		protocol uint8
		payload  []byte
		most     int
	}{{"UDP bindings", udp, nil, 160}, {"TCP sessions", tcp, syn, 280}} {
		t.Run(c.name, func(t *testing.T) {
			p := Pool{Gateways: []string{"g"}}
			for i := range byte(16) {
				p.Addrs = append(p.Addrs, netip.AddrFrom4([4]byte{45, 0, 0, i}))
			}
			before := heap()
			table := New(Config{Prefixes: []xlat.Pref64{xlat.WellKnown}, Times: DefaultTimes, Limit: million, Bindings: make([]Binding, million),
				Blocks: NewBlocks(p, "g", 1, func(Grant) {})})
			to := xlat.WellKnown.Embed(server)
			for i := range million {
				from := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i / BlockSize >> 8), 15: byte(i / BlockSize)})
				q := xlat.Query{Ends: xlat.Ends{Src: from, Dst: to, SrcPort: uint16(i), DstPort: 80}, Protocol: c.protocol, Payload: c.payload}
				if _, why := table.To4(q); why != xlat.Translated {
					t.Fatalf("flow %d: %s", i, why)
				}
			}
			each := int(heap()-before) / million
			t.Logf("%d bytes each", each)
			if each > c.most {
				t.Errorf("%d bytes each, at most %d", each, c.most)
			}
			if n, sessions := table.Len(); n != million || c.protocol == tcp && sessions != million {
				t.Errorf("%d bindings, %d sessions", n, sessions)
			}
		})
	}
}

// heap is what is in use now.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
