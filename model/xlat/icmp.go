package xlat

import "encoding/binary"

// ICMPv4 types and codes (RFC 792, RFC 1812).
const (
	echoReply4           = 0
	unreachable4         = 3
	echoRequest4         = 8
	timeExceeded4        = 11
	paramProblem4        = 12
	fragmentationNeeded4 = 4 // codes of unreachable4
	sourceRouteFailed4   = 5
)

// ICMPv6 types and codes (RFC 4443).
const (
	unreachable6   = 1
	tooBig6        = 2
	timeExceeded6  = 3
	paramProblem6  = 4
	echoRequest6   = 128
	echoReply6     = 129
	prohibited6    = 1 // codes of unreachable6
	noPort6        = 4
	unknownHeader6 = 1 // code of paramProblem6
)

// message is the first 8 bytes of an ICMP error: type, code, and what the rest of them means for it.
type message struct {
	kind, code byte
	pointer    uint32 // of a parameter problem
	mtu        int    // of "packet too big" and "fragmentation needed"
}

func isError6(kind byte) bool { return kind < 128 }

// isError4 reports whether a type is one of the errors that quote a packet.
func isError4(kind byte) bool {
	return kind == unreachable4 || kind == 4 || kind == 5 || kind == timeExceeded4 || kind == paramProblem4
}

// message6 reads the start of an ICMPv6 error. b has 8 bytes.
func message6(b []byte) message {
	m := message{kind: b[0], code: b[1]}
	switch m.kind {
	case tooBig6:
		m.mtu = int(binary.BigEndian.Uint32(b[4:]) & 0x7fff_ffff)
	case paramProblem6:
		m.pointer = binary.BigEndian.Uint32(b[4:])
	}
	return m
}

func message4(b []byte) message {
	m := message{kind: b[0], code: b[1]}
	switch {
	case m.kind == unreachable4 && m.code == fragmentationNeeded4:
		m.mtu = int(binary.BigEndian.Uint16(b[6:])) // RFC 1191 4
	case m.kind == paramProblem4:
		m.pointer = uint32(b[4])
	}
	return m
}

// to4 is the table of RFC 7915 5.2. The MTU of the result is not yet adapted.
func (m message) to4() (message, bool) {
	switch m.kind {
	case unreachable6:
		code, ok := map6[m.code]
		return message{kind: unreachable4, code: code}, ok
	case tooBig6:
		return message{kind: unreachable4, code: fragmentationNeeded4, mtu: m.mtu}, m.code == 0
	case timeExceeded6:
		return message{kind: timeExceeded4, code: m.code}, m.code <= 1
	case paramProblem6:
		if m.code == unknownHeader6 {
			return message{kind: unreachable4, code: 2}, true
		}
		pointer, ok := pointer4(m.pointer)
		return message{kind: paramProblem4, pointer: pointer}, ok && m.code == 0
	}
	return message{}, false
}

// map6 is RFC 7915 5.2, codes of destination unreachable.
var map6 = map[byte]byte{0: 1, 1: 10, 2: 1, 3: 1, 4: 3}

// pointer4 is RFC 7915 figure 6: which octet of an IPv4 header an octet of an IPv6 header became.
func pointer4(p uint32) (uint32, bool) {
	switch {
	case p <= 1:
		return p, true
	case p == 4 || p == 5:
		return 2, true
	case p == 6:
		return 9, true
	case p == 7:
		return 8, true
	case p >= 8 && p <= 23:
		return 12, true
	case p >= 24 && p <= 39:
		return 16, true
	}
	return 0, false
}

// to6 is the table of RFC 7915 4.2. The MTU of the result is not yet adapted.
func (m message) to6() (message, bool) {
	switch m.kind {
	case unreachable4:
		switch m.code {
		case 0, 1, sourceRouteFailed4, 6, 7, 8, 11, 12:
			return message{kind: unreachable6}, true
		case 2:
			return message{kind: paramProblem6, code: unknownHeader6, pointer: 6}, true
		case 3:
			return message{kind: unreachable6, code: noPort6}, true
		case fragmentationNeeded4:
			return message{kind: tooBig6, mtu: m.mtu}, true
		case 9, 10, 13, 15:
			return message{kind: unreachable6, code: prohibited6}, true
		}
	case timeExceeded4:
		return message{kind: timeExceeded6, code: m.code}, m.code <= 1
	case paramProblem4:
		pointer, ok := pointer6(m.pointer)
		return message{kind: paramProblem6, pointer: pointer}, ok && (m.code == 0 || m.code == 2)
	}
	return message{}, false
}

