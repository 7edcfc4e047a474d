package ndp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
)

// maxPacket is the most that is read of a packet. Neighbour discovery is never fragmented (RFC 6980), and 3 kB of options are
// more than any router has to say.
const maxPacket = 3000

// receiveBuffer bounds what waits to be read: a flood is lost here and costs no memory.
const receiveBuffer = 256 << 10

// conn reads and writes neighbour discovery on one link. It is a packet socket: an ICMPv6 socket would not see solicitations that
// are sent to the address of an endpoint, for the kernel forwards them (with a hop limit that makes the endpoint ignore them),
// and could not answer from that address.
type conn struct {
	file  *os.File
	raw   syscall.RawConn
	index int
	buf   []byte
	oob   []byte
}

// dial opens a conn on a link of ns that receives messages of the given types; ns nil is the namespace of the process.
func dial(ns *netns.NS, l rtnl.Link, types []byte) (*conn, error) {
	c := &conn{index: l.Index, buf: make([]byte, maxPacket), oob: make([]byte, 128)}
	err := inside(ns, func() (err error) {
		c.file, err = packetSocket(l.Index, types)
		return err
	})
	if err == nil {
		c.raw, err = c.file.SyscallConn()
	}
	if err != nil {
		return nil, fmt.Errorf("listen for neighbour discovery on link %s (CAP_NET_RAW is needed): %w", l.Name, err)
	}
	return c, nil
}

// inside runs f in ns; nil is the namespace of the process.
func inside(ns *netns.NS, f func() error) error {
	if ns == nil {
		return f()
	}
	return ns.Do(f)
}

// packetSocket binds as the last step: nothing passes before the filter is in its place.
func packetSocket(index int, types []byte) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		attach(fd, types),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ethIPv6, Ifindex: index}),
	)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "neighbour discovery"), nil
}

// ethIPv6 is ETH_P_IPV6 in network byte order.
var ethIPv6 = binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IPV6))

// Close ends a waiting receive with os.ErrClosed.
func (c *conn) Close() error { return c.file.Close() }

// until makes receive return os.ErrDeadlineExceeded at t, also one that waits already; the zero time is never.
func (c *conn) until(t time.Time) error { return c.file.SetReadDeadline(t) }

// receive waits for the next packet for this host. Invalid ones are an *invalidError. A link that goes down is no error: the
// socket works again when the link does.
func (c *conn) receive() (Packet, error) { return c.next(c.read) }

// waiting returns the next packet that has come already; unix.EAGAIN when there is none.
func (c *conn) waiting() (Packet, error) { return c.next(c.look) }

// next is the next valid packet that read finds.
func (c *conn) next(read func() (int, []byte, unix.Sockaddr, error)) (Packet, error) {
	for {
		n, oob, from, err := read()
		switch {
		case errors.Is(err, unix.ENETDOWN):
			continue
		case err != nil:
			return Packet{}, err
		}
		source, ok := from.(*unix.SockaddrLinklayer)
		if !ok || source.Halen != 6 || source.Pkttype == unix.PACKET_OTHERHOST || source.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		p, err := Parse(c.buf[:n], checksumIsDue(oob))
		if err != nil {
			return Packet{}, &invalidError{err}
		}
		p.SrcMAC = MAC(source.Addr[:6])
		return p, nil
	}
}

func (c *conn) read() (n int, oob []byte, from unix.Sockaddr, err error) {
	waited := c.raw.Read(func(fd uintptr) bool {
		n, oob, from, err = c.recvmsg(fd)
		return !errors.Is(err, unix.EAGAIN)
	})
	if waited != nil {
		err = waited
	}
	return n, oob, from, err
}

// look is read without waiting, also when the deadline of a wait has passed.
func (c *conn) look() (n int, oob []byte, from unix.Sockaddr, err error) {
	if failed := c.raw.Control(func(fd uintptr) { n, oob, from, err = c.recvmsg(fd) }); failed != nil {
		err = failed
	}
	return n, oob, from, err
}

func (c *conn) recvmsg(fd uintptr) (n int, oob []byte, from unix.Sockaddr, err error) {
	n, size, _, from, err := unix.Recvmsg(int(fd), c.buf, c.oob, unix.MSG_DONTWAIT)
	return n, c.oob[:max(size, 0)], from, err
}

// checksumIsDue reports whether the packet comes from this machine and its checksum was left to a network card (packet(7)).
func checksumIsDue(oob []byte) bool {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 4 {
			return binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_CSUMNOTREADY != 0
		}
	}
	return false
}

// send sends one packet to its DstMAC. It never waits: what a full queue refuses is lost, as it could be on the wire.
func (c *conn) send(p Packet) error {
	to := &unix.SockaddrLinklayer{Protocol: ethIPv6, Ifindex: c.index, Halen: 6}
	copy(to.Addr[:], p.DstMAC[:])
	var err error
	if failed := c.raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), p.Bytes(), unix.MSG_DONTWAIT, to) }); failed != nil {
		return failed
	}
	return err
}

// invalidError is a packet that was thrown away.
type invalidError struct{ why error }

func (e *invalidError) Error() string { return "packet ignored: " + e.why.Error() }
func (e *invalidError) Unwrap() error { return e.why }
