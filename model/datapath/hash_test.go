package datapath

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// TestPortsThatFollowOneAnotherMeetInNoRow: the flows of one endpoint differ in a port alone. With a hash that spreads them as chance
// would, 4 seeds of 1,000 put eight of 10,000 flows into one of 16,384 rows.
func TestPortsThatFollowOneAnotherMeetInNoRow(t *testing.T) {
	const rows, flows, seeds, most = 16_384, 10_000, 200, 6
	from, to := netip.MustParseAddr("2001:db8:a000:401:101:38b:8d98:3"), netip.MustParseAddr("2001:db8:ffff::1")
	crowded := 0
	for n := range seeds {
		seed := binary.BigEndian.Uint64([]byte{byte(n), 7, 1, byte(n), 2, byte(n), 3, byte(n)})
		var held [rows]int
		full := false
		for port := range flows {
			k, _ := FlowKey{from, to, uint16(port + 1), 53, 17}.sorted()
			row := k.hash(seed) % rows
			held[row]++
			full = full || held[row] == FlowWays
		}
		if full {
			crowded++
		}
	}
	if crowded > most {
		t.Errorf("%d of %d seeds fill a row, want at most %d", crowded, seeds, most)
	}
}
