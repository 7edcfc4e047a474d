package gateway

import (
	"net/netip"
	"testing"

	"hexapod.dev/model/xlat/nat64"
)

// Of every block one gateway gives out the ports, whoever hears whom, and three of four are those of the gateway that is to have the address.
func TestOneGiver(t *testing.T) {
	var pool []netip.Addr
	for i := range 12 {
		pool = append(pool, netip.AddrFrom4([4]byte{45, 67, 0, byte(i + 1)}))
	}
	for n := 1; n <= 5; n++ {
		all := members(n)
		views := map[string]*Group{}
		for i, m := range all {
			g := New(m.Name, all, pool, true, 0)
			if i%2 == 0 { // this one hears nobody
				g.Advance(Silence + 1)
			}
			views[m.Name] = g
		}
		own, blocks := 0, nat64.Pool{Addrs: pool}.Blocks()
		for _, b := range blocks {
			givers := 0
			for name, g := range views {
				if g.Gives(b) {
					givers++
					if g.First(b.Addr).Name == name {
						own++
					}
				}
			}
			if givers != 1 {
				t.Fatalf("%d gateways: %d give %s", n, givers, b)
			}
		}
		if n > 1 && own != len(blocks)*48/63 || n == 1 && own != len(blocks) {
			t.Errorf("%d gateways: %d of %d blocks are given by whose address it is", n, own, len(blocks))
		}
	}
}
