package rtnl

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Request is one rtnetlink message to the kernel (rtnetlink(7)).
type Request struct {
	what  string // "add route 2001:db8::/64": the thing and the act, for errors
	typ   uint16
	flags uint16
	body  []byte
	fine  []unix.Errno
	reply func(Message) error // takes what the kernel answers besides the acknowledgement
	found func(unix.Errno)    // told about an errno that is fine
	err   error               // how the last Do ended for it

	tooLong bool // it has an attribute longer than maxAttr
}

// NewRequest starts a message. what names act and thing for errors, header is the fixed part that follows nlmsghdr.
func NewRequest(what string, typ, flags int, header []byte) *Request {
	return &Request{what: what, typ: uint16(typ), flags: unix.NLM_F_REQUEST | uint16(flags), body: header}
}

// Fine makes errors count as success: ENOENT for a delete, EEXIST for an add. It returns r.
func (r *Request) Fine(errs ...unix.Errno) *Request {
	r.fine = append(r.fine, errs...)
	return r
}

// OnFine calls f when the request ended with an errno that is fine. It returns r.
func (r *Request) OnFine(f func(unix.Errno)) *Request {
	r.found = f
	return r
}

// OnReply calls f with each message the kernel answers with. It returns r.
func (r *Request) OnReply(f func(Message) error) *Request {
	r.reply = f
	return r
}

// Bytes appends an attribute. One that does not fit into the 16 bits of its length makes Do refuse the request.
func (r *Request) Bytes(typ uint16, value []byte) {
	if len(value) > maxAttr {
		r.tooLong = true
		return
	}
	r.body = appendAttr(r.body, typ, value)
}

// Uint32 appends an attribute of 32 bits in the machine's byte order.
func (r *Request) Uint32(typ uint16, value uint32) { r.body = appendUint32(r.body, typ, value) }

// Uint8 appends an attribute of one byte.
func (r *Request) Uint8(typ uint16, value uint8) { r.Bytes(typ, []byte{value}) }

// Text appends an attribute that ends in a zero byte.
func (r *Request) Text(typ uint16, value string) { r.Bytes(typ, append([]byte(value), 0)) }

// Addr appends an address in network byte order.
func (r *Request) Addr(typ uint16, a netip.Addr) { r.body = appendAddr(r.body, typ, a) }

// Nest appends an attribute that holds what f appends.
func (r *Request) Nest(typ uint16, f func()) {
	start := len(r.body)
	r.Bytes(typ, nil)
	f()
	if len(r.body)-start > unix.SizeofRtAttr+maxAttr {
		r.tooLong = true
		return
	}
	binary.NativeEndian.PutUint16(r.body[start:], uint16(len(r.body)-start))
}

// append adds the whole message to b.
func (r *Request) append(b []byte, seq uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+len(r.body)))
	b = binary.NativeEndian.AppendUint16(b, r.typ)
	b = binary.NativeEndian.AppendUint16(b, r.flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, r.body...)
	for len(b)%unix.NLMSG_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func (r *Request) isFine(errno unix.Errno) bool { return slices.Contains(r.fine, errno) }

// Part is what another table wants on a link that is only being made, so that all of it goes out in one send.
type Part struct {
	// Request makes the message once the index of the link is known. The kernel's EEXIST is fine there.
	Request func(index int) *Request
	// Exists is called after the send when the kernel answered EEXIST: it compares, repairs, or reports the conflict.
	Exists func() error
}

// String names act and thing: "add address 2001:db8::1/128 to link eth0".
func (r *Request) String() string { return r.what }

// Err tells how the last Do ended for this request.
func (r *Request) Err() error { return r.err }
