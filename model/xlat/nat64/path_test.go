package nat64

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"hexapod.dev/model/xlat"
)

// The tests of this file send whole packets through a Translator over a Table. Checksums are proved in model/xlat.

func path(b *bed) *xlat.Translator {
	return &xlat.Translator{Mapper: b.Table, Self4: pool[0], Self6: netip.MustParseAddr("2001:db8:a::1"), ID: func() uint16 { return 1 }}
}

func packet6(src, dst netip.Addr, protocol byte, l4 []byte) []byte {
	b := make([]byte, 40, 40+len(l4))
	b[0], b[6], b[7] = 0x60, protocol, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(l4)))
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return append(b, l4...)
}

func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i]) << 8
		if i+1 < len(b) {
			s += uint32(b[i+1])
		}
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func packet4(src, dst netip.Addr, protocol byte, l4 []byte) []byte {
	b := make([]byte, 20, 20+len(l4))
	b[0], b[8], b[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(l4)))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], ^sum(b))
	return append(b, l4...)
}

func datagram(src, dst uint16, data string) []byte {
	b := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(data)))
	b[6] = 1 // some checksum
	return append(b, data...)
}

// message is an ICMPv4 message with its checksum.
func message(kind, code byte, rest uint32, quoted []byte) []byte {
	b := append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, quoted...)
	binary.BigEndian.PutUint32(b[4:], rest)
	binary.BigEndian.PutUint16(b[2:], ^sum(b))
	return b
}

// message6 is an ICMPv6 message with its checksum.
func message6(src, dst netip.Addr, kind, code byte, rest uint32, quoted []byte) []byte {
	b := append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, quoted...)
	binary.BigEndian.PutUint32(b[4:], rest)
	head := append(append(src.AsSlice(), dst.AsSlice()...), 0, 0, byte(len(b)>>8), byte(len(b)), 0, 0, 0, 58)
	binary.BigEndian.PutUint16(b[2:], ^sum(append(head, b...)))
	return b
}

func through(t *testing.T, f func(*xlat.Packets, []byte) xlat.Why, in []byte) []byte {
	t.Helper()
	out := new(xlat.Packets)
	if why := f(out, in); why != xlat.Translated || out.Len() != 1 {
		t.Fatalf("%s, %d packets", why, out.Len())
	}
	return bytes.Clone(out.At(0))
}

// I6: errors about a packet of an endpoint reach it with its own address and port inside, from whatever router they come.
func TestRFC6146_3_5_ErrorsComeBack(t *testing.T) {
	b := newBed(1, 10)
	tr := path(b)
	sent := packet6(endpoint, six(server), udp, datagram(5000, 53, "question"))
	gone := through(t, tr.To4, sent)
	router := netip.MustParseAddr("203.0.114.1")
	back := through(t, tr.To6, packet4(router, netip.AddrFrom4([4]byte(gone[12:16])), icmp, message(3, 4, 1400, gone)))
	if src, dst := netip.AddrFrom16([16]byte(back[8:24])), netip.AddrFrom16([16]byte(back[24:40])); src != six(router) || dst != endpoint {
		t.Errorf("the error goes from %s to %s", src, dst)
	}
	if back[40] != 2 || binary.BigEndian.Uint32(back[44:]) != 1420 {
		t.Errorf("type %d, MTU %d; want packet too big, 1420", back[40], binary.BigEndian.Uint32(back[44:]))
	}
	sent[7]-- // the hop limit it left with
	if quoted := back[48:]; !bytes.Equal(quoted, sent) {
		t.Errorf("quoted % x, sent % x", quoted, sent)
	}
	// An error refreshes nothing (RFC 5508 REQ-5).
	b.Advance(299)
	through(t, tr.To6, packet4(router, netip.AddrFrom4([4]byte(gone[12:16])), icmp, message(11, 0, 0, gone)))
	b.Advance(300)
	out := new(xlat.Packets)
	if why := tr.To6(out, packet4(router, netip.AddrFrom4([4]byte(gone[12:16])), icmp, message(11, 0, 0, gone))); why != xlat.NoMapping {
		t.Errorf("after its life: %s", why)
	}
}

