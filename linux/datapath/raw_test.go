package datapath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// wire is a raw socket on one link, for tests that send what no kernel would.
type wire struct {
	fd, index int
	magic     []byte
	seen      atomic.Int64 // frames with the magic that arrived or left
	done      chan struct{}
}

// newWire opens a link of a namespace. It counts frames that carry the magic until the test ends.
func newWire(t testing.TB, ns *netns.NS, link, magic string) *wire {
	t.Helper()
	w := &wire{magic: []byte(magic), done: make(chan struct{})}
	err := ns.Do(func() (err error) {
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})))
		return err
	})
	must(t, err)
	conn, err := rtnl.Dial(ns)
	must(t, err)
	defer conn.Close()
	l, ok, err := conn.Link(link)
	if err != nil || !ok {
		t.Fatalf("link %s: %v", link, err)
	}
	w.index = l.Index
	must(t, unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}), Ifindex: l.Index}))
	must(t, unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	_ = unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	stop := make(chan struct{})
	go w.count(stop)
	t.Cleanup(func() {
		close(stop)
		<-w.done
		unix.Close(w.fd)
	})
	return w
}

func (w *wire) count(stop <-chan struct{}) {
	defer close(w.done)
	buf := make([]byte, 65536)
	for {
		select {
		case <-stop:
			return
		default:
		}
		n, from, err := unix.Recvfrom(w.fd, buf, 0)
		if err != nil {
			continue // nothing for a while
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if bytes.Contains(buf[:n], w.magic) {
			w.seen.Add(1)
		}
	}
}

func (w *wire) send(t testing.TB, frame []byte) {
	t.Helper()
	for {
		err := unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.index})
		if err == unix.ENOBUFS || err == unix.EAGAIN {
			continue
		}
		must(t, err)
		return
	}
}

// ether puts an Ethernet header in front of an IPv6 packet.
func ether(dst, src desired.MAC, packet []byte) []byte {
	return append(append(append(append([]byte{}, dst[:]...), src[:]...), 0x86, 0xdd), packet...)
}

// ipv6 is a packet whose first header after the fixed one is next.
func ipv6(src, dst netip.Addr, next, hops byte, body []byte) []byte {
	b := make([]byte, 40, 40+len(body))
	b[0], b[6], b[7] = 0x60, next, hops
	put16(b[4:], uint16(len(body)))
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return append(b, body...)
}

func udp(srcPort, dstPort uint16, data string) []byte {
	b := make([]byte, 8, 8+len(data))
	put16(b, srcPort)
	put16(b[2:], dstPort)
	put16(b[4:], uint16(8+len(data)))
	return append(b, data...)
}

func tcp(srcPort, dstPort uint16, flags byte) []byte {
	b := make([]byte, 20)
	put16(b, srcPort)
	put16(b[2:], dstPort)
	b[12], b[13] = 5<<4, flags
	return b
}

// icmp is a message with rest behind type, code and checksum, which is right.
func icmp(src, dst netip.Addr, kind byte, rest []byte) []byte {
	b := append([]byte{kind, 0, 0, 0}, rest...)
	s, d := src.As16(), dst.As16()
	sum := uint32(len(b)) + 58
	for _, part := range [][]byte{s[:], d[:], b} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(part[i]) << 8
			if i+1 < len(part) {
				sum += uint32(part[i+1])
			}
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	put16(b[2:], ^uint16(sum))
	return b
}

func fragmentOf(next byte, offset uint16, more bool, id byte, data []byte) []byte {
	b := []byte{next, 0, 0, 0, 0, 0, 0, id}
	put16(b[2:], offset)
	if more {
		b[3] |= 1
	}
	return append(b, data...)
}
