package xlat

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// Whatever comes in: no panic, what goes out is well formed, and its checksums are right if those that came in were. A packet that was
// translated hop for hop is at most one hop poorer.
func FuzzTranslate(f *testing.F) {
	inner6 := ip6(server6, six, protoTCP, tcp(1, 2, "quoted"))
	inner4 := ip4(four, server4, protoUDP, udp(1, 2, "quoted"))
	for _, b := range [][]byte{
		ip6(six, server6, protoTCP, tcp(1, 2, "x")), ip6(six, server6, protoUDP, udp(1, 2, "x")), ip6(six, server6, protoICMPv6, icmp(128, 0, 1, nil)),
		ip6(six, server6, protoICMPv6, icmp(1, 0, 0, inner6)), ip6(six, server6, protoICMPv6, icmp(2, 0, 1400, inner6)),
		raw6(six, server6, 64, protoFragment, fragment6(protoUDP, 0, true, 9), udp(1, 2, "12345678")),
		raw6(six, server6, 64, protoHopByHop, []byte{protoRouting, 0, 1, 4, 0, 0, 0, 0}, []byte{protoTCP, 0, 0, 0, 0, 0, 0, 0}, tcp(1, 2, "")),
		ip4(server4, four, protoTCP, tcp(1, 2, "x")), ip4(server4, four, protoUDP, udp(1, 2, "x")), ip4(server4, four, protoICMP, icmp(8, 0, 1, nil)),
		ip4(server4, four, protoICMP, icmp(3, 4, 1400, inner4)), ip4(server4, four, protoICMP, icmp(12, 0, 0, inner4)),
		raw4(head4{ttl: 64, options: []byte{131, 7, 4, 1, 2, 3, 4, 0}}, server4, four, protoTCP, tcp(1, 2, "")),
		raw4(head4{ttl: 64, flags: 0x2000}, server4, four, protoUDP, udp(1, 2, "12345678")),
	} {
		f.Add(b)
	}
	tr := translator(f)
	tr.MTU4, tr.MTU6 = 1500, 1500
	var out Packets
	f.Fuzz(func(t *testing.T, in []byte) { check(t, tr, &out, in) })
}

func check(t *testing.T, tr *Translator, out *Packets, in []byte) {
	if len(in) > 70_000 {
		return
	}
	before := bytes.Clone(in)
	for _, translate := range []func(*Packets, []byte) Why{tr.To4, tr.To6} {
		why := translate(out, in)
		if !bytes.Equal(in, before) {
			t.Fatal("the packet that came in was changed")
		}
		if (why == Translated) != (out.Len() > 0 && !out.Answer) {
			t.Fatalf("%s, %d packets, answer %v", why, out.Len(), out.Answer)
		}
		wellFormed := plain(in) && verify(trimmed(in)) == nil
		for i := range out.Len() {
			b := out.At(i)
			if err := verify(b); err != nil && (wellFormed || out.Answer || !isTransport(err)) {
				t.Fatalf("% x became % x: %v", in, b, err)
			}
		}
	}
}

// plain reports whether a transport follows the header at once, so that verify sees all of it.
func plain(b []byte) bool {
	return len(b) >= 20 && (b[0]>>4 == 6 && checksumAt(b[6]) >= 0 || b[0]>>4 == 4 && checksumAt(b[9]) >= 0)
}

// trimmed takes off what lies behind the end that the header tells.
func trimmed(b []byte) []byte {
	n := len(b)
	switch {
	case len(b) >= 40 && b[0]>>4 == 6:
		n = 40 + int(binary.BigEndian.Uint16(b[4:]))
	case len(b) >= 20 && b[0]>>4 == 4:
		n = int(binary.BigEndian.Uint16(b[2:]))
	}
	return b[:min(n, len(b))]
}

// isTransport reports whether a fault is one that may have come in: verify names the protocol then.
func isTransport(err error) bool { return bytes.HasPrefix([]byte(err.Error()), []byte("protocol ")) }

// TestMutations runs the same check over real packets with some bytes changed, and over every cut of them.
func TestMutations(t *testing.T) {
	tr := translator(t)
	tr.MTU4, tr.MTU6 = 1500, 1500
	rnd := rand.New(rand.NewPCG(3, 4))
	inner6, inner4 := ip6(server6, six, protoTCP, tcp(1, 2, "quoted")), ip4(four, server4, protoUDP, udp(1, 2, "quoted"))
	seeds := [][]byte{
		ip6(six, server6, protoTCP, tcp(1, 2, "x")), ip6(six, server6, protoUDP, udp(1, 2, "x")), ip6(six, server6, protoICMPv6, icmp(1, 0, 16<<24, inner6)),
		raw6(six, server6, 64, protoHopByHop, []byte{protoFragment, 0, 1, 4, 0, 0, 0, 0}, fragment6(protoUDP, 0, true, 9), udp(1, 2, "12345678")),
		ip4(server4, four, protoTCP, tcp(1, 2, "x")), ip4(server4, four, protoICMP, icmp(3, 4, 1400, inner4)), ip4(server4, four, protoICMP, icmp(11, 0, 32<<16, append(inner4, make([]byte, 150)...))),
		raw4(head4{ttl: 64, flags: 0x2000, options: []byte{1, 1, 1, 1}}, server4, four, protoUDP, udp(1, 2, "12345678")),
	}
	var out Packets
	for _, seed := range seeds {
		for n := range len(seed) {
			check(t, tr, &out, seed[:n])
		}
		for range 20_000 {
			b := bytes.Clone(seed)
			for range 1 + rnd.IntN(4) {
				b[rnd.IntN(len(b))] = byte(rnd.Uint32())
			}
			check(t, tr, &out, b)
		}
	}
}

// Whatever goes to IPv4 and back is what it was, but for the hops and the flow label.
func TestThereAndBack(t *testing.T) {
	tr := translator(t)
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 50_000 {
		data := make([]byte, rnd.IntN(1300))
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		protocol, l4 := byte(protoTCP), tcp(uint16(rnd.Uint32()), uint16(rnd.Uint32()), string(data))
		switch rnd.IntN(3) {
		case 0:
			protocol, l4 = protoUDP, udp(uint16(rnd.Uint32()), uint16(rnd.Uint32()), string(data))
		case 1:
			protocol, l4 = protoICMPv6, icmp(128+byte(rnd.IntN(2)), 0, rnd.Uint32(), data)
		}
		in := ip6(six, server6, protocol, l4)
		got := one(t, tr.To6, one(t, tr.To4, in))
		in[7] -= 2
		if !bytes.Equal(got, in) {
			t.Fatalf("% x came back as % x", in, got)
		}
	}
}
