package nat64

import (
	"encoding/binary"
	"testing"

	"hexapod.dev/linux/netns/netnstest"
)

// H7: packets of a flow leave in the order in which they came, in both directions, also where some of them are cut (RFC 7915 4, 5). The
// program in the kernel holds no packet, so it cannot change their order.
func TestRFC7915_4_OrderOfAFlow(t *testing.T) {
	netnstest.Root(t)
	d := newPeerOfTayga(t)
	const count = 150 // fits the queue of the device
	var packets [][]byte
	for i := range uint32(count) {
		number := binary.BigEndian.AppendUint32(make([]byte, 0, 1472), i)
		if i%10 == 0 {
			number = number[:1472] // becomes two fragments of IPv6
		}
		packets = append(packets, udp6(number[:4]), back4(17, ports(8, serverPort, d.seen[17], number)))
	}
	out, ok := d.through(t, packets...)
	if !ok {
		t.Fatal("nobody translates")
	}
	var next4, next6 uint32
	for _, p := range out {
		switch {
		case p[0]>>4 == 4:
			if n := binary.BigEndian.Uint32(p[28:]); n != next4 {
				t.Fatalf("packet %d to IPv4 comes where %d should", n, next4)
			}
			next4++
		case p[6] == 17 || p[6] == 44 && p[42]|p[43]&^7 == 0:
			at := 48
			if p[6] == 44 {
				at += 8
			}
			if n := binary.BigEndian.Uint32(p[at:]); n != next6 {
				t.Fatalf("packet %d to IPv6 comes where %d should", n, next6)
			}
			next6++
		}
	}
	if next4 != count || next6 != count {
		t.Errorf("%d packets to IPv4 and %d to IPv6 came, want %d of each", next4, next6, count)
	}
}
