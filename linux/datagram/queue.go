package datagram

import (
	"bytes"
	"cmp"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxTogether is how many octets leave as one packet at most: what IPv6 carries without an extension, less its header and that of UDP.
const maxTogether = 65535 - 40 - 8

// queue is answers that wait to be sent, and how they are: each message of sendmmsg(2) is one answer, or several to one client.
type queue struct {
	count   int
	answers [Most]answer
	room    []byte // MaxOut for each answer, in the order in which they came

	calls, sent int // messages, and those that left
	headers     [Most]message
	pieces      [Most]unix.Iovec // of all answers in the order in which they leave
	sizes       [Most]segment
}

type answer struct {
	to     unix.RawSockaddrInet6
	place  int // in room
	length int
}

// segment is the control message that has the kernel part what is sent (udp(7), UDP_SEGMENT).
type segment struct {
	header unix.Cmsghdr
	size   uint16
	_      [6]byte
}

func (q *queue) add(to *unix.RawSockaddrInet6, b []byte) {
	q.answers[q.count] = answer{to: *to, place: q.count, length: copy(q.room[q.count*MaxOut:][:MaxOut], b)}
	q.count++
}

// compare orders answers by client, then the longest first: of those that leave together, the last one alone may be shorter.
func compare(a, b *answer) int {
	return cmp.Or(cmp.Compare(a.to.Port, b.to.Port), bytes.Compare(a.to.Addr[:], b.to.Addr[:]), cmp.Compare(a.to.Scope_id, b.to.Scope_id),
		cmp.Compare(b.length, a.length), cmp.Compare(a.place, b.place))
}

// lay lays all answers out to be sent.
func (q *queue) lay() {
	list := q.answers[:q.count]
	if !slices.IsSortedFunc(list, func(a, b answer) int { return compare(&a, &b) }) {
		slices.SortFunc(list, func(a, b answer) int { return compare(&a, &b) })
	}
	q.calls, q.sent = 0, 0
	for i := 0; i < q.count; {
		n, size := 1, list[i].length
		for sum := size; i+n < q.count && list[i+n-1].length == list[i].length && size > 0 && list[i+n].to == list[i].to; n++ {
			if sum += list[i+n].length; sum > maxTogether {
				break
			}
		}
		q.message(i, n)
		i += n
	}
}

// message makes a message of n answers.
func (q *queue) message(first, n int) {
	for i := first; i < first+n; i++ {
		a := &q.answers[i]
		q.pieces[i].Base = &q.room[a.place*MaxOut]
		q.pieces[i].SetLen(a.length)
	}
	h := &q.headers[q.calls].header
	*h = unix.Msghdr{Iov: &q.pieces[first], Name: (*byte)(unsafe.Pointer(&q.answers[first].to)), Namelen: unix.SizeofSockaddrInet6}
	h.SetIovlen(n)
	if n > 1 {
		c := &q.sizes[q.calls]
		c.header.Level, c.header.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.header.SetLen(unix.CmsgLen(2))
		c.size = uint16(q.answers[first].length)
		h.Control = (*byte)(unsafe.Pointer(c))
		h.SetControllen(int(unsafe.Sizeof(*c)))
	}
	q.calls++
}

// part makes messages of one answer each of the next one; false: it is such a one.
func (q *queue) part() bool {
	whole := q.headers[q.sent].header
	n := int(whole.Iovlen)
	if n == 1 {
		return false
	}
	copy(q.headers[q.sent+n:], q.headers[q.sent+1:q.calls])
	for i := range n {
		h := &q.headers[q.sent+i].header
		*h = unix.Msghdr{Iov: &unsafe.Slice(whole.Iov, n)[i], Name: whole.Name, Namelen: whole.Namelen}
		h.SetIovlen(1)
	}
	q.calls += n - 1
	return true
}
