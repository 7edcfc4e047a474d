package xlat

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// I1: every type, code and pointer of ICMPv4 against RFC 7915 4.2, written down a second time as a list.
func TestRFC7915_4_2_EveryICMPv4Message(t *testing.T) {
	tr := translator(t)
	quoted := ip4(four, server4, protoTCP, tcp(1, 2, ""))
	quoted6 := raw6(six, server6, 64, protoTCP, sealed(six, server6, protoTCP, tcp(1, 2, "")))
	type key struct{ kind, code, pointer int }
	type value struct {
		kind, code byte
		rest       uint32
	}
	want := map[key]value{}
	for _, code := range []int{0, 1, 5, 6, 7, 8, 11, 12} {
		want[key{3, code, -1}] = value{1, 0, 0}
	}
	for _, code := range []int{9, 10, 13, 15} {
		want[key{3, code, -1}] = value{1, 1, 0}
	}
	want[key{3, 2, -1}], want[key{3, 3, -1}] = value{4, 1, 6}, value{1, 4, 0}
	want[key{11, 0, -1}], want[key{11, 1, -1}] = value{3, 0, 0}, value{3, 1, 0}
	pointers := map[int]uint32{0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6}
	for p := 12; p < 20; p++ {
		pointers[p] = []uint32{8, 24}[(p-12)/4]
	}
	for p, six := range pointers {
		want[key{12, 0, p}], want[key{12, 2, p}] = value{4, 0, six}, value{4, 0, six}
	}
	seen := 0
	for kind := range 256 {
		if kind == echoRequest4 || kind == echoReply4 {
			continue
		}
		for code := range 256 {
			for pointer := range 256 {
				k := key{kind, code, -1}
				if kind == 12 {
					k.pointer = pointer
				} else if pointer > 0 {
					break
				}
				rest := uint32(pointer) << 24
				mtu := kind == 3 && code == 4
				if mtu {
					rest = 1400
					want[k] = value{2, 0, 1420}
				}
				out := &scratch
				why := tr.To6(out, ip4(server4, four, protoICMP, icmp(byte(kind), byte(code), rest, quoted)))
				w, ok := want[k]
				if ok != (why == Translated) {
					t.Fatalf("type %d code %d pointer %d: %s", kind, code, pointer, why)
				}
				if !ok {
					if out.Len() > 0 {
						t.Fatalf("type %d code %d: a packet came out", kind, code)
					}
					continue
				}
				seen++
				if got := out.At(0)[40:]; verify(out.At(0)) != nil || got[0] != w.kind || got[1] != w.code || binary.BigEndian.Uint32(got[4:]) != w.rest || !bytes.Equal(got[8:], quoted6) {
					t.Fatalf("type %d code %d pointer %d: % x, want %v and % x", kind, code, pointer, got, w, quoted6)
				}
			}
		}
	}
	if seen != len(want) {
		t.Errorf("%d messages translated, the table has %d", seen, len(want))
	}
}

