package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf/ringbuf"

	"hexapod.dev/model/datapath"
)

// Event is one packet that was dropped.
type Event struct {
	Place            datapath.Place
	Why              datapath.Why
	Link, Came       uint32 // indices; Came is 0 for what the host itself sends
	Length           int    // of the whole frame, in bytes
	Src, Dst         netip.Addr
	Proto            uint8 // of the first header after the fixed one
	SrcPort, DstPort uint16
}

// eventHead is how much of a packet comes with an event (bpf/include/event.h).
const eventHead = 62

// Follow calls told with each drop until ctx ends. The programs tell of a few hundred a second at most. One follows at a time: a
// second one takes events away from the first.
func (m *Maps) Follow(ctx context.Context, told func(Event) error) error {
	r, err := ringbuf.NewReader(m.byName["events"])
	if err != nil {
		return fmt.Errorf("listen to the datapath: %w", err)
	}
	defer r.Close()
	stop := context.AfterFunc(ctx, func() { r.Close() }) // a deadline would wait for the reading to end
	defer stop()
	if err := m.setFlag(settingEvents, true); err != nil {
		return err
	}
	defer func() { _ = m.setFlag(settingEvents, false) }() // a program that tells nobody costs little
	for ctx.Err() == nil {
		record, err := r.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listen to the datapath: %w", err)
		}
		if e, ok := readEvent(record.RawSample); ok {
			if err := told(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// readEvent reads struct event.
func readEvent(b []byte) (Event, bool) {
	const fixed = 2 + eventHead + 12
	if len(b) < fixed {
		return Event{}, false
	}
	head, rest := b[2:2+eventHead], b[2+eventHead:]
	e := Event{
		Place: datapath.Place(b[0]), Why: datapath.Why(b[1]),
		Link: binary.LittleEndian.Uint32(rest), Came: binary.LittleEndian.Uint32(rest[4:]), Length: int(binary.LittleEndian.Uint32(rest[8:])),
	}
	if binary.BigEndian.Uint16(head[12:]) != 0x86dd {
		return e, true
	}
	e.Proto, e.Src, e.Dst = head[20], netip.AddrFrom16([16]byte(head[22:38])), netip.AddrFrom16([16]byte(head[38:54]))
	if e.Proto == 6 || e.Proto == 17 {
		e.SrcPort, e.DstPort = binary.BigEndian.Uint16(head[54:]), binary.BigEndian.Uint16(head[56:])
	}
	return e, true
}
