package nat64

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/tun"
	"hexapod.dev/model/xlat"
)

// headSize is the size of struct virtio_net_hdr (linux/virtio_net.h).
const headSize = 10

// Values of struct virtio_net_hdr.
const (
	needsChecksum = 1
	kindTCP4      = 1
	kindTCP6      = 4
	kindUDP       = 5    // of either family, since Linux 6.2
	kindMarked    = 0x80 // ECN: the first segment has CWR
)

// undone is what the kernel leaves to who is next: struct virtio_net_hdr in the byte order of the machine. The zero value is a whole packet.
type undone struct {
	flags, kind uint8
	headers     uint16 // size of all of them
	segment     uint16 // size of the data of each packet that leaves
	start, at   uint16 // where the checksum begins to sum, and where it is behind that
}

func (u undone) checksum() bool { return u.flags&needsChecksum != 0 }

// queue is the queue of the translator's device.
type queue struct {
	headed bool // each packet is behind an undone
	leave  bool // something may be undone
	told   bool // the kernel knows; the translator before may have told it otherwise
	rows   bool // the kernel takes super-packets of UDP
	row    row  // waits to be written
	room   [headSize + 2048]byte
}

// openQueue finds out the form of packets.
func openQueue(f *os.File) (q queue) {
	if f == nil {
		return q
	}
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { q.headed = tun.IsHeaded(fd) })
	}
	return q
}

// setLeave says whether super-packets may come: gateways that hand packets on to others take none.
func (q *queue) setLeave(f *os.File, yes bool) error {
	if !q.headed || q.told && q.leave == yes {
		return nil
	}
	c, err := f.SyscallConn()
	if err == nil {
		var failed error
		if err = c.Control(func(fd uintptr) { q.rows, failed = tun.Leave(fd, yes) }); err == nil {
			err = failed
		}
	}
	if err != nil {
		return fmt.Errorf("super-packets of the TUN device: %w", err)
	}
	q.leave, q.told = yes, true
	return nil
}

// split parts what was read.
func (q *queue) split(b []byte) (undone, []byte) {
	if !q.headed {
		return undone{}, b
	}
	if len(b) < headSize {
		return undone{}, nil
	}
	n := binary.NativeEndian
	return undone{b[0], b[1], n.Uint16(b[2:]), n.Uint16(b[4:]), n.Uint16(b[6:]), n.Uint16(b[8:])}, b[headSize:]
}

// put writes a packet, at the latest with the next flush: datagrams of a flow wait there for those that follow.
func (q *queue) put(fd uintptr, u undone, p []byte) unix.Errno {
	data := 0
	if q.rows {
		if data = dataOf(p, u); data != 0 && q.row.add(p, data) {
			return 0
		}
	}
	errno := q.flush(fd)
	if data != 0 {
		q.row.begin(p, data, u)
		return errno
	}
	return cmp.Or(errno, q.write(fd, u, p))
}

// flush writes the datagrams that wait.
func (q *queue) flush(fd uintptr) unix.Errno {
	if q.row.size == 0 {
		return 0
	}
	u, p := q.row.take()
	errno := q.send(fd, u, q.row.room[:headSize+len(p)])
	if errno == 0 || u.segment == 0 {
		return errno
	}
	errno = 0
	u.segments(p, nil, func(s []byte) { errno = cmp.Or(errno, q.write(fd, undone{}, s)) })
	q.rows = errno != 0 // where one by one is better, this kernel takes no rows, whatever it says
	return errno
}

// write writes a packet. The device never blocks.
func (q *queue) write(fd uintptr, u undone, p []byte) unix.Errno {
	if !q.headed {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		return errno
	}
	if headSize+len(p) <= len(q.room) { // copying costs less than a second piece
		return q.send(fd, u, q.room[:headSize+copy(q.room[headSize:], p)])
	}
	u.write(q.room[:])
	pieces := [2]unix.Iovec{{Base: &q.room[0]}, {Base: &p[0]}}
	pieces[0].SetLen(headSize)
	pieces[1].SetLen(len(p))
	_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&pieces[0])), 2)
	return errno
}

// send writes a packet that has room for a head before it.
func (q *queue) send(fd uintptr, u undone, b []byte) unix.Errno {
	u.write(b)
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return errno
}

// write writes the head of a packet.
func (u undone) write(b []byte) {
	n := binary.NativeEndian
	b[0], b[1] = u.flags, u.kind
	n.PutUint16(b[2:], u.headers)
	n.PutUint16(b[4:], u.segment)
	n.PutUint16(b[6:], u.start)
	n.PutUint16(b[8:], u.at)
}