// I1: the same for ICMPv6 against RFC 7915 5.2.
func TestRFC7915_5_2_EveryICMPv6Message(t *testing.T) {
	tr := translator(t)
	quoted := ip6(server6, six, protoTCP, tcp(1, 2, ""))
	quoted4 := raw4(head4{ttl: 64, id: 0x1234}, server4, four, protoTCP, sealed(server4, four, protoTCP, tcp(1, 2, "")))
	type key struct{ kind, code, pointer int }
	type value struct {
		kind, code byte
		rest       uint32
	}
	want := map[key]value{
		{1, 0, -1}: {3, 1, 0}, {1, 1, -1}: {3, 10, 0}, {1, 2, -1}: {3, 1, 0}, {1, 3, -1}: {3, 1, 0}, {1, 4, -1}: {3, 3, 0},
		{2, 0, -1}: {3, 4, 1380}, {3, 0, -1}: {11, 0, 0}, {3, 1, -1}: {11, 1, 0},
	}
	pointers := map[int]uint32{0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8}
	for p := 8; p < 40; p++ {
		pointers[p] = 12
		if p >= 24 {
			pointers[p] = 16
		}
	}
	for p, four := range pointers {
		want[key{4, 0, p}] = value{12, 0, four << 24}
	}
	for p := range 256 {
		want[key{4, 1, p}] = value{3, 2, 0}
	}
	seen := 0
	for kind := range 256 {
		if kind == echoRequest6 || kind == echoReply6 {
			continue
		}
		for code := range 256 {
			for pointer := range 256 {
				k := key{kind, code, -1}
				if kind == 4 {
					k.pointer = pointer
				} else if pointer > 0 {
					break
				}
				rest := uint32(pointer)
				if kind == 2 {
					rest = 1400
				}
				out := &scratch
				why := tr.To4(out, ip6(six, server6, protoICMPv6, icmp(byte(kind), byte(code), rest, quoted)))
				w, ok := want[k]
				if ok != (why == Translated) {
					t.Fatalf("type %d code %d pointer %d: %s", kind, code, pointer, why)
				}
				if !ok {
					if out.Len() > 0 {
						t.Fatalf("type %d code %d: a packet came out", kind, code)
					}
					continue
				}
				seen++
				if got := out.At(0)[20:]; verify(out.At(0)) != nil || got[0] != w.kind || got[1] != w.code || binary.BigEndian.Uint32(got[4:]) != w.rest || !bytes.Equal(got[8:], quoted4) {
					t.Fatalf("type %d code %d pointer %d: % x, want %v and % x", kind, code, pointer, got, w, quoted4)
				}
			}
		}
	}
	if seen != len(want) {
		t.Errorf("%d messages translated, the table has %d", seen, len(want))
	}
}

// RFC 7915 4.2, 5.2: MTUs, with the plateaus of RFC 1191 where a router tells none.
func TestRFC7915_MTU(t *testing.T) {
	for _, c := range []struct {
		mtu4, mtu6, m, total, want int
	}{
		{0, 0, 1400, 1500, 1420}, {0, 0, 1500, 1500, 1520}, {0, 1500, 1500, 1500, 1500}, {1480, 9000, 8000, 9000, 1500}, {0, 0, 576, 1500, 1280}, {0, 0, 68, 1500, 1280},
		{0, 0, 0, 1500, 1512}, {0, 0, 0, 1492, 1280}, {0, 0, 0, 4352, 2022}, {0, 0, 0, 65535, 32020}, {0, 0, 0, 68, 1280},
	} {
		tr := Translator{MTU4: c.mtu4, MTU6: c.mtu6}
		if got := tr.mtu6(c.m, c.total); got != c.want {
			t.Errorf("links %d, %d: %d about %d bytes becomes %d, want %d", c.mtu4, c.mtu6, c.m, c.total, got, c.want)
		}
	}
	for _, c := range []struct{ mtu4, mtu6, m, want int }{
		{0, 0, 1500, 1480}, {1400, 0, 1500, 1400}, {0, 1300, 1500, 1280}, {0, 0, 1280, 1260}, {0, 0, 0, 68}, {0, 0, 1 << 20, 65535},
	} {
		tr := Translator{MTU4: c.mtu4, MTU6: c.mtu6}
		if got := tr.mtu4(c.m); got != c.want {
			t.Errorf("links %d, %d: %d becomes %d, want %d", c.mtu4, c.mtu6, c.m, got, c.want)
		}
	}
}

