package nat64

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/xlat"
)

// mostInRow is how many datagrams go as one: as many as a socket may send so on any kernel (UDP_MAX_SEGMENTS of linux/udp.h).
const mostInRow = 64

// row is datagrams of one flow that came one behind the other. They are written as one super-packet of UDP, which the kernel parts into the
// very same packets, if it has to part it at all: one system call and one way through the kernel for all of them.
type row struct {
	room    [headSize + 1<<16]byte // for a head, the first datagram with its headers, and the data of the others
	size    int                    // of what is there, without the head; 0: nothing
	data    int                    // where the data of the first begins, behind the head
	first   undone                 // what is undone in the first one, while it is alone
	count   int
	segment int  // size of the data of each
	ended   bool // the last one has less: none may follow
}

// dataOf is where the data of a datagram of UDP begins that can go in a row; 0: it cannot. u is what is undone in it.
func dataOf(p []byte, u undone) int {
	at, protocol := upperOf(p)
	switch {
	case at == 0 || protocol != unix.IPPROTO_UDP || u.segment != 0 || len(p) <= at+8 || int(binary.BigEndian.Uint16(p[at+4:])) != len(p)-at:
		return 0
	case at == 20 && binary.BigEndian.Uint16(p[6:])&0x3fff != 0: // a fragment
		return 0
	case u.checksum():
		return at + 8
	}
	// Checksums of a row are made anew, and a wrong one must stay wrong (RFC 7915 4.5).
	if s := uint32(xlat.PseudoSum(p, at, protocol)) + uint32(xlat.Sum(p[at:])); s>>16+s&0xffff != 0xffff {
		return 0
	}
	return at + 8
}

// begin makes a row of one datagram, whose data begins at a place.
func (r *row) begin(p []byte, data int, u undone) {
	r.size, r.data, r.first, r.count, r.segment, r.ended = copy(r.room[headSize:], p), data, u, 1, len(p)-data, false
}

// add takes a datagram that differs from those of the row in nothing but data, and in IPv4 has the identification that follows theirs.
func (r *row) add(p []byte, data int) bool {
	more := len(p) - data
	if r.size == 0 || r.ended || r.count == mostInRow || data != r.data || more > r.segment || r.size+more > 0xffff {
		return false
	}
	b := r.room[headSize:]
	at := data - 8
	if at == 40 {
		if !bytes.Equal(b[:4], p[:4]) || !bytes.Equal(b[6:at+4], p[6:at+4]) {
			return false
		}
	} else if !bytes.Equal(b[:2], p[:2]) || !bytes.Equal(b[6:10], p[6:10]) || !bytes.Equal(b[12:at+4], p[12:at+4]) ||
		binary.BigEndian.Uint16(p[4:]) != binary.BigEndian.Uint16(b[4:])+uint16(r.count) {
		return false
	}
	r.size += copy(b[r.size:], p[data:])
	r.count++
	r.ended = more < r.segment
	return true
}

// take returns what is in the row, to be written behind room for a head, and empties it.
func (r *row) take() (undone, []byte) {
	p, u := r.room[headSize:headSize+r.size], r.first
	r.size = 0
	if r.count == 1 {
		return u, p
	}
	at := r.data - 8
	u = undone{flags: needsChecksum, kind: kindUDP, headers: uint16(r.data), segment: uint16(r.segment), start: uint16(at), at: 6}
	binary.BigEndian.PutUint16(p[at+4:], uint16(len(p)-at))
	if at == 40 {
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-at))
	} else {
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^xlat.Sum(p[:20]))
	}
	binary.BigEndian.PutUint16(p[at+6:], xlat.PseudoSum(p, at, unix.IPPROTO_UDP))
	return u, p
}
