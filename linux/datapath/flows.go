package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// Sizes and places in the values of map flows (bpf/include/flow.h): a lock of 8 bytes, then the flows of a row.
const (
	flowSize = 64
	flowAt   = 8
)

// Flows lists the living flows. Rows are read one after the other while packets pass: a flow may be of a moment before or after
// its neighbour in the list.
func (m *Maps) Flows() ([]datapath.Flow, error) {
	now, err := Now()
	if err != nil {
		return nil, err
	}
	var list []datapath.Flow
	row := make([]byte, m.byName["flows"].ValueSize())
	for i := range m.byName["flows"].MaxEntries() {
		if err := m.byName["flows"].Lookup(i, &row); err != nil {
			return nil, fmt.Errorf("read the flow table: %w", err)
		}
		for at := flowAt; at+flowSize <= len(row); at += flowSize {
			if f := readFlow(row[at : at+flowSize]); !f.Gone(now) {
				list = append(list, f)
			}
		}
	}
	return list, nil
}

// readFlow reads struct flow.
func readFlow(b []byte) datapath.Flow {
	le := binary.LittleEndian
	return datapath.Flow{
		Key: datapath.FlowKey{
			A: netip.AddrFrom16([16]byte(b[0:16])), B: netip.AddrFrom16([16]byte(b[16:32])),
			APort: binary.BigEndian.Uint16(b[32:]), BPort: binary.BigEndian.Uint16(b[34:]), Proto: b[36],
		},
		State: datapath.FlowState(b[40]), Flags: b[41], MAC: desired.MAC(b[42:48]),
		Seen: le.Uint32(b[48:]), Generation: le.Uint32(b[52:]), Owner: le.Uint32(b[56:]), Link: le.Uint32(b[60:]),
	}
}

// Now is the programs' clock: seconds of 2^30 ns since the kernel booted.
func Now() (uint32, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		return 0, fmt.Errorf("read the clock of the flow table: %w", err)
	}
	return uint32(time.Duration(ts.Nano()) >> 30), nil
}