// An endpoint's own error goes out from its binding's address, that of a router before it from the gateway's.
func TestRFC6146_3_5_ErrorsGoOut(t *testing.T) {
	b := newBed(1, 10)
	tr := path(b)
	gone := through(t, tr.To4, packet6(endpoint, six(server), udp, datagram(5000, 53, "question")))
	at, port := netip.AddrFrom4([4]byte(gone[12:16])), binary.BigEndian.Uint16(gone[20:])
	answer := packet4(server, at, udp, datagram(53, port, "answer"))
	arrived := through(t, tr.To6, answer)
	for src, want := range map[netip.Addr]netip.Addr{endpoint: at, netip.MustParseAddr("2001:db8:b::1"): pool[0]} {
		back := through(t, tr.To4, packet6(src, six(server), 58, message6(src, six(server), 1, 4, 0, arrived)))
		if got := netip.AddrFrom4([4]byte(back[12:16])); got != want {
			t.Errorf("the error of %s comes from %s, want %s", src, got, want)
		}
		quoted := back[28:]
		if !bytes.Equal(quoted[12:20], answer[12:20]) || !bytes.Equal(quoted[20:], answer[20:]) {
			t.Errorf("quoted % x, the server sent % x", quoted, answer)
		}
	}
}

// An error that quotes one endpoint's packet and goes to another's binding is somebody's forgery.
func TestForgedErrorIsDropped(t *testing.T) {
	b := newBed(1, 10)
	tr := path(b)
	gone := through(t, tr.To4, packet6(endpoint, six(server), udp, datagram(5000, 53, "q")))
	elsewhere := pool[0]
	if netip.AddrFrom4([4]byte(gone[12:16])) == elsewhere {
		elsewhere = pool[1]
	}
	out := new(xlat.Packets)
	if why := tr.To6(out, packet4(server, elsewhere, icmp, message(3, 1, 0, gone))); why != xlat.NoMapping {
		t.Errorf("%s", why)
	}
}

// S10: two endpoints behind the same gateway reach each other by the pool's addresses, and see those (RFC 6146 3.8).
func TestRFC6146_3_8_Hairpin(t *testing.T) {
	b := newBed(1, 10)
	tr := path(b)
	listens := through(t, tr.To4, packet6(other, six(server), udp, datagram(6000, 53, "")))
	at, port := netip.AddrFrom4([4]byte(listens[12:16])), binary.BigEndian.Uint16(listens[20:])
	there := through(t, tr.To4, packet6(endpoint, six(at), udp, datagram(5000, port, "hello")))
	arrived := through(t, tr.To6, there)
	if dst := netip.AddrFrom16([16]byte(arrived[24:40])); dst != other || binary.BigEndian.Uint16(arrived[42:]) != 6000 {
		t.Fatalf("it arrives at %s port %d", dst, binary.BigEndian.Uint16(arrived[42:]))
	}
	if src := netip.AddrFrom16([16]byte(arrived[8:24])); src != six(netip.AddrFrom4([4]byte(there[12:16]))) {
		t.Errorf("it comes from %s", src)
	}
}

// S8: an echo and its reply keep one identifier on each side.
func TestRFC6146_3_5_3_Echo(t *testing.T) {
	b := newBed(1, 10)
	tr := path(b)
	ping := packet6(endpoint, six(server), 58, message6(endpoint, six(server), 128, 0, 77<<16|3, []byte("data")))
	gone := through(t, tr.To4, ping)
	reply := packet4(server, netip.AddrFrom4([4]byte(gone[12:16])), icmp, message(0, 0, uint32(binary.BigEndian.Uint16(gone[24:]))<<16|3, []byte("data")))
	back := through(t, tr.To6, reply)
	if id := binary.BigEndian.Uint16(back[44:]); id != 77 || back[40] != 129 || netip.AddrFrom16([16]byte(back[24:40])) != endpoint {
		t.Errorf("type %d, identifier %d to %s", back[40], id, netip.AddrFrom16([16]byte(back[24:40])))
	}
}

// S12: who is at its quota hears "administratively prohibited" (RFC 6888 REQ-4).
func TestRefusedIsTold(t *testing.T) {
	b := newBed(1, 0)
	out := new(xlat.Packets)
	if why := path(b).To4(out, packet6(endpoint, six(server), udp, datagram(1, 2, "x"))); why != xlat.Refused || !out.Answer {
		t.Fatalf("%s, answer %v", why, out.Answer)
	}
	if got := out.At(0); got[40] != 1 || got[41] != 1 || netip.AddrFrom16([16]byte(got[24:40])) != endpoint {
		t.Errorf("% x", got)
	}
}

func BenchmarkTable(b *testing.B) {
	bed := newBed(1, 1000)
	q := xlat.Query{Protocol: udp, Ends: xlat.Ends{Src: endpoint, Dst: six(server), SrcPort: 5000, DstPort: 53}}
	b.ReportAllocs()
	for b.Loop() {
		if _, why := bed.To4(q); why != xlat.Translated {
			b.Fatal(why)
		}
	}
}
