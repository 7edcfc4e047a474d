package xlat

import (
	"encoding/binary"
)

// Unfragmented4 is the size up to which an IPv4 packet made from IPv6 may be cut on its way (RFC 7915 5.1): 1280 less the headers' difference.
const Unfragmented4 = 1260

// To4 translates an IPv6 packet (RFC 7915 5). out holds the IPv4 packet, or an ICMPv6 error for the sender.
func (t *Translator) To4(out *Packets, in []byte) Why {
	out.reset()
	p, why, at := parse6(in, false)
	switch {
	case why == RoutingHeader:
		t.answer6(out, in, paramProblem6, 0, uint32(at)) // RFC 7915 5.1
		return why
	case why == HeaderAfterFragment:
		t.answer6(out, in, unreachable6, prohibited6, 0)
		return why
	case why != Translated:
		return why
	case t.usedUp(p.hops):
		t.answer6(out, in, timeExceeded6, 0, 0)
		return HopsUsedUp
	}
	isError := p.protocol == protoICMPv6 && !p.cut && isError6(p.payload[0])
	switch {
	case p.protocol == protoICMPv6 && (p.cut || !p.first()):
		return FragmentedICMP
	case isError && !checks6(&p):
		return BadChecksum
	}
	to, why := t.Mapper.To4(p.query(protocol4(p.protocol), false, isError))
	if why != Translated {
		if why == Refused {
			t.answer6(out, in, unreachable6, prohibited6, 0) // RFC 6888 REQ-4
		}
		return why
	}
	b := out.room()
	head := t.header4(&p)
	size := p.length
	switch {
	case isError:
		if size, why = t.error4(b[header4:], &p); why != Translated {
			return why
		}
	case p.protocol == protoICMPv6:
		if why = query4(b[header4:], &p, to); why != Translated {
			return why
		}
	case p.protocol == protoUDP && p.first() && len(p.payload) >= 8 && binary.BigEndian.Uint16(p.payload[6:]) == 0:
		return NoChecksum // RFC 8200 8.1: IPv6 has no UDP without one
	default:
		transport(b[header4:], &p, p.ends, to)
	}
	if total := header4 + size; !head.cut && !p.atomic {
		head.df = total > Unfragmented4
		if head.df && t.MTU4 > 0 && total > t.MTU4 {
			t.answer6(out, in, tooBig6, 0, uint32(max(t.MTU4+20, 1280)))
			return TooBig
		}
	}
	write4(b, &head, to, size)
	out.add(header4 + size)
	return Translated
}

// header4 is the IPv4 header of an IPv6 packet (RFC 7915 5.1, 5.1.1), without what depends on its size.
func (t *Translator) header4(p *packet) packet {
	h := packet{protocol: protocol4(p.protocol), class: p.class, hops: t.hop(p.hops), offset: p.offset, more: p.more, cut: p.cut, id: p.id & 0xffff}
	if t.ClearClass {
		h.class = 0
	}
	if !p.cut && !p.atomic && t.ID != nil {
		h.id = uint32(t.ID())
	}
	return h
}

func protocol4(p uint8) uint8 {
	if p == protoICMPv6 {
		return protoICMP
	}
	return p
}

func protocol6(p uint8) uint8 {
	if p == protoICMP {
		return protoICMPv6
	}
	return p
}
