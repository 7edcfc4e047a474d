package xlat

import "encoding/binary"

const (
	icmpHeader = 8
	maxError4  = 576  // RFC 1812 4.3.2.3
	maxError6  = 1280 // RFC 4443 2.4 (c)

	// quotedLeast is the size of the quoted packet when an extension follows it (RFC 4884 3).
	quotedLeast = 128
)

// error4 writes an ICMPv6 error as an ICMPv4 one behind the IPv4 header's place and returns its size (RFC 7915 5.2, 5.3).
func (t *Translator) error4(b []byte, p *packet) (int, Why) {
	m, ok := message6(p.payload).to4()
	if !ok {
		return 0, ICMPUnknown
	}
	quoted, extension := split(p.payload, 4, 8)
	inner, why, _ := parse6(quoted, true)
	if why != Translated {
		return 0, why
	}
	if inner.protocol == protoICMPv6 && inner.first() && isError6(inner.payload[0]) {
		return 0, ICMPNested
	}
	to, why := t.Mapper.To4(inner.query(protocol4(inner.protocol), true, false))
	if why != Translated {
		return 0, why
	}
	head := t.header4(&inner)
	head.hops = inner.hops // the quoted packet is not forwarded
	if !head.cut && !inner.atomic {
		head.df = header4+inner.length > Unfragmented4
	}
	q := b[icmpHeader:]
	write4(q, &head, to, inner.length)
	if why := quote(q[header4:], &inner, to, query4); why != Translated {
		return 0, why
	}
	clear(b[:icmpHeader])
	b[0], b[1] = m.kind, m.code
	switch {
	case m.code == fragmentationNeeded4 && m.kind == unreachable4:
		binary.BigEndian.PutUint16(b[6:], uint16(t.mtu4(m.mtu)))
	case m.kind == paramProblem4:
		b[4] = byte(m.pointer)
	}
	if m.kind == unreachable4 && m.code == fragmentationNeeded4 {
		extension = nil // type 2 of ICMPv6 has no room for its length
	}
	size := icmpHeader + extend(b[icmpHeader:], header4+len(inner.payload), extension, maxError4-header4-icmpHeader, 4, &b[5])
	binary.BigEndian.PutUint16(b[2:], sum(0).bytes(b[:size]).checksum())
	return size, Translated
}

// error6 writes an ICMPv4 error as an ICMPv6 one behind the IPv6 header's place and returns its size (RFC 7915 4.2, 4.3).
func (t *Translator) error6(b []byte, p *packet, outer Ends) (int, Why) {
	from := message4(p.payload)
	m, ok := from.to6()
	if !ok {
		return 0, ICMPUnknown
	}
	quoted, extension := split(p.payload, 5, 4)
	inner, why, _ := parse4(quoted, true)
	if why != Translated {
		return 0, why
	}
	if inner.protocol == protoICMP && inner.first() && isError4(inner.payload[0]) {
		return 0, ICMPNested
	}
	to, why := t.Mapper.To6(inner.query(inner.protocol, true, false))
	if why != Translated {
		return 0, why
	}
	head := packet{protocol: protocol6(inner.protocol), class: inner.class, hops: inner.hops, cut: inner.cut, offset: inner.offset, more: inner.more, id: inner.id}
	if t.ClearClass {
		head.class = 0
	}
	q := b[icmpHeader:]
	start := write6(q, &head, to, inner.length)
	if why := quote(q[start:], &inner, to, query6); why != Translated {
		return 0, why
	}
	clear(b[:icmpHeader])
	b[0], b[1] = m.kind, m.code
	length := new(byte) // where the type has no length, it goes nowhere
	switch m.kind {
	case tooBig6:
		binary.BigEndian.PutUint32(b[4:], uint32(t.mtu6(m.mtu, header4+inner.length)))
		extension = nil
	case paramProblem6:
		binary.BigEndian.PutUint32(b[4:], m.pointer)
		extension = nil
	default:
		length = &b[4]
	}
	size := icmpHeader + extend(b[icmpHeader:], start+len(inner.payload), extension, maxError6-header6-icmpHeader, 8, length)
	binary.BigEndian.PutUint16(b[2:], pseudo6(outer, size).bytes(b[:size]).checksum())
	return size, Translated
}

// split parts what follows the header of an ICMP error into the quoted packet and the extension behind it (RFC 4884 5). The length
// stands at an octet of the header and counts units; zero means that there is no extension.
func split(icmp []byte, at, unit int) (quoted, extension []byte) {
	body := icmp[icmpHeader:]
	if kind := icmp[0]; kind == tooBig6 && unit == 8 || kind == paramProblem6 && unit == 8 {
		return body, nil // these have no length
	}
	n := int(icmp[at]) * unit
	if n < quotedLeast || n > len(body) {
		return body, nil
	}
	return body[:n], body[n:]
}

// quote writes what is there of the transport of a quoted packet.
func quote(b []byte, inner *packet, to Ends, query func([]byte, *packet, Ends) Why) Why {
	if inner.first() && (inner.protocol == protoICMP || inner.protocol == protoICMPv6) {
		if !isQuery(inner.payload[0]) {
			return ICMPUnknown
		}
		return query(b, inner, to)
	}
	transport(b, inner, inner.ends, to)
	return Translated
}

// extend puts an extension behind n bytes of a quoted packet and says in length how many units those fill. All of it fits limit: the
// quoted packet is cut first, to no less than 128 bytes; an extension that does not fit then is left out.
func extend(b []byte, n int, extension []byte, limit, unit int, length *byte) int {
	if len(extension) == 0 || quotedLeast+len(extension) > limit {
		return min(n, limit)
	}
	padded := max(quotedLeast, (n+unit-1)/unit*unit)
	padded = min(padded, (limit-len(extension))/unit*unit, 255*unit)
	if padded > n {
		clear(b[n:padded])
	}
	copy(b[padded:], extension)
	*length = byte(padded / unit)
	return padded + len(extension)
}
