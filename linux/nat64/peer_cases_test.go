package nat64

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Ports and the identifier of the client, and the server's port.
const (
	clientUDP, clientTCP, clientEcho = 4000, 4001, 4002
	serverPort                       = 53
)

var (
	peerServer4 = netip.MustParseAddr("192.0.2.1")
	peerRouter4 = netip.MustParseAddr("203.0.113.9")
	peerServer6 = netip.MustParseAddr("2001:db8:64::192.0.2.1")
)

// sealed writes the checksum of a transport.
func sealed(src, dst netip.Addr, proto byte, l4 []byte) []byte {
	at, ok := map[byte]int{17: 6, 6: 16, 1: 2, 58: 2}[proto]
	if !ok {
		return l4
	}
	binary.BigEndian.PutUint16(l4[at:], 0)
	sum := ^fold(pseudo(src, dst, len(l4), proto), l4)
	if proto == 17 && sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(l4[at:], sum)
	return l4
}

// six and four are packets of the client to the server and back.
func out6(proto byte, l4 []byte) []byte {
	return head6(peerClient, peerServer6, proto, 64, 0, sealed(peerClient, peerServer6, proto, l4))
}

func back4(proto byte, l4 []byte) []byte {
	return head4(peerServer4, peerPool, proto, 64, 0, 77, 0, sealed(peerServer4, peerPool, proto, l4))
}

func ports(size int, from, to uint16, data []byte) []byte {
	b := make([]byte, size, size+len(data))
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	if size == 8 {
		binary.BigEndian.PutUint16(b[4:], uint16(size+len(data)))
	}
	return append(b, data...)
}

func segment(from, to uint16, flags byte) []byte {
	b := ports(20, from, to, nil)
	b[12], b[13] = 0x50, flags
	return b
}

func icmp(kind, code byte, rest uint32, data []byte) []byte {
	b := []byte{kind, code, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[4:], rest)
	return append(b, data...)
}

func udp6(data []byte) []byte        { return out6(17, ports(8, clientUDP, serverPort, data)) }
func tcp6(flags byte) []byte         { return out6(6, segment(clientTCP, serverPort, flags)) }
func echo6(kind byte) []byte         { return out6(58, icmp(kind, 0, clientEcho<<16|1, []byte("abcd"))) }
func udp4(s seen, n int) []byte      { return back4(17, ports(8, serverPort, s[17], make([]byte, n))) }
func tcp4(s seen, flags byte) []byte { return back4(6, segment(serverPort, s[6], flags)) }
func echo4(s seen, kind byte) []byte {
	return back4(1, icmp(kind, 0, uint32(s[1])<<16|1, []byte("abcd")))
}

// error6 is an ICMPv6 error of the client about a packet of the server; error4 one of a router about a packet of the client.
func error6(kind, code byte, rest uint32) []byte {
	quoted := head6(peerServer6, peerClient, 17, 60, 0, sealed(peerServer6, peerClient, 17, ports(8, serverPort, clientUDP, []byte("abcd"))))
	return out6(58, icmp(kind, code, rest, quoted))
}

func error4(s seen, kind, code byte, rest uint32) []byte {
	quoted := head4(peerPool, peerServer4, 17, 60, 0, 5, 0, sealed(peerPool, peerServer4, 17, ports(8, s[17], serverPort, []byte("abcd"))))
	l4 := icmp(kind, code, rest, quoted)
	return head4(peerRouter4, peerPool, 1, 64, 0, 77, 0, sealed(peerRouter4, peerPool, 1, l4))
}

// edit sets octets, in pairs of place and value, and mends the header's checksum of IPv4.
func edit(p []byte, pairs ...int) []byte {
	for i := 0; i < len(pairs); i += 2 {
		p[pairs[i]] = byte(pairs[i+1])
	}
	if p[0]>>4 == 4 {
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^fold(p[:int(p[0]&15)*4]))
	}
	return p
}

