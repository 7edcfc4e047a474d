package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/model/datapath"
)

// seatSize is struct service_seat behind the flows of a row (bpf/include/service.h).
const seatSize = 32

// compareTables compares what both forms remember: a difference there would show in a packet much later, or never.
func (w *world) compareTables(t *testing.T) {
	t.Helper()
	for i := range w.state.Flows.Rows {
		if d := cmp.Diff(rowText(w.state.Flows.Rows[i][:], nil), w.rowOf(t, "flows", i)); d != "" {
			t.Errorf("row %d of the flow table at %d (-model +program):\n%s", i, w.now, d)
			return
		}
	}
	for i := range w.state.Services.Rows {
		row := &w.state.Services.Rows[i]
		seat := func(n int) netip.AddrPort { return row.Seat[n].Backend }
		if d := cmp.Diff(rowText(row.Flow[:], seat), w.rowOf(t, "service_flows", i)); d != "" {
			t.Errorf("row %d of the flow table of services at %d (-model +program):\n%s", i, w.now, d)
			return
		}
	}
}

// rowText writes the flows of a row, one a line. Which place in the row a flow has is nobody's business.
func rowText(flows []datapath.Flow, seat func(int) netip.AddrPort) (lines []string) {
	for i, f := range flows {
		if f.State == datapath.Free {
			continue
		}
		line := fmt.Sprintf("%v state %d flags %d seen %d generation %d owner %d link %d", f.Key, f.State, f.Flags, f.Seen, f.Generation, f.Owner, f.Link)
		if f.Link != 0 {
			line += " " + f.MAC.String()
		}
		if seat != nil {
			line += " led to " + seat(i).String()
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// rowOf reads one row of the programs.
func (w *world) rowOf(t *testing.T, table string, i int) []string {
	t.Helper()
	row := make([]byte, w.maps[table].ValueSize())
	must(t, w.maps[table].Lookup(uint32(i), &row))
	flows := make([]datapath.Flow, datapath.FlowWays)
	for n := range flows {
		flows[n] = readFlow(row[flowAt+n*flowSize : flowAt+(n+1)*flowSize])
	}
	if table == "flows" {
		return rowText(flows, nil)
	}
	seats := row[flowAt+datapath.FlowWays*flowSize:]
	return rowText(flows, func(n int) netip.AddrPort {
		b := seats[n*seatSize:]
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), binary.BigEndian.Uint16(b[16:]))
	})
}