// pointer6 is RFC 7915 figure 3.
func pointer6(p uint32) (uint32, bool) {
	switch {
	case p <= 1:
		return p, true
	case p == 2 || p == 3:
		return 4, true
	case p == 8:
		return 7, true
	case p == 9:
		return 6, true
	case p >= 12 && p <= 15:
		return 8, true
	case p >= 16 && p <= 19:
		return 24, true
	}
	return 0, false
}

// plateaus are the sizes that RFC 1191 7.1 guesses for routers that tell no MTU.
var plateaus = [...]int{65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68}

// mtu6 is the MTU that a "fragmentation needed" becomes (RFC 7915 4.2). total is the length of the packet that did not fit.
func (t *Translator) mtu6(m, total int) int {
	if m == 0 {
		m = plateaus[len(plateaus)-1]
		for _, p := range plateaus {
			if p < total {
				m = p
				break
			}
		}
	}
	m += header6 - header4
	if t.MTU6 > 0 {
		m = min(m, t.MTU6)
	}
	if t.MTU4 > 0 {
		m = min(m, t.MTU4+header6-header4)
	}
	return max(m, 1280)
}

// mtu4 is the MTU that a "packet too big" becomes (RFC 7915 5.2).
func (t *Translator) mtu4(m int) int {
	m -= header6 - header4
	if t.MTU4 > 0 {
		m = min(m, t.MTU4)
	}
	if t.MTU6 > 0 {
		m = min(m, t.MTU6-(header6-header4))
	}
	return min(max(m, 68), 0xffff) // RFC 791: every link carries 68 bytes
}

// checks6 reports whether an ICMPv6 message has the right checksum.
func checks6(p *packet) bool {
	return pseudo6(p.ends, p.length).bytes(p.payload).fold() == 0xffff
}

// pseudo6 is the sum of the pseudo-header of ICMPv6 (RFC 8200 8.1). ICMPv4 has none.
func pseudo6(e Ends, length int) sum {
	return sum(0).addr(e.Src).addr(e.Dst).word(uint16(length)).word(protoICMPv6)
}

// query4 copies an ICMPv6 echo as an ICMPv4 one. Everything else that is no error stays on its side (RFC 7915 5.2).
func query4(b []byte, p *packet, to Ends) Why {
	kind := byte(echoRequest4)
	switch {
	case p.payload[1] != 0:
		return ICMPUnknown
	case p.payload[0] == echoReply6:
		kind = echoReply4
	case p.payload[0] != echoRequest6:
		return ICMPUnknown
	}
	echo(b, p, kind, to, pseudo6(p.ends, p.length), 0)
	return Translated
}

// query6 copies an ICMPv4 echo as an ICMPv6 one (RFC 7915 4.2).
func query6(b []byte, p *packet, to Ends) Why {
	kind := byte(echoRequest6)
	switch {
	case p.payload[1] != 0:
		return ICMPUnknown
	case p.payload[0] == echoReply4:
		kind = echoReply6
	case p.payload[0] != echoRequest4:
		return ICMPUnknown
	}
	echo(b, p, kind, to, 0, pseudo6(to, p.length))
	return Translated
}

// echo copies an echo with another type and identifier. before and after are the pseudo-headers of the two sides.
func echo(b []byte, p *packet, kind byte, to Ends, before, after sum) {
	copy(b, p.payload)
	b[0] = kind
	binary.BigEndian.PutUint16(b[4:], to.SrcPort)
	before = before.bytes(p.payload[:2]).bytes(p.payload[4:6])
	after = after.bytes(b[:2]).bytes(b[4:6])
	binary.BigEndian.PutUint16(b[2:], update(binary.BigEndian.Uint16(p.payload[2:]), before, after))
}