// behind puts an extension header behind that of IPv6. Its first octet becomes the next header.
func behind(p []byte, next byte, header ...byte) []byte {
	b := append(append(bytes.Clone(p[:40]), header...), p[40:]...)
	b[40], b[6] = p[6], next
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// options puts options of IPv4 into a packet.
func options(p []byte, o ...byte) []byte {
	b := append(append(bytes.Clone(p[:20]), o...), p[20:]...)
	b[0] += byte(len(o) / 4)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return edit(b)
}

func piece6(p []byte, offset int, more byte, id byte) []byte {
	return behind(p, 44, 0, 0, byte(offset>>8), byte(offset)|more, 0, 0, 0x12, id)
}

// tayga is one case.
type taygaCase struct {
	what    string
	packets func(s seen) [][]byte
}

func fixed(packets ...[]byte) func(seen) [][]byte { return func(seen) [][]byte { return packets } }

// besideTayga are the cases.
func besideTayga() []taygaCase {
	to := func(a string) []byte {
		dst := netip.MustParseAddr(a)
		return head6(peerClient, dst, 17, 64, 0, sealed(peerClient, dst, 17, ports(8, clientUDP, serverPort, nil)))
	}
	from := func(a string) []byte {
		src := netip.MustParseAddr(a)
		return head6(src, peerServer6, 17, 64, 0, sealed(src, peerServer6, 17, ports(8, clientUDP, serverPort, nil)))
	}
	whole := ports(8, clientUDP, serverPort, make([]byte, 16))
	sealed(peerClient, peerServer6, 17, whole)
	half6 := func(a, b int) []byte { return head6(peerClient, peerServer6, 17, 64, 0, bytes.Clone(whole[a:b])) }
	list := []taygaCase{
		{"UDP", fixed(udp6([]byte("abcd")))},
		{"UDP, odd length", fixed(udp6([]byte("abc")))},
		{"traffic class", fixed(head6(peerClient, peerServer6, 17, 64, 0xb8<<20, sealed(peerClient, peerServer6, 17, ports(8, clientUDP, serverPort, nil))))},
		{"flow label", fixed(head6(peerClient, peerServer6, 17, 64, 0x12345, sealed(peerClient, peerServer6, 17, ports(8, clientUDP, serverPort, nil))))},
		{"hop limit 2", fixed(edit(udp6(nil), 7, 2))},
		{"IPv4 packet of 1260 bytes", fixed(udp6(make([]byte, 1232)))},
		{"IPv4 packet of 1261 bytes", fixed(udp6(make([]byte, 1233)))},
		{"UDP of IPv6 without checksum", fixed(edit(udp6(nil), 46, 0, 47, 0))},
		{"UDP with a wrong checksum", fixed(edit(udp6([]byte("abcd")), 46, 0x12, 47, 0x34))},
		{"TCP", fixed(tcp6(0x10))},
		{"TCP with a wrong checksum", fixed(edit(tcp6(0x10), 56, 0x12))},
		{"echo request", fixed(echo6(128))},
		{"echo reply", fixed(echo6(129))},
		{"echo request with a wrong checksum", fixed(edit(echo6(128), 42, 0x12))},
		{"echo request with code 1", fixed(out6(58, icmp(128, 1, clientEcho<<16|1, nil)))},
		{"multicast listener report", fixed(out6(58, icmp(131, 0, 0, make([]byte, 16))))},
		{"neighbour solicitation", fixed(out6(58, icmp(135, 0, 0, make([]byte, 16))))},
		{"unknown ICMPv6 message", fixed(out6(58, icmp(200, 0, 0, nil)))},
		{"hop-by-hop options", fixed(behind(udp6(nil), 0, 0, 0, 1, 4, 0, 0, 0, 0))},
		{"destination options", fixed(behind(udp6(nil), 60, 0, 0, 1, 4, 0, 0, 0, 0))},
		{"routing header, used up", fixed(behind(udp6(nil), 43, 0, 0, 0, 0, 0, 0, 0, 0))},
		{"routing header, segments left", fixed(behind(udp6(nil), 43, 0, 0, 0, 1, 0, 0, 0, 0))},
		{"first fragment of IPv6", fixed(piece6(half6(0, 16), 0, 1, 1))},
		{"second fragment of IPv6", fixed(piece6(half6(0, 16), 0, 1, 2), piece6(half6(16, 24), 16, 0, 2))},
		{"fragments of IPv6, the second first", fixed(piece6(half6(16, 24), 16, 0, 3), piece6(half6(0, 16), 0, 1, 3))},
		{"atomic fragment", fixed(piece6(half6(0, 24), 0, 0, 4))},
		{"options behind a fragment header", fixed(piece6(behind(udp6(nil), 60, 0, 0, 1, 4, 0, 0, 0, 0), 0, 0, 5))},
		{"fragment of ICMPv6", fixed(piece6(echo6(128), 0, 1, 6))},
		{"payload length beyond the packet", fixed(edit(udp6(nil), 5, 200))},
		{"UDP header cut", fixed(head6(peerClient, peerServer6, 17, 64, 0, []byte{0x0f, 0xa0}))},
		{"SCTP", fixed(out6(132, make([]byte, 12)))},
		{"GRE", fixed(out6(47, make([]byte, 12)))},
		{"ESP", fixed(out6(50, make([]byte, 12)))},
		{"to 127.0.0.1", fixed(to("2001:db8:64::127.0.0.1"))},
		{"to 0.0.0.1", fixed(to("2001:db8:64::0.0.0.1"))},
		{"to 169.254.169.254", fixed(to("2001:db8:64::169.254.169.254"))},
		{"to 224.0.0.1", fixed(to("2001:db8:64::224.0.0.1"))},
		{"to 255.255.255.255", fixed(to("2001:db8:64::255.255.255.255"))},
		{"to 10.0.0.1, which nobody named", fixed(to("2001:db8:64::10.0.0.1"))},
		{"from inside the prefix", fixed(from("2001:db8:64::192.0.2.9"))},
		{"from a stranger", fixed(from("2001:db8:9::9"))},
		{"from a link-local address", fixed(from("fe80::5"))},
		{"from a multicast address", fixed(from("ff02::5"))},
		{"from ::1", fixed(from("::1"))},
	}
	for _, m := range []struct {
		what       string
		kind, code byte
		rest       uint32
	}{
		{"no route", 1, 0, 0}, {"prohibited", 1, 1, 0}, {"beyond scope", 1, 2, 0}, {"address unreachable", 1, 3, 0}, {"port unreachable", 1, 4, 0},
		{"source failed policy", 1, 5, 0}, {"reject route", 1, 6, 0}, {"too big, MTU 1280", 2, 0, 1280}, {"too big, MTU 1400", 2, 0, 1400}, {"too big, MTU 9000", 2, 0, 9000},
		{"hop limit exceeded", 3, 0, 0}, {"reassembly time exceeded", 3, 1, 0}, {"parameter problem, pointer 0", 4, 0, 0}, {"parameter problem, pointer 4", 4, 0, 4},
		{"parameter problem, pointer 6", 4, 0, 6}, {"parameter problem, pointer 7", 4, 0, 7}, {"parameter problem, pointer 8", 4, 0, 8}, {"parameter problem, pointer 24", 4, 0, 24},
		{"parameter problem, pointer 2" + unmapped, 4, 0, 2}, {"parameter problem, pointer 40" + unmapped, 4, 0, 40}, {"unknown next header", 4, 1, 6}, {"unknown option", 4, 2, 0}, {"unknown error", 100, 0, 0},
	} {
		list = append(list, taygaCase{fmt.Sprintf("ICMPv6 %d/%d, %s", m.kind, m.code, m.what), fixed(error6(m.kind, m.code, m.rest))})
	}
	nested := out6(58, icmp(1, 0, 0, head6(peerServer6, peerClient, 58, 60, 0, sealed(peerServer6, peerClient, 58, icmp(1, 0, 0, make([]byte, 48))))))
	list = append(list, taygaCase{"ICMPv6 error with a wrong checksum", fixed(edit(error6(1, 0, 0), 42, 0x12))}, taygaCase{"ICMPv6 error about an error", fixed(nested)})
	return append(list, besideTayga4()...)
}

// besideTayga4 are the cases of packets from IPv4.
func besideTayga4() []taygaCase {
	one := func(what string, f func(s seen) []byte) taygaCase {
		return taygaCase{what, func(s seen) [][]byte { return [][]byte{f(s)} }}
	}
	half4 := func(s seen, a, b int, field int) []byte {
		l4 := sealed(peerServer4, peerPool, 17, ports(8, serverPort, s[17], make([]byte, 16)))
		return edit(head4(peerServer4, peerPool, 17, 64, 0, 0x1234, uint16(field), l4[a:b]))
	}
	list := []taygaCase{
		one("UDP from IPv4", func(s seen) []byte { return udp4(s, 4) }),
		one("UDP from IPv4 with DF", func(s seen) []byte { return edit(udp4(s, 4), 6, 0x40) }),
		one("TOS", func(s seen) []byte { return edit(udp4(s, 4), 1, 0xb8) }),
		one("TTL 2", func(s seen) []byte { return edit(udp4(s, 4), 8, 2) }),
		one("UDP of IPv4 without checksum", func(s seen) []byte { return edit(udp4(s, 4), 26, 0, 27, 0) }),
		one("first fragment of UDP without checksum", func(s seen) []byte { return edit(half4(s, 0, 16, 0x2000), 26, 0, 27, 0) }),
		one("UDP of IPv4 with a wrong checksum", func(s seen) []byte { return edit(udp4(s, 4), 26, 0x12, 27, 0x34) }),
		one("wrong checksum of the IPv4 header", func(s seen) []byte { p := udp4(s, 4); p[10]++; return p }),
		one("TCP from IPv4", func(s seen) []byte { return tcp4(s, 0x10) }),
		one("options: no operation", func(s seen) []byte { return options(udp4(s, 4), 1, 1, 1, 0) }),
		one("options: record route", func(s seen) []byte { return options(udp4(s, 4), 7, 7, 4, 0, 0, 0, 0, 0) }),
		one("options: loose source route, not used up", func(s seen) []byte { return options(udp4(s, 4), 131, 7, 4, 192, 0, 2, 7, 0) }),
		one("options: loose source route, used up", func(s seen) []byte { return options(udp4(s, 4), 131, 7, 8, 192, 0, 2, 7, 0) }),
		one("first fragment of IPv4", func(s seen) []byte { return half4(s, 0, 16, 0x2000) }),
		{"second fragment of IPv4", func(s seen) [][]byte { return [][]byte{half4(s, 0, 16, 0x2000), half4(s, 16, 24, 2)} }},
		one("fragment of ICMPv4", func(s seen) []byte { return edit(echo4(s, 0), 6, 0x20) }),
		one("1500 bytes without DF", func(s seen) []byte { return udp4(s, 1472) }),
		one("1500 bytes with DF", func(s seen) []byte { return edit(udp4(s, 1472), 6, 0x40) }),
		one("1480 bytes with DF", func(s seen) []byte { return edit(udp4(s, 1452), 6, 0x40) }),
		one("1480 bytes without DF", func(s seen) []byte { return udp4(s, 1452) }),
		one("echo reply from IPv4", func(s seen) []byte { return echo4(s, 0) }),
		one("echo request from IPv4", func(s seen) []byte { return echo4(s, 8) }),
		one("echo reply from IPv4 with a wrong checksum", func(s seen) []byte { return edit(echo4(s, 0), 22, 0x12) }),
		one("UDP to a port that nobody has", func(s seen) []byte { return back4(17, ports(8, serverPort, 9, nil)) }),
		one("SCTP from IPv4", func(seen) []byte { return back4(132, make([]byte, 12)) }),
		one("from 127.0.0.1", func(s seen) []byte { return fromFour(s, "127.0.0.1") }),
		one("from 224.0.0.1", func(s seen) []byte { return fromFour(s, "224.0.0.1") }),
		one("from 255.255.255.255", func(s seen) []byte { return fromFour(s, "255.255.255.255") }),
	}
	for _, kind := range []byte{4, 5, 9, 10, 13, 14, 15, 16, 17, 18, 40} {
		list = append(list, one(fmt.Sprintf("ICMPv4 %d/0", kind), func(s seen) []byte { return error4(s, kind, 0, 0) }))
	}
	for code := range byte(16) {
		rest := uint32(0)
		if code == 4 {
			rest = 1300
		}
		list = append(list, one(fmt.Sprintf("ICMPv4 3/%d", code), func(s seen) []byte { return error4(s, 3, code, rest) }))
	}
	for _, mtu := range []uint32{0, 68, 576, 9000} {
		list = append(list, one(fmt.Sprintf("ICMPv4 3/4, MTU %d", mtu), func(s seen) []byte { return error4(s, 3, 4, mtu) }))
	}
	for _, code := range []byte{0, 1} {
		list = append(list, one(fmt.Sprintf("ICMPv4 11/%d", code), func(s seen) []byte { return error4(s, 11, code, 0) }))
	}
	for _, pointer := range []uint32{0, 1, 2, 3, 8, 9, 12, 16} {
		list = append(list, one(fmt.Sprintf("ICMPv4 12/0, pointer %d", pointer), func(s seen) []byte { return error4(s, 12, 0, pointer<<24) }))
	}
	for _, pointer := range []uint32{4, 6, 10, 20} {
		list = append(list, one(fmt.Sprintf("ICMPv4 12/0, pointer %d%s", pointer, unmapped), func(s seen) []byte { return error4(s, 12, 0, pointer<<24) }))
	}
	return append(list,
		one("ICMPv4 12/1", func(s seen) []byte { return error4(s, 12, 1, 0) }),
		one("ICMPv4 12/2, pointer 8", func(s seen) []byte { return error4(s, 12, 2, 8<<24) }),
		one("ICMPv4 error with a wrong checksum", func(s seen) []byte { return edit(error4(s, 3, 1, 0), 22, 0x12) }),
		one("ICMPv4 error with an extension (RFC 4884)", func(s seen) []byte { return extended4(s) }),
	)
}

// fromFour is UDP for the client from an address.
func fromFour(s seen, a string) []byte {
	src := netip.MustParseAddr(a)
	return head4(src, peerPool, 17, 64, 0, 77, 0, sealed(src, peerPool, 17, ports(8, serverPort, s[17], nil)))
}

// extended4 is an error whose quoted packet has 128 octets, and behind it an extension of 8.
func extended4(s seen) []byte {
	quoted := head4(peerPool, peerServer4, 17, 60, 0, 5, 0, sealed(peerPool, peerServer4, 17, ports(8, s[17], serverPort, make([]byte, 100))))
	extension := []byte{0x20, 0, 0, 0, 0, 4, 1, 1}
	binary.BigEndian.PutUint16(extension[2:], ^fold(extension))
	l4 := icmp(3, 1, 32<<16, append(quoted, extension...))
	return head4(peerRouter4, peerPool, 1, 64, 0, 77, 0, sealed(peerRouter4, peerPool, 1, l4))
}
