package work

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// datagrams is how many packets go in one system call, and how many are on their way: the server on the same CPU must come to read, or
// packets are lost that have cost their way.
const datagrams = 64

// message is struct mmsghdr (recvmmsg(2)).
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// payload is how many bytes of data a datagram has.
const payload = 64

// messages are as many that each hold size bytes.
func (w *worker) messages(size int) *[datagrams]message {
	var all [datagrams]message
	for i := range all {
		piece := &unix.Iovec{Base: &w.buf[i*size]}
		piece.SetLen(size)
		all[i].header.Iov, all[i].header.Iovlen = piece, 1
	}
	return &all
}

// batch calls sendmmsg or recvmmsg and returns how many it moved.
func batch(call uintptr, fd int, all *[datagrams]message, flags uintptr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(all)), datagrams, flags, 0, 0)
	return int(n), errno
}

// blast sends datagrams as frames: a packet socket costs far less than a UDP socket, on some machines a tenth, and what is compared
// is the way behind both.
func (w *worker) blast() error {
	udp, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(udp, &w.to); err != nil {
		return err
	}
	frame, link, err := w.frame(udp)
	if err != nil {
		return err
	}
	raw, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // protocol 0: it hears nothing
	if err != nil {
		return err
	}
	if err := unix.Bind(raw, &unix.SockaddrLinklayer{Ifindex: link}); err != nil {
		return err
	}
	all := w.messages(len(frame))
	for i := range datagrams {
		copy(w.buf[i*len(frame):], frame)
	}
	word := make([]byte, 1)
	for {
		w.idle()
		if n, errno := batch(unix.SYS_SENDMMSG, raw, all, 0); n != datagrams {
			return fmt.Errorf("%d of %d packets sent: %w", n, datagrams, errno)
		}
		w.page.wake()
		if _, errno := recv(udp, word); errno != 0 {
			return errno
		}
	}
}

// frame sends one datagram and returns how it left, its checksum complete, and by which link. The server counts it as the first of all, so
// it is not to be sent alone again: what is missing to a whole round goes with it.
func (w *worker) frame(udp int) ([]byte, int, error) {
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)) // IPv6 alone would not show what leaves
	tap, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(tap)
	for range datagrams {
		if _, errno := send(udp, w.buf[:payload]); errno != 0 {
			return nil, 0, errno
		}
	}
	w.page.wake()
	for b := make([]byte, 2048); ; {
		n, from, err := unix.Recvfrom(tap, b, 0)
		if err != nil {
			return nil, 0, err
		}
		at, ok := from.(*unix.SockaddrLinklayer)
		if f := b[:n]; ok && at.Pkttype == unix.PACKET_OUTGOING && n == 14+40+8+payload && f[20] == unix.IPPROTO_UDP && [16]byte(f[38:54]) == w.to.Addr {
			if _, errno := recv(udp, w.buf[:1]); errno != 0 { // the word for the next round
				return nil, 0, errno
			}
			sum(f[14:])
			return f, at.Ifindex, nil
		}
	}
}

// sum writes the checksum of a UDP packet (RFC 8200 8.1): when the kernel shows a packet, its device has that still to do.
func sum(packet []byte) {
	udp := packet[40:]
	udp[6], udp[7] = 0, 0
	total := uint32(len(udp)) + unix.IPPROTO_UDP
	for b := packet[8:]; len(b) > 1; b = b[2:] { // both addresses, then UDP
		total += uint32(b[0])<<8 | uint32(b[1])
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], ^uint16(total))
}

func (w *worker) sink() error {
	fd, err := w.listen(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	_, from, err := unix.Recvfrom(fd, w.buf[:payload], unix.MSG_PEEK)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, from); err != nil {
		return err
	}
	all := w.messages(payload)
	for round := uint32(0); ; round++ {
		w.page.sleep(round)
		for came := 0; came < datagrams; {
			n, errno := batch(unix.SYS_RECVMMSG, fd, all, unix.MSG_WAITFORONE)
			if errno != 0 {
				return errno
			}
			w.page.done.Add(uint64(n))
			came += n
		}
		if _, errno := send(fd, w.buf[:1]); errno != 0 { // the word for the next
			return errno
		}
	}
}

// Operations of futex(2) on memory that processes share.
const (
	futexWait = 0
	futexWake = 1
)

// wake tells the server that a round has been sent.
func (p *page) wake() {
	p.sent.Add(1)
	unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&p.sent)), futexWake, 1, 0, 0, 0)
}

// sleep waits until more rounds have been sent than that many. A server that slept on its socket would be woken by every packet, in the
// middle of sending on kernels that preempt: two changes of process for each, which cost as much as the way itself.
func (p *page) sleep(rounds uint32) {
	for p.sent.Load() == rounds {
		unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&p.sent)), futexWait, uintptr(rounds), 0, 0, 0)
	}
}
