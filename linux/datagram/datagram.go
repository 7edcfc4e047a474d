// Package datagram reads and writes the datagrams of a UDP socket in batches: one system call for many.
//
// Answers of one size to one client leave as one packet, which the kernel parts where it has to (UDP_SEGMENT, Linux 4.18).
package datagram

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sizes of a batch.
const (
	// Most is how many datagrams are read at a time.
	Most = 64
	// MaxIn is the longest datagram that is read, in octets. Longer ones are left out, as if they had been lost.
	MaxIn = 2048
	// MaxOut is the longest answer, in octets.
	MaxOut = 2048
)

// gather is how many nanoseconds a Read of a busy socket lets datagrams come together. The kernel adds its slack for timers, 50 us (prctl(2),
// PR_SET_TIMERSLACK). What a batch costs besides its datagrams is then shared by many, also where the machine is quick enough to read them
// one by one.
const gather = 20_000

// Socket is a UDP socket of IPv6 whose datagrams come and go in batches. One goroutine at a time may read and answer; what Later
// returned may be called by any.
type Socket struct {
	conn *net.UDPConn
	raw  syscall.RawConn

	came     int
	received func(fd uintptr) bool // read and write as the functions that RawConn wants, made once
	flushed  func(fd uintptr) bool
	errno    syscall.Errno // of received
	waited   bool          // this Read had to wait
	busy     bool          // the last one did not
	in       batch
	out      queue
}

// batch is one side of a socket, in the form of recvmmsg(2) and sendmmsg(2).
type batch struct {
	headers [Most]message
	pieces  [Most]unix.Iovec
	peers   [Most]unix.RawSockaddrInet6
	room    []byte
}

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// New returns a socket that reads and writes by c, which stays the caller's.
func New(c *net.UDPConn) (*Socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{conn: c, raw: raw}
	s.received, s.flushed = s.receive, s.send
	s.in.lay(MaxIn)
	s.out.room = make([]byte, Most*MaxOut)
	return s, nil
}

// lay points the headers of a batch at its pieces of memory.
func (b *batch) lay(size int) {
	b.room = make([]byte, Most*size)
	for i := range b.headers {
		b.pieces[i].Base = &b.room[i*size]
		b.pieces[i].SetLen(size)
		h := &b.headers[i].header
		h.Iov, h.Iovlen = &b.pieces[i], 1
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.peers[i])), unix.SizeofSockaddrInet6
	}
}

// Read waits for datagrams and returns how many came. Those of the Read before are gone. An error that is neither a deadline nor a
// closed socket is one about an answer, and the next Read may do well.
func (s *Socket) Read() (int, error) {
	for i := range s.came { // the kernel wrote their real lengths there
		s.in.headers[i].header.Namelen = unix.SizeofSockaddrInet6
	}
	s.came, s.waited = 0, false
	if err := s.raw.Read(s.received); err != nil {
		return 0, err
	}
	if s.errno != 0 {
		return 0, fmt.Errorf("read datagrams: %w", s.errno)
	}
	return s.came, nil
}

// receive is one try to read. It reports whether there is something to say. The calls here never wait (MSG_DONTWAIT), so Go's scheduler
// is not told of them, nor of the short rest of a busy socket: it would hand the processor to another thread in the middle of a long batch.
func (s *Socket) receive(fd uintptr) bool {
	if s.busy {
		rest := unix.Timespec{Nsec: gather}
		_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&rest)), 0, 0) // a signal may end it early
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&s.in.headers)), Most, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EAGAIN:
			s.waited, s.busy = true, false
			return false
		case unix.EINTR:
			continue
		case 0:
			s.came = int(n)
		}
		s.errno, s.busy = errno, !s.waited
		return true
	}
}

// Message is the datagram i of those that came, and who sent it. It is valid until the next Read; nil: it was longer than MaxIn.
func (s *Socket) Message(i int) ([]byte, netip.Addr) {
	m := &s.in.headers[i]
	from := netip.AddrFrom16(s.in.peers[i].Addr)
	if m.header.Flags&unix.MSG_TRUNC != 0 {
		return nil, from
	}
	return s.in.room[i*MaxIn:][:m.length], from
}

// Answer has b sent to who sent the datagram i, by the next Flush at the latest. b may be used again at once; it must not be longer
// than MaxOut. Answers to one client may overtake one another, as datagrams do.
func (s *Socket) Answer(i int, b []byte) {
	if s.out.count == Most {
		s.Flush()
	}
	s.out.add(&s.in.peers[i], b)
}

// Flush sends the answers that wait. One that cannot be sent is lost: who asked asks again.
func (s *Socket) Flush() {
	if s.out.count > 0 {
		s.out.lay()
		_ = s.raw.Write(s.flushed) // a socket that was closed meanwhile
		s.out.count = 0
	}
}

// send sends what is laid out. It reports whether there is nothing left to send.
func (s *Socket) send(fd uintptr) bool {
	for o := &s.out; o.sent < o.calls; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&o.headers[o.sent])), uintptr(o.calls-o.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			o.sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN: // the device takes no more
			return false
		default: // the first of them cannot be sent
			if !o.part() {
				o.sent++
			}
		}
	}
	return true
}

// Later returns a function that sends one answer to who sent the datagram i, at any time.
func (s *Socket) Later(i int) func(b []byte) {
	peer := s.in.peers[i]
	return func(b []byte) {
		if len(b) == 0 {
			return
		}
		_ = s.raw.Write(func(fd uintptr) bool { // a client that is gone
			for {
				_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT,
					uintptr(unsafe.Pointer(&peer)), unix.SizeofSockaddrInet6)
				if errno != unix.EINTR {
					return errno != unix.EAGAIN
				}
			}
		})
	}
}

// SetReadDeadline ends a Read at a time; the zero value: never.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }
