package xlat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

var (
	six     = netip.MustParseAddr("2001:db8:1::5") // 198.51.100.5 by EAM
	four    = netip.MustParseAddr("198.51.100.5")
	server4 = netip.MustParseAddr("8.8.8.8")
	server6 = WellKnown.Embed(server4)
	self4   = netip.MustParseAddr("198.51.100.254")
	self6   = netip.MustParseAddr("2001:db8:1::ff")
)

func translator(t testing.TB) *Translator {
	t.Helper()
	s := &Stateless{Prefixes: []Pref64{WellKnown}, Router4: netip.MustParseAddr("192.0.0.8")}
	if err := s.EAM.Add(netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:1::/120")); err != nil {
		t.Fatal(err)
	}
	return &Translator{Mapper: s, Self4: self4, Self6: self6, ID: func() uint16 { return 0x1234 }}
}

// scratch is what one translates into: no test here runs beside another, and the buffer is large.
var scratch Packets

// one translates a packet that becomes one packet, and checks that one.
func one(t *testing.T, translate func(*Packets, []byte) Why, in []byte) []byte {
	t.Helper()
	out := &scratch
	if why := translate(out, in); why != Translated || out.Len() != 1 || out.Answer {
		t.Fatalf("%s, %d packets, answer %v; want one translated", why, out.Len(), out.Answer)
	}
	if err := verify(out.At(0)); err != nil {
		t.Fatalf("% x: %v", out.At(0), err)
	}
	return bytes.Clone(out.At(0))
}

// H1, H2, H9: plain packets of every transport both ways; the bytes are built anew, not read from the result.
func TestRFC7915_Plain(t *testing.T) {
	tr := translator(t)
	unknown := []byte("whatever it is") // H3
	for name, c := range map[string]struct {
		p6, p4   byte
		six, two []byte
	}{
		"TCP":            {protoTCP, protoTCP, tcp(40000, 443, "hello"), tcp(40000, 443, "hello")},
		"UDP":            {protoUDP, protoUDP, udp(40000, 53, "hello!!"), udp(40000, 53, "hello!!")},
		"echo request":   {protoICMPv6, protoICMP, icmp(128, 0, 0x77_0001, []byte("ping")), icmp(8, 0, 0x77_0001, []byte("ping"))},
		"echo reply":     {protoICMPv6, protoICMP, icmp(129, 0, 0x77_0001, []byte("ping")), icmp(0, 0, 0x77_0001, []byte("ping"))},
		"another":        {99, 99, unknown, unknown},
		"large":          {protoTCP, protoTCP, tcp(1, 2, strings.Repeat("x", 1200)), tcp(1, 2, strings.Repeat("x", 1200))},
		"1260 bytes":     {protoTCP, protoTCP, tcp(1, 2, strings.Repeat("x", 1220)), tcp(1, 2, strings.Repeat("x", 1220))},
		"1261 bytes":     {protoTCP, protoTCP, tcp(1, 2, strings.Repeat("x", 1221)), tcp(1, 2, strings.Repeat("x", 1221))},
		"UDP port zero":  {protoUDP, protoUDP, udp(0, 0, ""), udp(0, 0, "")},
		"TCP no payload": {protoTCP, protoTCP, tcp(1, 2, ""), tcp(1, 2, "")},
	} {
		t.Run(name, func(t *testing.T) {
			in := ip6(six, server6, c.p6, c.six)
			in[0], in[1], in[2], in[3] = 0x6b, 0x8a, 0xbc, 0xde // traffic class b8, a flow label
			h := head4{ttl: 63, tos: 0xb8, id: 0x1234}
			if len(c.two)+20 > 1260 {
				h.flags = 0x4000
			}
			want := raw4(h, four, server4, c.p4, sealed(four, server4, c.p4, c.two))
			if got := one(t, tr.To4, in); !bytes.Equal(got, want) {
				t.Errorf("to IPv4:\n% x, want\n% x", got, want)
			}
			back := raw4(head4{ttl: 9, tos: 0xb8, flags: 0x4000, options: []byte{1, 1, 1, 0}}, server4, four, c.p4, sealed(server4, four, c.p4, c.two))
			want = raw6(server6, six, 8, c.p6, sealed(server6, six, c.p6, c.six))
			want[0], want[1] = 0x6b, 0x80
			if got := one(t, tr.To6, back); !bytes.Equal(got, want) {
				t.Errorf("to IPv6:\n% x, want\n% x", got, want)
			}
		})
	}
}

