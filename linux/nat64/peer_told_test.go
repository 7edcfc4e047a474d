package nat64

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// seen is by which port or identifier a translator shows the client, by protocol as IPv4 numbers it.
type seen map[byte]uint16

// as is the client's own port for the one that it is seen by.
func (s seen) as(proto byte, port uint16) uint16 {
	if proto == 58 {
		proto = 1
	}
	if own := (map[byte]uint16{17: clientUDP, 6: clientTCP, 1: clientEcho})[proto]; port == s[proto] {
		return own
	}
	return port
}

// told says in words what packets are, as it is compared.
func (d *device) told(packets [][]byte) string {
	var list []string
	for _, p := range packets {
		list = append(list, strings.Join(d.words(p, false), " "))
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, " + ")
}

// words are those of one packet. A quoted one may be cut; its hops are as they are.
func (d *device) words(p []byte, quoted bool) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	hops := d.hops
	if quoted {
		hops = 0
	}
	var src, dst netip.Addr
	var proto byte
	var l4 []byte
	cut, offset := false, 0
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		field := binary.BigEndian.Uint16(p[6:])
		src, dst, proto, l4 = netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20])), p[9], p[min(len(p), int(p[0]&15)*4):]
		say("IPv4")
		say("%d", binary.BigEndian.Uint16(p[2:]))
		if p[1] != 0 {
			say("tos=%d", p[1])
		}
		if p[0]&15 != 5 {
			say("options")
		}
		if field&0x4000 != 0 {
			say("DF")
		}
		if cut, offset = field&0x3fff != 0, int(field&0x1fff)*8; cut {
			say("id=%d offset=%d more=%v", binary.BigEndian.Uint16(p[4:]), offset, field&0x2000 != 0)
		}
		hops = p[8] - hops
		if !quoted && fold(p[:20]) != 0xffff {
			say("header-checksum-wrong")
		}
	case len(p) >= 40 && p[0]>>4 == 6:
		src, dst, proto, l4 = netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40])), p[6], p[40:]
		say("IPv6")
		say("%d", 40+int(binary.BigEndian.Uint16(p[4:])))
		if class := p[0]<<4 | p[1]>>4; class != 0 {
			say("class=%d", class)
		}
		if proto == 44 && len(l4) >= 8 {
			field := binary.BigEndian.Uint16(l4[2:])
			cut, offset = true, int(field&^7)
			say("id=%d offset=%d more=%v", binary.BigEndian.Uint32(l4[4:]), offset, field&1 != 0)
			proto, l4 = l4[0], l4[8:]
		}
		hops = p[7] - hops
	default:
		return []string{fmt.Sprintf("%x", p)}
	}
	if src == peerSelf4 || src == peerSelf6 { // its own: nobody has counted before
		hops += d.hops
	}
	say("hops=%d", hops)
	say("%s>%s", src, dst)
	if offset > 0 {
		return append(list, fmt.Sprintf("data=%d", len(l4)))
	}
	return append(list, d.transport(proto, src, dst, l4, cut || quoted)...)
}

// transport are the words of what is behind the header. Checksums are looked at where all is there.
func (d *device) transport(proto byte, src, dst netip.Addr, l4 []byte, part bool) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	sum := "right"
	if length := []byte{0, proto, byte(len(l4) >> 8), byte(len(l4))}; proto == 1 && fold(l4) != 0xffff || proto != 1 && fold(src.AsSlice(), dst.AsSlice(), length, l4) != 0xffff {
		sum = "wrong"
	}
	if part {
		sum = "part"
	}
	switch {
	case proto == 17 && len(l4) >= 8 || proto == 6 && len(l4) >= 8:
		say("protocol=%d %d>%d", proto, d.seen.as(proto, binary.BigEndian.Uint16(l4)), d.seen.as(proto, binary.BigEndian.Uint16(l4[2:])))
		if proto == 17 && l4[6]|l4[7] == 0 {
			sum = "none"
		}
		say("sum=%s", sum)
	case (proto == 1 || proto == 58) && len(l4) >= 8:
		kind, rest := l4[0], binary.BigEndian.Uint32(l4[4:])
		say("type=%d/%d", kind, l4[1])
		say("sum=%s", sum)
		switch {
		case kind == 0 || kind == 8 || kind >= 128:
			say("id=%d", d.seen.as(proto, uint16(rest>>16)))
		default:
			if rest != 0 {
				say("rest=%#x", rest)
			}
			say("quotes=%d", len(l4)-8)
			return append(list, slices.Concat([]string{"["}, d.words(l4[8:], true), []string{"]"})...)
		}
	default:
		say("protocol=%d", proto)
		if len(l4) >= 8 && part {
			say("%x", l4[:8])
		}
	}
	return append(list, fmt.Sprintf("data=%d", len(l4)))
}

// unlike are the words of each that the other has not, as docs/nat64.md shows them.
func unlike(a, b string) (string, string) {
	if x, y := strings.Fields(a), strings.Fields(b); len(x) == len(y) && a != b { // the same in another order
		slices.Sort(x)
		slices.Sort(y)
		if slices.Equal(x, y) {
			return "`" + a + "`", "`" + b + "`"
		}
	}
	less := func(a, b string) string {
		if a == "nothing" || b == "nothing" { // then the headline is enough
			if at := strings.Index(a, " ["); at >= 0 {
				a = a[:at]
			}
			return "`" + a + "`"
		}
		var list []string
		theirs := strings.Fields(b)
		for _, w := range strings.Fields(a) {
			if !slices.Contains(theirs, w) {
				list = append(list, w)
			}
		}
		if len(list) == 0 {
			return "-"
		}
		return "`" + strings.Join(list, " ") + "`"
	}
	return less(a, b), less(b, a)
}

// smallest is the case that shows what mayBeCut hides in all others.
const smallest = "IPv4 packet of 1260 bytes"

// mayBeCut leaves the flag out that tayga sets in each packet: those of up to 1260 bytes may be cut (RFC 7915 5.1).
func mayBeCut(told string) string {
	words := strings.Fields(told)
	for i := 1; i < len(words); i++ {
		if n, err := strconv.Atoi(words[i]); words[i-1] != "IPv4" || err != nil || n > 1260 {
			continue
		}
		for k := i; k < len(words) && !strings.HasPrefix(words[k], "hops="); k++ {
			if words[k] == "DF" {
				words = slices.Delete(words, k, k+1)
			}
		}
	}
	return strings.Join(words, " ")
}
