package datapath

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
)

// arrivals is a raw socket that sees what comes to a namespace.
type arrivals struct{ fd int }

func watchArrivals(t *testing.T, ns *netns.NS) arrivals {
	t.Helper()
	var a arrivals
	must(t, ns.Do(func() (err error) {
		a.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16([]byte{0x86, 0xdd})))
		return err
	}))
	t.Cleanup(func() { unix.Close(a.fd) })
	must(t, unix.SetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
	return a
}

// sums looks at the checksums of TCP and UDP from an address: each is right, or the sum of the pseudo-header, to which whoever sends it over a
// wire adds the rest. A receiver on this machine looks at neither.
func (a arrivals) sums(t *testing.T, from netip.Addr) {
	t.Helper()
	looked := 0
	for b := make([]byte, 1<<17); ; {
		n, at, err := unix.Recvfrom(a.fd, b, unix.MSG_DONTWAIT)
		if err != nil {
			break
		}
		p := b[:n]
		if l, ok := at.(*unix.SockaddrLinklayer); !ok || l.Pkttype == unix.PACKET_OUTGOING || n < 60 || netip.AddrFrom16([16]byte(p[8:24])) != from {
			continue
		}
		check, ok := map[byte]int{6: 16, 17: 6}[p[6]]
		if !ok {
			continue // a fragment: its sum is that of all of them
		}
		l4 := p[40:]
		header := add(uint32(len(l4))+uint32(p[6]), p[8:40])
		whole := add(uint32(header), l4)
		if have := binary.BigEndian.Uint16(l4[check:]); have != header && whole != 0xffff {
			t.Errorf("a packet of %d bytes has the checksum %04x, of the pseudo-header it is %04x", n, have, header)
		}
		looked++
	}
	if looked == 0 {
		t.Errorf("no packet of %s was seen", from)
	}
}

// add adds words as checksums do (RFC 1071).
func add(sum uint32, b []byte) uint16 {
	sum = sum&0xffff + sum>>16
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word |= uint32(b[i+1])
		}
		if sum += word; sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}