// H9: a wrong checksum stays as wrong as it was.
func TestRFC7915_4_5_WrongChecksumStaysWrong(t *testing.T) {
	tr := translator(t)
	for _, protocol := range []byte{protoTCP, protoUDP} {
		l4 := tcp(1000, 2000, "data")
		if protocol == protoUDP {
			l4 = udp(1000, 2000, "data")
		}
		in := ip6(six, server6, protocol, l4)
		in[40+checksumAt(protocol)] ^= 0x40
		var out Packets
		if why := tr.To4(&out, in); why != Translated {
			t.Fatal(why)
		}
		if err := verify(out.At(0)); err == nil {
			t.Errorf("protocol %d: the checksum was made right", protocol)
		}
		var again Packets
		if why := tr.To6(&again, ip4of(out.At(0))); why != Translated {
			t.Fatal(why)
		}
		// The ends are swapped in meaning but not in place: To6 maps each back to itself.
		if got, want := again.At(0)[40:], in[40:]; !bytes.Equal(got, want) {
			t.Errorf("protocol %d: there and back is % x, was % x", protocol, got, want)
		}
	}
}

// ip4of gives a translated packet another life.
func ip4of(b []byte) []byte {
	b = bytes.Clone(b)
	b[8], b[10], b[11] = 64, 0, 0
	binary.BigEndian.PutUint16(b[10:], ^plainSum(b[:20]))
	return b
}

