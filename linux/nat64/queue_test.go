package nat64

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/xlat"
)

// superPacket is a packet of TCP as the kernel hands it on: longer than any link takes, its checksum not done.
func superPacket(g *packets, size int, six bool) (undone, []byte) {
	l4 := make([]byte, 32+size)
	binary.BigEndian.PutUint32(l4[4:], 0xfffffff0) // it wraps
	l4[12], l4[13] = 8<<4, 0x80|0x10|8|1           // CWR, ACK, PSH, FIN
	for i := 32; i < len(l4); i++ {
		l4[i] = byte(g.Uint32())
	}
	u := undone{flags: needsChecksum, kind: kindTCP4, headers: 52, segment: 1400, start: 20, at: 16}
	p := head4(twinServers[0], twinPool, unix.IPPROTO_TCP, 64, 0, 7, 0x4000, l4)
	if six {
		u.kind, u.headers, u.start = kindTCP6, 72, 40
		p = head6(twinClients[0], xlat.WellKnown.Embed(twinServers[0]), unix.IPPROTO_TCP, 64, 0, l4)
	}
	binary.BigEndian.PutUint16(p[int(u.start)+16:], xlat.PseudoSum(p, int(u.start), unix.IPPROTO_TCP))
	return u, p
}

// whole wants a packet whose checksums and lengths are right, and returns its TCP header and data.
func whole(t *testing.T, p []byte) []byte {
	t.Helper()
	at, _ := upperOf(p)
	length := int(binary.BigEndian.Uint16(p[2:]))
	if at == 40 {
		length = 40 + int(binary.BigEndian.Uint16(p[4:]))
	} else if xlat.Sum(p[:20]) != 0xffff {
		t.Errorf("the sum of the IPv4 header is %#x", xlat.Sum(p[:20]))
	}
	check := bytes.Clone(p[at:])
	sum := uint32(xlat.Sum(check)) + uint32(xlat.PseudoSum(p, at, unix.IPPROTO_TCP))
	if sum = sum>>16 + sum&0xffff; sum != 0xffff || length != len(p) {
		t.Errorf("the sum is %#x; %d bytes, the header says %d", sum, len(p), length)
	}
	return p[at:]
}

// RFC 9293 3.4: segments of a super-packet are those that a device would have made of it.
func TestRFC9293_3_4_SegmentsOfSuperPackets(t *testing.T) {
	g := &packets{Rand: rand.New(rand.NewPCG(8, 6))}
	for _, six := range []bool{false, true} {
		for _, size := range []int{1401, 2800, 5000, 60_000} {
			u, p := superPacket(g, size, six)
			var data []byte
			n := 0
			u.segments(p, nil, func(s []byte) {
				tcp := whole(t, s)
				if seq := binary.BigEndian.Uint32(tcp[4:]); seq != 0xfffffff0+uint32(len(data)) {
					t.Errorf("segment %d begins at %#x", n, seq)
				}
				data = append(data, tcp[32:]...)
				want := byte(0x10)
				if n == 0 {
					want |= 0x80
				}
				if len(data) == size {
					want |= 8 | 1
				}
				if tcp[13] != want || len(tcp) > 32+1400 {
					t.Errorf("segment %d of %d bytes has flags %#x, want %#x", n, len(tcp), tcp[13], want)
				}
				n++
			})
			if !bytes.Equal(data, p[len(p)-size:]) || n != (size+1399)/1400 {
				t.Errorf("%d bytes in %d segments, want %d bytes", len(data), n, size)
			}
		}
	}
}

// What is left undone in a packet is right for its other family, and RFC 7915 5.1 holds for the segments that leave.
func TestRFC7915_5_1_SuperPacketsStayWhole(t *testing.T) {
	g := &packets{Rand: rand.New(rand.NewPCG(9, 6))}
	_, six := superPacket(g, 5000, true)
	u, four := superPacket(g, 5000, false)
	binary.BigEndian.PutUint16(four[20+16:], 0x1234) // whatever became of it
	from := u
	from.start, from.headers, from.kind = 40, 0, kindTCP6|kindMarked
	got := from.translated(four)
	if want := (undone{needsChecksum, kindTCP4 | kindMarked, 52, 1400, 20, 16}); got != want || four[6]&0x40 == 0 {
		t.Errorf("left undone %+v, want %+v; flags %#x", got, want, four[6])
	}
	got.segments(four, nil, func(s []byte) { whole(t, s) })
	from.segment = 500
	if from.translated(four); four[6]&0x40 != 0 || xlat.Sum(four[:20]) != 0xffff {
		t.Errorf("segments of 552 bytes may not be cut: %#x", four[6])
	}
	binary.BigEndian.PutUint16(six[40+16:], 0x1234)
	if got, want := u.translated(six), (undone{needsChecksum, kindTCP6, 72, 1400, 40, 16}); got != want {
		t.Errorf("left undone %+v, want %+v", got, want)
	}
	got.segments(six, nil, func([]byte) {})
	if !u.plain(four) || u.plain(six) || (undone{flags: needsChecksum, start: 20, at: 16}).plain(four[:30]) {
		t.Error("plain packets are not told from others")
	}
	whole(t, func() []byte { u.settle(four); return four }())
}
