package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// BulkBatch is how many requests of a Bulk go out in one send. Should the kernel refuse every one, the refusals still fit
// into the receive buffer.
const BulkBatch = 500

// Bulk is many small requests of one kind, for tens of thousands of routes: they are written straight into the send
// buffer, and the kernel is asked to answer the last of each send only. It answers each that it refuses in any case
// (netlink(7): an error is sent whether or not NLM_F_ACK was set), so the silence of the others means that they were done.
type Bulk struct {
	Len    int
	Type   uint16 // RTM_*
	Flags  uint16 // NLM_F_*, besides those every request has
	Fine   unix.Errno
	Append func(b []byte, i int) []byte // appends fixed part and attributes of request i
	What   func(i int) string           // act and thing, for errors
}

// DoBulk sends a Bulk in order. A refused request does not stop those after it. The kernel has answered the first done
// requests; which of them it refused is told by number. With an error, because answers were lost or ctx ended, done is less
// than all, and what became of those in the send after them is not known.
func (c *Conn) DoBulk(ctx context.Context, b Bulk) (done int, refused map[int]*Error, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	refused = map[int]*Error{}
	for from := 0; from < b.Len; {
		if err := ctx.Err(); err != nil {
			return from, refused, err
		}
		to := min(from+BulkBatch, b.Len)
		first := c.seq + 1
		c.fill(b, from, to)
		if err := c.write(); err != nil {
			return from, refused, fmt.Errorf("%s and %d more: send to the kernel: %w", b.What(from), to-from-1, err)
		}
		if err := c.refusals(b, from, first, refused); err != nil {
			return from, refused, fmt.Errorf("%s and %d more: answers of the kernel are lost: %w", b.What(from), to-from-1, err)
		}
		from = to
	}
	return b.Len, refused, nil
}

// fill writes requests from up to to into the send buffer.
func (c *Conn) fill(b Bulk, from, to int) {
	c.out = slices.Grow(c.out[:0], 96*(to-from))
	for i := from; i < to; i++ {
		flags := unix.NLM_F_REQUEST | b.Flags
		if i == to-1 {
			flags |= unix.NLM_F_ACK
		}
		c.seq++
		start := len(c.out)
		c.out = append(c.out, 0, 0, 0, 0) // the length, known below
		c.out = binary.NativeEndian.AppendUint16(c.out, b.Type)
		c.out = binary.NativeEndian.AppendUint16(c.out, flags)
		c.out = binary.NativeEndian.AppendUint32(c.out, c.seq)
		c.out = binary.NativeEndian.AppendUint32(c.out, 0)
		c.out = b.Append(c.out, i)
		binary.NativeEndian.PutUint32(c.out[start:], uint32(len(c.out)-start))
	}
}

// refusals reads until the last request sent has its answer. first is the sequence number of request from.
func (c *Conn) refusals(b Bulk, from int, first uint32, into map[int]*Error) error {
	for {
		in, err := c.receive(unix.MSG_DONTWAIT)
		if err != nil {
			return err
		}
		for len(in) > 0 {
			var m Message
			if m, in, err = split(in); err != nil {
				return err
			}
			if m.Type != unix.NLMSG_ERROR || m.Seq-first > c.seq-first {
				continue // an answer to a batch that was given up
			}
			i := from + int(m.Seq-first)
			if errno := unix.Errno(-int32(u32(m.Body))); errno != 0 && errno != b.Fine {
				var refused *Error
				errors.As((&Request{what: b.What(i)}).acknowledged(m), &refused)
				into[i] = refused
			}
			if m.Seq == c.seq {
				return nil
			}
		}
	}
}