// What goes nowhere, and what the sender hears of it in its own family.
func TestRFC7915_Refused(t *testing.T) {
	tr := translator(t)
	tr.MTU4, tr.MTU6 = 1400, 1400
	hopByHop := []byte{protoRouting, 0, 1, 4, 0, 0, 0, 0}
	routing := []byte{protoTCP, 0, 0, 1, 0, 0, 0, 0}
	with := func(b []byte, at int, value byte) []byte { b[at] = value; return b }
	four64 := raw4(head4{ttl: 64}, server4, four, protoTCP, sealed(server4, four, protoTCP, tcp(1, 2, "")))
	answers6 := func(kind, code byte, value uint32) string { return fmt.Sprintf("6 %d/%d %d", kind, code, value) }
	answers4 := func(kind, code byte, value uint32) string { return fmt.Sprintf("4 %d/%d %d", kind, code, value) }
	for _, c := range []struct {
		name   string
		in     []byte
		why    Why
		answer string // none if empty
	}{
		{"5.1 hop limit 1", with(ip6(six, server6, protoTCP, tcp(1, 2, "")), 7, 1), HopsUsedUp, answers6(3, 0, 0)},
		{"5.1 hop limit 0", with(ip6(six, server6, protoTCP, tcp(1, 2, "")), 7, 0), HopsUsedUp, answers6(3, 0, 0)},
		{"4.1 TTL 1", raw4(head4{ttl: 1}, server4, four, protoTCP, tcp(1, 2, "")), HopsUsedUp, answers4(11, 0, 0)},
		{"4.1 source route", raw4(head4{ttl: 9, options: []byte{131, 7, 4, 1, 2, 3, 4, 0}}, server4, four, protoTCP, tcp(1, 2, "")), SourceRoute, answers4(3, 5, 0)},
		{"5.1 segments left", raw6(six, server6, 64, protoHopByHop, hopByHop, routing, tcp(1, 2, "")), RoutingHeader, answers6(4, 0, 40+8+3)},
		{"5.1 header behind a fragment header", raw6(six, server6, 64, protoFragment, fragment6(protoDestination, 0, true, 9), []byte{protoTCP, 0, 1, 4, 0, 0, 0, 0}, tcp(1, 2, "xxxx")), HeaderAfterFragment, answers6(1, 1, 0)},
		{"5.1 too big", ip6(six, server6, protoTCP, tcp(1, 2, strings.Repeat("x", 1361))), TooBig, answers6(2, 0, 1420)},
		{"4 too big", raw4(head4{ttl: 9, flags: 0x4000}, server4, four, protoTCP, tcp(1, 2, strings.Repeat("x", 1341))), TooBig, answers4(3, 4, 1380)},
		{"6052 3.1 private address", ip6(six, WellKnown.Embed(netip.MustParseAddr("10.0.0.1")), protoTCP, tcp(1, 2, "")), Forbidden, ""},
		{"no mapping", ip6(netip.MustParseAddr("2001:db8:2::1"), server6, protoTCP, tcp(1, 2, "")), NoMapping, ""},
		{"1.2 fragmented ICMPv6", raw6(six, server6, 64, protoFragment, fragment6(protoICMPv6, 0, true, 9), icmp(128, 0, 1, make([]byte, 8))), FragmentedICMP, ""},
		{"1.2 fragmented ICMP", raw4(head4{ttl: 9, flags: 0x2000}, server4, four, protoICMP, icmp(8, 0, 1, make([]byte, 8))), FragmentedICMP, ""},
		{"UDP without checksum in IPv6", raw6(six, server6, 64, protoUDP, udp(1, 2, "x")), NoChecksum, ""},
		{"4.5 first fragment without checksum", raw4(head4{ttl: 9, flags: 0x2000}, server4, four, protoUDP, udp(1, 2, "12345678")), NoChecksum, ""},
		{"IPv4 header checksum", with(bytes.Clone(four64), 10, four64[10]^1), BadChecksum, ""},
		{"ICMP error with a wrong checksum", raw4(head4{ttl: 9}, server4, four, protoICMP, icmp(3, 1, 0, four64)), BadChecksum, ""},
		{"jumbogram", with(with(raw6(six, server6, 64, protoHopByHop, hopByHop), 4, 0), 5, 0), Jumbogram, ""},
		{"payload longer than the packet", with(ip6(six, server6, protoTCP, tcp(1, 2, "")), 5, 200), Malformed, ""},
		{"fragment of odd size", raw6(six, server6, 64, protoFragment, fragment6(protoUDP, 0, true, 9), udp(1, 2, "x")), Malformed, ""},
		{"ping of death", raw4(head4{ttl: 9, flags: 0x1fff}, server4, four, protoUDP, make([]byte, 16)), Malformed, ""},
		{"neighbour solicitation", ip6(six, server6, protoICMPv6, icmp(135, 0, 0, make([]byte, 16))), ICMPUnknown, ""},
		{"timestamp request", ip4(server4, four, protoICMP, icmp(13, 0, 0, make([]byte, 12))), ICMPUnknown, ""},
		{"error about an error", ip6(six, server6, protoICMPv6, icmp(1, 0, 0, ip6(server6, six, protoICMPv6, icmp(1, 0, 0, ip6(six, server6, protoTCP, tcp(1, 2, "")))))), ICMPNested, ""},
	} {
		var out Packets
		translate := tr.To4
		if c.in[0]>>4 == 4 {
			translate = tr.To6
		}
		if why := translate(&out, c.in); why != c.why {
			t.Errorf("%s: %s, want %s", c.name, why, c.why)
		}
		answer := ""
		if out.Len() > 0 {
			b := out.At(0)
			if err := verify(b); err != nil {
				t.Errorf("%s: the answer: %v", c.name, err)
			}
			icmp, value := b[40:], uint32(0)
			if b[0]>>4 == 4 {
				icmp = b[20:]
			}
			value = binary.BigEndian.Uint32(icmp[4:])
			answer = fmt.Sprintf("%d %d/%d %d", b[0]>>4, icmp[0], icmp[1], value)
			if !out.Answer || !bytes.HasPrefix(c.in, icmp[8:]) {
				t.Errorf("%s: answer %v quotes % x", c.name, out.Answer, icmp[8:])
			}
		}
		if answer != c.answer {
			t.Errorf("%s: the sender hears %q, want %q", c.name, answer, c.answer)
		}
	}
}

