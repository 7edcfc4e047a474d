package xlat

import (
	"encoding/binary"
)

// To6 translates an IPv4 packet (RFC 7915 4). out holds the IPv6 packets, several if the packet had to be and could be cut, or an
// ICMPv4 error for the sender.
func (t *Translator) To6(out *Packets, in []byte) Why {
	out.reset()
	p, why, _ := parse4(in, false)
	switch {
	case why == SourceRoute:
		t.answer4(out, in, unreachable4, sourceRouteFailed4, 0) // RFC 7915 4.1
		return why
	case why != Translated:
		return why
	case t.usedUp(p.hops):
		t.answer4(out, in, timeExceeded4, 0, 0)
		return HopsUsedUp
	}
	isError := p.protocol == protoICMP && !p.cut && isError4(p.payload[0])
	switch {
	case p.protocol == protoICMP && p.cut:
		return FragmentedICMP
	case isError && sum(0).bytes(p.payload).fold() != 0xffff:
		return BadChecksum
	}
	to, why := t.Mapper.To6(p.query(p.protocol, false, isError))
	if why != Translated {
		return why
	}
	head := packet{protocol: protocol6(p.protocol), class: p.class, hops: t.hop(p.hops), cut: p.cut, offset: p.offset, more: p.more, id: p.id}
	if t.ClearClass {
		head.class = 0
	}
	size, b := p.length, out.room()
	before := header6
	if head.cut {
		before += fragment
	}
	// Too big is told before anything is written: the answer takes the same room.
	if mtu := t.MTU6; p.df && mtu > 0 && before+size > mtu && !isError {
		t.answer4(out, in, unreachable4, fragmentationNeeded4, uint32(mtu-(before-header4)))
		return TooBig
	}
	switch {
	case isError:
		if size, why = t.error6(b[before:], &p, to); why != Translated {
			return why
		}
	case p.protocol == protoICMP:
		if why = query6(b[before:], &p, to); why != Translated {
			return why
		}
	case p.protocol == protoUDP && p.first() && len(p.payload) >= 8 && binary.BigEndian.Uint16(p.payload[6:]) == 0:
		if p.cut {
			return NoChecksum // the rest of it is not here (RFC 7915 4.5)
		}
		withChecksum(b[before:], &p, to)
	default:
		transport(b[before:], &p, p.ends, to)
	}
	if lowest := t.lowest(); p.df || isError || before+size <= lowest {
		write6(b, &head, to, size)
		out.add(before + size)
		return Translated
	}
	t.cut(out, &head, to, before, size)
	return Translated
}

func (t *Translator) lowest() int {
	if t.LowestMTU6 == 0 {
		return 1280
	}
	return t.LowestMTU6
}

// withChecksum copies a UDP datagram that has no checksum and gives it one (RFC 7915 4.5).
func withChecksum(b []byte, p *packet, to Ends) {
	copy(b, p.payload)
	binary.BigEndian.PutUint16(b, to.SrcPort)
	binary.BigEndian.PutUint16(b[2:], to.DstPort)
	check := sum(0).addr(to.Src).addr(to.Dst).word(protoUDP).word(uint16(p.length)).bytes(b[:p.length]).checksum()
	if check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(b[6:], check)
}

// cut makes fragments of what stands behind the header's place in the room (RFC 7915 4.1). Each fits lowest-ipv6-mtu. They are written
// behind the whole, so that it is still there.
func (t *Translator) cut(out *Packets, head *packet, to Ends, before, size int) {
	whole := out.room()[before : before+size]
	piece := (t.lowest() - header6 - fragment) &^ 7
	last, offset := head.more, head.offset
	head.cut = true
	place := before + size
	for done := 0; done < size; {
		n := min(piece, size-done)
		head.offset, head.more = offset+done, last || done+n < size
		b := out.buffer[place:]
		start := write6(b, head, to, n)
		copy(b[start:], whole[done:done+n])
		out.starts, out.ends = append(out.starts, place), append(out.ends, place+start+n)
		place += start + n
		done += n
	}
}