// upperOf is where the upper header of a packet without options and extension headers begins, and its protocol; 0: it has some.
func upperOf(p []byte) (at int, protocol byte) {
	switch {
	case len(p) >= 40 && p[0]>>4 == 6:
		return 40, p[6]
	case len(p) >= 20 && p[0] == 0x45:
		return 20, p[9]
	}
	return 0, 0
}

// plain tells of TCP and UDP whose checksum alone is undone, and of super-packets of both.
func (u undone) plain(p []byte) bool {
	at, protocol := upperOf(p)
	if at == 0 || int(u.start) != at || !u.checksum() {
		return false
	}
	if protocol == unix.IPPROTO_UDP {
		return u.at == 6 && len(p) >= at+8
	}
	return protocol == unix.IPPROTO_TCP && u.at == 16 && len(p) >= at+20
}

// settle does what is undone in a packet of which the kernel wants its checksum alone.
func (u undone) settle(p []byte) {
	sum := int(u.start) + int(u.at)
	if !u.checksum() || sum+2 > len(p) {
		return
	}
	s := ^xlat.Sum(p[u.start:])
	if s == 0 {
		s = 0xffff // RFC 768: 0 is no checksum
	}
	binary.BigEndian.PutUint16(p[sum:], s)
}

// headersOf is the size of all headers of a packet of TCP or UDP.
func headersOf(p []byte) int {
	at, protocol := upperOf(p)
	if protocol == unix.IPPROTO_TCP {
		return at + int(p[at+12]>>4)*4
	}
	return at + 8
}

// packets is how many packets leave of one.
func (u undone) packets(p []byte) int {
	if u.segment == 0 {
		return 1
	}
	return (len(p) - headersOf(p) + int(u.segment) - 1) / int(u.segment)
}

// segments makes packets of a super-packet, each into room, and hands them to each. In IPv4 each has an identification of its own, as the kernel
// gives them: they follow one another.
func (u undone) segments(p, room []byte, each func([]byte)) {
	at, protocol := upperOf(p)
	head := headersOf(p)
	if u.segment == 0 || len(p) <= head {
		return
	}
	for from, n := head, uint16(0); from < len(p); from, n = from+int(u.segment), n+1 {
		to := min(from+int(u.segment), len(p))
		s := append(append(room[:0], p[:head]...), p[from:to]...)
		if protocol == unix.IPPROTO_TCP {
			ofStream(s[at:], uint32(from-head), to == len(p))
		} else {
			binary.BigEndian.PutUint16(s[at+4:], uint16(len(s)-at))
		}
		if at == 40 {
			binary.BigEndian.PutUint16(s[4:], uint16(len(s)-40))
		} else {
			binary.BigEndian.PutUint16(s[2:], uint16(len(s)))
			binary.BigEndian.PutUint16(s[4:], binary.BigEndian.Uint16(p[4:])+n)
			s[10], s[11] = 0, 0
			binary.BigEndian.PutUint16(s[10:], ^xlat.Sum(s[:20]))
		}
		binary.BigEndian.PutUint16(s[at+int(u.at):], xlat.PseudoSum(s, at, protocol))
		u.settle(s)
		each(s)
	}
}

// ofStream makes of the header of a super-packet of TCP that of the segment whose data begins at a place (RFC 9293 3.4: sequence numbers count
// bytes).
func ofStream(tcp []byte, from uint32, last bool) {
	binary.BigEndian.PutUint32(tcp[4:], binary.BigEndian.Uint32(tcp[4:])+from)
	if !last {
		tcp[13] &^= 1 | 8 // FIN, PSH
	}
	if from > 0 {
		tcp[13] &^= 0x80 // CWR (RFC 3168 6.1.2)
	}
}

// translated is what is left undone in a packet after its translation: its checksum is that of the pseudo-header of its new family.
func (u undone) translated(p []byte) undone {
	at, protocol := upperOf(p)
	u.start, u.headers = uint16(at), uint16(headersOf(p))
	binary.BigEndian.PutUint16(p[at+int(u.at):], xlat.PseudoSum(p, at, protocol))
	if u.segment == 0 {
		return u
	}
	marked := u.kind & kindMarked
	switch {
	case protocol == unix.IPPROTO_UDP:
		u.kind = kindUDP
	case at == 40:
		u.kind = kindTCP6 | marked
	default:
		u.kind = kindTCP4 | marked
	}
	if at == 20 {
		if int(u.headers)+int(u.segment) <= xlat.Unfragmented4 { // RFC 7915 5.1 speaks of the packets that leave
			p[6] &^= 0x40
			p[10], p[11] = 0, 0
			binary.BigEndian.PutUint16(p[10:], ^xlat.Sum(p[:20]))
		}
	}
	return u
}
