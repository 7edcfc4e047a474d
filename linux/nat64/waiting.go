package nat64

import (
	"encoding/binary"
	"net/netip"

	"hexapod.dev/model/xlat/nat64"
)

// Bounds of fragments that wait for the first of their packet (RFC 6146 3.4: at least 2 s).
const (
	waitTime      nat64.Seconds = 2
	waitPerSource               = 64 << 10 // bytes
	waitInAll                   = 4 << 20
)

// waiting is the fragments that came before the first of their packet, oldest first.
type waiting struct {
	list     []held
	bySource map[netip.Addr]int
	size     int
}

type held struct {
	packet []byte
	source netip.Addr
	id     uint32
	until  nat64.Seconds
}

// keep holds a fragment back; false when there is no room for it.
func (w *waiting) keep(packet []byte, now nat64.Seconds) bool {
	source, id, ok := pieceOf(packet)
	if w.bySource == nil {
		w.bySource = map[netip.Addr]int{}
	}
	if !ok || w.size+len(packet) > waitInAll || w.bySource[source]+len(packet) > waitPerSource {
		return false
	}
	w.list = append(w.list, held{append([]byte(nil), packet...), source, id, now + waitTime})
	w.bySource[source] += len(packet)
	w.size += len(packet)
	return true
}

// release takes out the fragments of the packet that first belongs to.
func (w *waiting) release(first []byte) (packets [][]byte) {
	source, id, ok := pieceOf(first)
	if !ok || w.bySource[source] == 0 {
		return nil
	}
	w.filter(func(h held) bool {
		if h.source != source || h.id != id {
			return true
		}
		packets = append(packets, h.packet)
		return false
	})
	return packets
}

// forget drops what has waited too long, and returns how many.
func (w *waiting) forget(now nat64.Seconds) int {
	n := len(w.list)
	w.filter(func(h held) bool { return h.until > now })
	return n - len(w.list)
}

func (w *waiting) filter(stays func(held) bool) {
	kept := w.list[:0]
	for _, h := range w.list {
		if stays(h) {
			kept = append(kept, h)
			continue
		}
		w.size -= len(h.packet)
		if w.bySource[h.source] -= len(h.packet); w.bySource[h.source] == 0 {
			delete(w.bySource, h.source)
		}
	}
	clear(w.list[len(kept):])
	w.list = kept
}

// pieceOf reads the source and identification of a fragment of either family; false if the packet is none.
func pieceOf(b []byte) (source netip.Addr, id uint32, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(b[12:16])), uint32(binary.BigEndian.Uint16(b[4:])), binary.BigEndian.Uint16(b[6:])&0x3fff != 0
	case len(b) >= 48 && b[0]>>4 == 6 && b[6] == 44: // others have a header before it and are not kept
		return netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint32(b[44:]), true
	}
	return source, 0, false
}
