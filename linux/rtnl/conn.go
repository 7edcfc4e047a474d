// Package rtnl speaks rtnetlink: batches of requests, whole dumps, and subscriptions.
//
// The types here say what the kernel holds (Link, Addr, Route, Neigh) and make the messages that change it; the other
// packages of this shelf decide what should be held. The kernel works a batch off inside the send, in order, and goes on
// after a request that failed, so each request has an answer of its own.
package rtnl

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
)

const (
	// MaxBatch is how many requests go out in one send. Every one may be answered with a message of its own that has to fit
	// into the receive buffer before the send returns.
	MaxBatch = 200
	// maxSend bounds one send in bytes, below the send buffer the kernel gives by default (212,992).
	maxSend = 128 << 10
	// receiveRoom is what one reading may bring: the kernel's dumps come in pieces of at most 32 KiB.
	receiveRoom = 64 << 10
	// briefRoom is that of a Conn for few and small answers.
	briefRoom = 16 << 10
	// receiveBuffer is asked for so that the answers of a full batch never overrun it.
	receiveBuffer = 1 << 20
	// dumpTries is how often a dump is taken again because something changed meanwhile.
	dumpTries = 25
)

// ErrInterrupted is returned when the kernel's tables changed during every try of a dump, so that no whole list exists.
var ErrInterrupted = errors.New("the kernel's table changed during each of several readings; try again")

// errUnanswered is what Request.Err says of a request whose answer was lost.
var errUnanswered = errors.New("the kernel did not answer")

// Conn is a netlink socket in one namespace. It may be used from several goroutines.
type Conn struct {
	ns   string
	room int // bytes of in; 0: receiveRoom

	mu  sync.Mutex // guards all following fields
	fd  int
	seq uint32
	out []byte
	in  []byte

	news bool // an event came while answers were read
}

// Dial opens a Conn in ns; nil is the namespace of the process.
func Dial(ns *netns.NS) (*Conn, error) { return dial(ns, 0) }

// DialBrief is Dial for a Conn that lives for a few requests inside an endpoint: it takes less memory.
func DialBrief(ns *netns.NS) (*Conn, error) { return dial(ns, briefRoom) }

func dial(ns *netns.NS, room int) (*Conn, error) {
	c := &Conn{fd: -1, room: room}
	if err := inside(ns, c.open); err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	if ns != nil {
		c.ns = ns.String()
	}
	return c, nil
}

func (c *Conn) open() (err error) {
	c.fd, err = socket(unix.NETLINK_ROUTE, 0)
	return err
}

// inside runs open in ns; nil is the namespace of the process.
func inside(ns *netns.NS, open func() error) error {
	if ns == nil {
		return open()
	}
	return ns.Do(open)
}

// Join makes c receive events of a group, for Await. Answers to requests come in between as before.
func (c *Conn) Join(g Group) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g)); err != nil {
		return fmt.Errorf("netlink group %d: %w", g, err)
	}
	return nil
}

// awaitLook is how often Await looks whether its context has ended.
const awaitLook = 100 // milliseconds

// Await waits for an event of a group that was joined, or for the end of ctx. One that came while other answers were read counts: it may
// be about what was read or not. What the event says is not told: look again.
func (c *Conn) Await(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.news {
		c.news = false
		return ctx.Err()
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, awaitLook)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for changes of the network: %w", err)
		case n > 0:
			if _, err := c.receive(unix.MSG_DONTWAIT); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return fmt.Errorf("wait for changes of the network: %w", err)
			}
			return nil
		}
	}
}

// Close closes the socket.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := unix.Close(c.fd)
	c.fd = -1
	return err
}