// H4: fragments keep their place; the identification is the low half one way and the whole the other (RFC 7915 4.1, 5.1.1).
func TestRFC7915_5_1_1_Fragments(t *testing.T) {
	tr := translator(t)
	data := []byte("0123456789abcdef")
	in := raw6(six, server6, 64, protoFragment, fragment6(protoUDP, 1480, true, 0xdead_beef), data)
	want := raw4(head4{ttl: 63, id: 0xbeef, flags: 0x2000 | 1480/8}, four, server4, protoUDP, data)
	if got := one(t, tr.To4, in); !bytes.Equal(got, want) {
		t.Errorf("to IPv4: % x, want % x", got, want)
	}
	first := raw6(six, server6, 64, protoFragment, fragment6(protoUDP, 0, true, 7), sealed(six, server6, protoUDP, udp(5, 6, "12345678")))
	want = raw4(head4{ttl: 63, id: 7, flags: 0x2000}, four, server4, protoUDP, sealed(four, server4, protoUDP, udp(5, 6, "12345678")))
	if got := one(t, tr.To4, first); !bytes.Equal(got, want) {
		t.Errorf("a first one: % x, want % x", got, want)
	}
	atomic := raw6(six, server6, 64, protoFragment, fragment6(protoUDP, 0, false, 7), sealed(six, server6, protoUDP, udp(5, 6, "12345678")))
	want = raw4(head4{ttl: 63, id: 7}, four, server4, protoUDP, sealed(four, server4, protoUDP, udp(5, 6, "12345678")))
	if got := one(t, tr.To4, atomic); !bytes.Equal(got, want) {
		t.Errorf("an atomic one (RFC 6946): % x, want % x", got, want)
	}
	back := raw4(head4{ttl: 64, id: 0xbeef, flags: 0x4000 | 185}, server4, four, protoUDP, data)
	want = raw6(server6, six, 63, protoFragment, fragment6(protoUDP, 1480, false, 0xbeef), data)
	if got := one(t, tr.To6, back); !bytes.Equal(got, want) {
		t.Errorf("to IPv6: % x, want % x", got, want)
	}
}

// H5: what may be cut is cut to lowest-ipv6-mtu, and put together it is the whole (RFC 7915 4.1).
func TestRFC7915_4_1_CutsToLowestMTU(t *testing.T) {
	tr := translator(t)
	for _, size := range []int{1232, 1233, 1240, 1241, 3000, 65507} {
		for _, lowest := range []int{0, 1500} {
			tr.LowestMTU6 = lowest
			limit := max(lowest, 1280)
			l4 := sealed(server4, four, protoUDP, udp(7, 8, strings.Repeat("z", size)))
			var out Packets
			if why := tr.To6(&out, raw4(head4{ttl: 64, id: 77}, server4, four, protoUDP, l4)); why != Translated {
				t.Fatalf("%d: %s", size, why)
			}
			var whole []byte
			for i := range out.Len() {
				b := out.At(i)
				if err := verify(b); err != nil || len(b) > limit {
					t.Fatalf("%d: packet %d has %d bytes: %v", size, i, len(b), err)
				}
				if out.Len() == 1 {
					whole = b[40:]
					break
				}
				field := binary.BigEndian.Uint16(b[42:])
				if int(field&^7) != len(whole) || field&1 != 0 != (i < out.Len()-1) || binary.BigEndian.Uint32(b[44:]) != 77 {
					t.Fatalf("%d: fragment %d says % x", size, i, b[40:48])
				}
				whole = append(whole, b[48:]...)
			}
			if want := sealed(server6, six, protoUDP, udp(7, 8, strings.Repeat("z", size))); !bytes.Equal(whole, want) {
				t.Errorf("%d: %d packets do not make the whole of %d bytes", size, out.Len(), len(want))
			}
			if fits := 40+8+size <= limit; fits != (out.Len() == 1) {
				t.Errorf("%d bytes, limit %d: %d packets", size, limit, out.Len())
			}
		}
	}
}

