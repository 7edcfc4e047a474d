package nat64

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/gateway"
	"hexapod.dev/model/xlat/nat64"
)

// strange tells which gateway may have the binding of a packet that has none here although its address of the pool is this gateway's now: one that
// may live and be reached, although its words are not heard. false: nobody, or the packet is one to make a binding for.
func (t *Translator) strange(b []byte, a netip.Addr) (gateway.Member, bool) {
	if b[0]>>4 == 6 {
		first := t.group.First(a)
		end, begun := begunBy(b)
		return first, begun && t.group.Unheard(first) && !t.table.HasEnd(end, unix.IPPROTO_TCP)
	}
	protocol, port, ok := portOf(b)
	block, in := nat64.BlockOf(a, port)
	if !ok || !in {
		return gateway.Member{}, false
	}
	giver := t.group.Giver(block)
	return giver, t.group.Unheard(giver) && !t.table.HasPort(netip.AddrPortFrom(a, port), protocol)
}

// begunBy is the end of an endpoint whose TCP segment begins nothing; false: it is another packet.
func begunBy(b []byte) (netip.AddrPort, bool) {
	const (
		tcpFlags = 40 + 13
		flagSYN  = 2
	)
	if len(b) <= tcpFlags || b[6] != unix.IPPROTO_TCP || b[tcpFlags]&flagSYN != 0 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:])), binary.BigEndian.Uint16(b[40:])), true
}

// portOf is the port of the pool that a packet from outside is about: an ICMP error is about the packet that it quotes. false: it names none.
func portOf(b []byte) (protocol uint8, port uint16, ok bool) {
	protocol, rest, ok := upper(b)
	if !ok {
		return 0, 0, false
	}
	switch {
	case protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_UDP:
		return protocol, binary.BigEndian.Uint16(rest[2:]), true
	case protocol != unix.IPPROTO_ICMP:
		return 0, 0, false
	case rest[0] == icmpEcho || rest[0] == icmpEchoReply:
		return protocol, binary.BigEndian.Uint16(rest[4:]), true
	}
	protocol, rest, ok = upper(rest[8:]) // it went out: the pool's port is its source
	switch {
	case ok && protocol == unix.IPPROTO_ICMP:
		return protocol, binary.BigEndian.Uint16(rest[4:]), true
	case ok && (protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_UDP):
		return protocol, binary.BigEndian.Uint16(rest), true
	}
	return 0, 0, false
}

// upper is the protocol of an IPv4 packet that is the first of its fragments, and what follows its header, 8 bytes at least.
func upper(b []byte) (protocol uint8, rest []byte, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return 0, nil, false
	}
	head := int(b[0]&15) * 4
	if head < 20 || len(b) < head+8 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return 0, nil, false
	}
	return b[9], b[head:], true
}

// Types of ICMPv4 messages that carry an identifier (RFC 792).
const (
	icmpEchoReply = 0
	icmpEcho      = 8
)
