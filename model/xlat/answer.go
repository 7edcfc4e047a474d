package xlat

import (
	"encoding/binary"
	"net/netip"
)

// answerHops is the hop limit of what the Translator sends itself.
const answerHops = 64

// answer6 makes an ICMPv6 error about a packet for its sender. None is made about an error, a multicast packet, or a sender that is no
// single host (RFC 4443 2.4 (e)); a fragment behind the first could be part of an error.
func (t *Translator) answer6(out *Packets, in []byte, kind, code byte, value uint32) {
	p, _, _ := parse6(in, true)
	if !t.Self6.IsValid() || !p.first() || !single(p.ends.Src) || !p.ends.Dst.IsValid() || p.ends.Dst.IsMulticast() ||
		p.protocol == protoICMPv6 && (len(p.payload) == 0 || isError6(p.payload[0])) {
		return
	}
	ends := Ends{Src: t.Self6, Dst: p.ends.Src}
	b := out.room()
	n := copy(b[header6+icmpHeader:maxError6], in)
	m := b[header6 : header6+icmpHeader+n]
	m[0], m[1], m[2], m[3] = kind, code, 0, 0
	binary.BigEndian.PutUint32(m[4:], value)
	binary.BigEndian.PutUint16(m[2:], pseudo6(ends, len(m)).bytes(m).checksum())
	write6(b, &packet{protocol: protoICMPv6, hops: answerHops}, ends, len(m))
	out.add(header6 + len(m))
	out.Answer = true
}

// answer4 makes an ICMPv4 error about a packet for its sender; none where RFC 1122 3.2.2 forbids it.
func (t *Translator) answer4(out *Packets, in []byte, kind, code byte, mtu uint32) {
	p, _, _ := parse4(in, true)
	if !t.Self4.IsValid() || !p.first() || !single(p.ends.Src) || !single(p.ends.Dst) ||
		p.protocol == protoICMP && (len(p.payload) == 0 || !isQuery4(p.payload[0])) {
		return
	}
	ends := Ends{Src: t.Self4, Dst: p.ends.Src}
	b := out.room()
	n := copy(b[header4+icmpHeader:maxError4], in)
	m := b[header4 : header4+icmpHeader+n]
	m[0], m[1], m[2], m[3] = kind, code, 0, 0
	binary.BigEndian.PutUint32(m[4:], mtu)
	binary.BigEndian.PutUint16(m[2:], sum(0).bytes(m).checksum())
	head := packet{protocol: protoICMP, hops: answerHops}
	if t.ID != nil {
		head.id = uint32(t.ID())
	}
	write4(b, &head, ends, len(m))
	out.add(header4 + len(m))
	out.Answer = true
}

// TooBig makes the error that a packet does not fit into a tunnel of this MTU, in bytes (RFC 2473 7.1, 7.2); none where the sender of an IPv4
// packet lets it be cut.
func (t *Translator) TooBig(out *Packets, in []byte, mtu int) {
	out.reset()
	if in[0]>>4 == 6 {
		t.answer6(out, in, tooBig6, 0, uint32(max(mtu, 1280)))
	} else if p, _, _ := parse4(in, true); p.df {
		t.answer4(out, in, unreachable4, fragmentationNeeded4, uint32(mtu))
	}
}

func isQuery4(kind byte) bool { return kind == echoRequest4 || kind == echoReply4 }

// single reports whether an address is that of one host.
func single(a netip.Addr) bool {
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
		return false
	}
	return !a.Is4() || a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