// H8: a whole datagram without checksum gets one (RFC 7915 4.5).
func TestRFC7915_4_5_ComputesUDPChecksum(t *testing.T) {
	for _, data := range []string{"", "x", "hello"} {
		got := one(t, translator(t).To6, raw4(head4{ttl: 64}, server4, four, protoUDP, udp(1, 2, data)))
		if want := raw6(server6, six, 63, protoUDP, sealed(server6, six, protoUDP, udp(1, 2, data))); !bytes.Equal(got, want) {
			t.Errorf("%q: % x, want % x", data, got, want)
		}
	}
}

// H9: a checksum that becomes zero is sent as ffff.
func TestRFC768_ZeroIsSentAsOnes(t *testing.T) {
	tr := translator(t)
	for x := range 1 << 16 {
		l4 := sealed(six, server6, protoUDP, udp(uint16(x), 2, ""))
		if want := sealed(four, server4, protoUDP, udp(uint16(x), 2, "")); binary.BigEndian.Uint16(want[6:]) == 0xffff {
			if got := one(t, tr.To4, raw6(six, server6, 64, protoUDP, l4)); !bytes.Equal(got[20:], want) {
				t.Fatalf("% x, want % x", got[20:], want)
			}
			return
		}
	}
	t.Fatal("no port has the checksum ffff")
}

func BenchmarkTranslate(b *testing.B) {
	tr := translator(b)
	var out Packets
	for name, c := range map[string]struct {
		translate func(*Packets, []byte) Why
		in        []byte
	}{
		"6to4/64":   {tr.To4, ip6(six, server6, protoUDP, udp(1, 2, "0123456789abcdef"))},
		"6to4/1400": {tr.To4, ip6(six, server6, protoTCP, tcp(1, 2, strings.Repeat("x", 1340)))},
		"4to6/64":   {tr.To6, ip4(server4, four, protoUDP, udp(1, 2, "0123456789abcdef"))},
		"4to6/1400": {tr.To6, ip4(server4, four, protoTCP, tcp(1, 2, strings.Repeat("x", 1340)))},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.in)))
			for b.Loop() {
				if why := c.translate(&out, c.in); why != Translated {
					b.Fatal(why)
				}
			}
		})
	}
}

// A packet that does not fit into a tunnel: its sender learns the size, below 1280 in IPv4 alone; one that may be cut is left to the caller.
func TestRFC2473_7_TooBigForATunnel(t *testing.T) {
	tr := translator(t)
	data := udp(5, 6, strings.Repeat("x", 1400))
	for _, c := range []struct {
		name string
		in   []byte
		mtu  int
		want string // the first bytes of the ICMP error; empty: none
		at   int
	}{
		{"IPv6", ip6(six, server6, protoUDP, data), 1420, "\x02\x00\x00\x00\x05\x8c", 40},
		{"IPv6 never learns less than 1280", ip6(six, server6, protoUDP, data), 1240, "\x02\x00\x00\x00\x05\x00", 40},
		{"IPv4", ip4(server4, four, protoUDP, data), 1240, "\x03\x04\x00\x00\x04\xd8", 20},
		{"IPv4 that may be cut", raw4(head4{ttl: 64}, server4, four, protoUDP, data), 1420, "", 0},
		{"an error", ip6(six, server6, protoICMPv6, icmp(1, 0, 0, data)), 1420, "", 0},
	} {
		tr.TooBig(&scratch, c.in, c.mtu)
		if n := scratch.Len(); n != min(1, len(c.want)) {
			t.Errorf("%s: %d answers", c.name, n)
			continue
		}
		if c.want == "" {
			continue
		}
		got := scratch.At(0)
		m := got[c.at:]
		if err := verify(got); err != nil || string(m[:2])+string(m[4:8]) != c.want {
			t.Errorf("%s: %x, %v; want %x", c.name, m[:8], err, c.want)
		}
	}
}
