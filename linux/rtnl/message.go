package rtnl

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Message is one message from the kernel, without its nlmsghdr.
type Message struct {
	Type  uint16
	Flags uint16
	Seq   uint32
	Body  []byte
}

// attrType masks the flags "nested" and "network byte order" off an attribute's type (NLA_TYPE_MASK).
const attrType = 0x3fff

// maxAttr is the longest value of an attribute: its length, header included, is told in 16 bits.
const maxAttr = 1<<16 - 1 - unix.SizeofRtAttr

// split cuts the first message off b.
func split(b []byte) (m Message, rest []byte, err error) {
	if len(b) < unix.SizeofNlMsghdr {
		return Message{}, nil, fmt.Errorf("netlink message of %d bytes is shorter than its header", len(b))
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < unix.SizeofNlMsghdr || n > len(b) {
		return Message{}, nil, fmt.Errorf("netlink message claims %d of %d bytes", n, len(b))
	}
	m = Message{
		Type:  binary.NativeEndian.Uint16(b[4:]),
		Flags: binary.NativeEndian.Uint16(b[6:]),
		Seq:   binary.NativeEndian.Uint32(b[8:]),
		Body:  b[unix.SizeofNlMsghdr:n],
	}
	return m, b[min(align(n), len(b)):], nil
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// Attrs goes over the attributes in b by type, flags of the type cut off. It ends at the first broken one.
func Attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			n := int(binary.NativeEndian.Uint16(b))
			if n < unix.SizeofRtAttr || n > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&attrType, b[unix.SizeofRtAttr:n]) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

// appendAttr appends an attribute with its padding. value is at most maxAttr bytes.
func appendAttr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	for len(b)%unix.NLMSG_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func appendUint32(b []byte, typ uint16, value uint32) []byte {
	b = binary.NativeEndian.AppendUint16(b, unix.SizeofRtAttr+4)
	b = binary.NativeEndian.AppendUint16(b, typ)
	return binary.NativeEndian.AppendUint32(b, value)
}

// appendAddr appends an address in network byte order, its zone left out.
func appendAddr(b []byte, typ uint16, a netip.Addr) []byte {
	if !a.Is6() {
		return appendAttr(b, typ, a.AsSlice())
	}
	v := a.As16()
	return appendAttr(b, typ, v[:])
}

// header cuts the fixed part of n bytes off a message body.
func header(m Message, n int, name string) (head, attrs []byte, err error) {
	if len(m.Body) < n {
		return nil, nil, fmt.Errorf("%s message of %d bytes is shorter than its header of %d", name, len(m.Body), n)
	}
	return m.Body[:n], m.Body[n:], nil
}

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func u8(b []byte) uint8 {
	if len(b) < 1 {
		return 0
	}
	return b[0]
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}