func socket(protocol, flags int) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, protocol)
	if err != nil {
		return -1, err
	}
	// Larger buffers need CAP_NET_ADMIN; without it the default remains and a read-only user is still served.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	options := []int{
		unix.NETLINK_CAP_ACK,        // an error does not carry the request back
		unix.NETLINK_EXT_ACK,        // but says in words what is wrong
		unix.NETLINK_GET_STRICT_CHK, // dumps obey the filter in their header
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, o, 1); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("netlink option %d (kernel 4.20 or later is needed): %w", o, err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Do sends requests in order, in as few sends as MaxBatch allows, and returns the joined errors of those that failed,
// each an *Error. A request that fails does not stop those after it.
func (c *Conn) Do(requests ...*Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, r := range requests {
		if r.tooLong {
			return fmt.Errorf("%s: %w", r.what, unix.EMSGSIZE)
		}
		r.err = errUnanswered
	}
	for len(requests) > 0 {
		n, err := c.send(requests, unix.NLM_F_ACK)
		if err == nil {
			err = c.answers(requests[:n])
		}
		errs = append(errs, err)
		requests = requests[n:]
	}
	return errors.Join(errs...)
}

// send puts as many requests as fit into one message to the kernel and says how many. An acknowledgement is asked for with the flags of
// the last one alone: refusals are told in any case (netlink(7)), in order, so the silence of the others means that they were done.
func (c *Conn) send(requests []*Request, lastFlags uint16) (int, error) {
	c.out = c.out[:0]
	n, last := 0, 0
	for n < len(requests) && n < MaxBatch && (n == 0 || len(c.out)+len(requests[n].body) < maxSend) {
		c.seq++
		last = len(c.out)
		c.out = requests[n].append(c.out, c.seq)
		n++
	}
	binary.NativeEndian.PutUint16(c.out[last+6:], requests[n-1].flags|lastFlags)
	if err := c.write(); err != nil {
		return n, fmt.Errorf("%s and %d more: send to the kernel: %w", requests[0].what, n-1, err)
	}
	return n, nil
}

// write sends the send buffer. A netlink socket that is not connected writes to the kernel.
func (c *Conn) write() error {
	for {
		if _, err := unix.Write(c.fd, c.out); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// answers reads until the last request has its acknowledgement. The kernel queued all answers during the send.
func (c *Conn) answers(requests []*Request) error {
	first := c.seq - uint32(len(requests)) + 1
	var errs []error
	for ended := false; !ended; {
		b, err := c.receive(unix.MSG_DONTWAIT)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("%s and %d more: answers of the kernel are lost: %w", requests[0].what, len(requests)-1, err))...)
		}
		for len(b) > 0 {
			var m Message
			if m, b, err = split(b); err != nil {
				return errors.Join(append(errs, err)...)
			}
			i := m.Seq - first
			if i >= uint32(len(requests)) {
				c.news = true // or an answer to a batch that was given up
				continue
			}
			r := requests[i]
			if m.Type == unix.NLMSG_ERROR {
				r.err = r.acknowledged(m)
				errs = append(errs, r.err)
				ended = ended || m.Seq == c.seq
			} else if r.reply != nil {
				errs = append(errs, r.reply(m))
			}
		}
	}
	for _, r := range requests {
		if errors.Is(r.err, errUnanswered) {
			r.err = nil
		}
	}
	return errors.Join(errs...)
}

// receive returns the next datagram. It is valid until the next call.
func (c *Conn) receive(flags int) ([]byte, error) {
	if c.in == nil {
		c.in = make([]byte, cmp.Or(c.room, receiveRoom))
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.in, flags|unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n > len(c.in):
			return nil, fmt.Errorf("message of %d bytes is longer than %d", n, len(c.in))
		default:
			return c.in[:n], nil
		}
	}
}

// Dump asks for a list and calls each with every message of it, after the whole list is there. A list during which the
// kernel's table changed is taken again; ErrInterrupted is returned when that does not help.
func (c *Conn) Dump(r *Request, each func(Message) error) error {
	r.flags |= unix.NLM_F_DUMP
	c.mu.Lock()
	defer c.mu.Unlock()
	for range dumpTries {
		list, whole, err := c.dump(r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.what, err)
		}
		if !whole {
			continue
		}
		for _, m := range list {
			if err := each(m); err != nil {
				return fmt.Errorf("%s: %w", r.what, err)
			}
		}
		return nil
	}
	return fmt.Errorf("%s: %w", r.what, ErrInterrupted)
}

// dump reads one list. whole is false when the kernel says that it changed under the reader.
func (c *Conn) dump(r *Request) (list []Message, whole bool, err error) {
	if _, err := c.send([]*Request{r}, 0); err != nil {
		return nil, false, err
	}
	whole = true
	for {
		b, err := c.receive(0)
		if err != nil {
			return nil, false, err
		}
		b = append([]byte(nil), b...)
		for len(b) > 0 {
			var m Message
			if m, b, err = split(b); err != nil {
				return nil, false, err
			}
			if m.Seq != c.seq {
				c.news = true
				continue
			}
			if m.Flags&unix.NLM_F_DUMP_INTR != 0 {
				whole = false
			}
			switch m.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				return list, whole, r.acknowledged(m)
			default:
				list = append(list, m)
			}
		}
	}
}