// I2: errors are cut to what their family guarantees, quoted hop limits stay, lengths are those of the whole quoted packet.
func TestRFC7915_QuotedPacketIsCut(t *testing.T) {
	tr := translator(t)
	big := ip6(server6, six, protoTCP, tcp(1, 2, string(make([]byte, 2000))))
	got := one(t, tr.To4, ip6(six, server6, protoICMPv6, icmp(1, 0, 0, big[:1232])))
	if len(got) != maxError4 || got[28+8] != 64 || binary.BigEndian.Uint16(got[28+2:]) != 2040 {
		t.Errorf("%d bytes, quoted TTL %d and length %d; want 576, 64, 2040", len(got), got[28+8], binary.BigEndian.Uint16(got[28+2:]))
	}
	big = ip4(four, server4, protoTCP, tcp(1, 2, string(make([]byte, 2000))))
	got = one(t, tr.To6, ip4(server4, four, protoICMP, icmp(3, 1, 0, big)))
	if len(got) != maxError6 || got[48+7] != 64 || binary.BigEndian.Uint16(got[48+4:]) != 2020 {
		t.Errorf("%d bytes, quoted hop limit %d and length %d; want 1280, 64, 2020", len(got), got[48+7], binary.BigEndian.Uint16(got[48+4:]))
	}
	short := ip4(four, server4, protoTCP, tcp(1, 2, ""))
	got = one(t, tr.To6, ip4(server4, four, protoICMP, icmp(11, 0, 0, short[:28])))
	if want := ip6(six, server6, protoTCP, tcp(1, 2, ""))[:48]; !bytes.Equal(got[48:], want) {
		t.Errorf("8 bytes quoted: % x, want % x", got[48:], want)
	}
}

// I3: an extension stays behind the quoted packet, and the length counts it in the units of the other family (RFC 4884 4, 5).
func TestRFC4884_Extensions(t *testing.T) {
	tr := translator(t)
	extension := []byte{0x20, 0, 0xca, 0xfe, 0, 8, 1, 1, 1, 2, 3, 4}
	pad := func(b []byte, n int) []byte { return append(bytes.Clone(b), make([]byte, n-len(b))...) }
	for _, c := range []struct{ quoted, units6, units4 int }{{60, 16, 32}, {128, 16, 32}, {160, 20, 35}, {200, 25, 45}, {1000, 125, 134}} {
		data := string(make([]byte, max(0, c.quoted-60)))
		in6 := ip6(server6, six, protoTCP, tcp(1, 2, data))
		body := append(pad(in6, c.units6*8), extension...)
		got := one(t, tr.To4, ip6(six, server6, protoICMPv6, icmp(1, 0, uint32(c.units6)<<24, body)))
		if int(got[25]) != c.units4 || !bytes.Equal(got[28+4*c.units4:], extension) || len(got) > maxError4 {
			t.Errorf("%d bytes quoted, to IPv4: length %d, behind it % x; want %d", c.quoted, got[25], got[28+4*min(int(got[25]), (len(got)-28)/4):], c.units4)
		}
	}
	for _, c := range []struct{ quoted, units4, units6 int }{{40, 32, 16}, {128, 32, 19}, {160, 40, 23}, {512, 128, 67}} {
		data := string(make([]byte, max(0, c.quoted-40)))
		in4 := ip4(four, server4, protoTCP, tcp(1, 2, data))
		body := append(pad(in4, c.units4*4), extension...)
		got := one(t, tr.To6, ip4(server4, four, protoICMP, icmp(3, 1, uint32(c.units4)<<16, body)))
		if int(got[44]) != c.units6 || !bytes.Equal(got[48+8*c.units6:], extension) {
			t.Errorf("%d bytes quoted, to IPv6: length %d, behind it % x; want %d", c.quoted, got[44], got[48+8*min(int(got[44]), (len(got)-48)/8):], c.units6)
		}
	}
	// "Packet too big" has no length: an extension is left out.
	in4 := pad(ip4(four, server4, protoTCP, tcp(1, 2, "")), 128)
	got := one(t, tr.To6, ip4(server4, four, protoICMP, icmp(3, 4, 32<<16|1400, append(in4, extension...))))
	if bytes.Contains(got, extension) {
		t.Errorf("packet too big with an extension: % x", got)
	}
}

// I4: an error from a router that has no IPv4 address comes from the translator's stand-in (RFC 7915 6, RFC 6791).
func TestRFC6791_RouterWithoutIPv4Address(t *testing.T) {
	router := self6.Next() // outside the EAM's /120
	got := one(t, translator(t).To4, ip6(router, server6, protoICMPv6, icmp(3, 0, 0, ip6(server6, six, protoUDP, udp(1, 2, "x")))))
	if want := []byte{192, 0, 0, 8}; !bytes.Equal(got[12:16], want) {
		t.Errorf("the source is % d, want % d", got[12:16], want)
	}
}
