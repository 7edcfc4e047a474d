package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/rtnl"
)

// floor is a way to write that does nothing but send: every message was made before, sockets take the next batch as they get done, and the
// kernel answers the last of each batch. What it reaches is the most that any program can on this kernel and machine.
type floor struct{ sockets, batch int }

// floors are those that are measured: as many sockets and as large batches as help, and beyond.
var floors = []floor{{1, 500}, {2, 500}, {3, 500}, {2, 100}, {2, 2000}}

// likeHexapod writes as the FIB does.
var likeHexapod = floor{2, rtnl.BulkBatch}

func (f floor) String() string {
	return fmt.Sprintf("floor of %d x %d", f.sockets, f.batch)
}

// batch is messages that go out in one send.
type batch struct {
	bytes []byte
	last  uint32 // sequence number
}

// allReady makes the messages of a floor and opens its sockets in a namespace of its own.
func (b *bed) allReady(f floor) (writing, error) {
	ns, err := b.withGroup()
	if err != nil {
		return writing{}, err
	}
	fds, err := b.sockets(ns, f.sockets)
	if err != nil {
		return writing{}, err
	}
	at := func(i int) rtnl.Route {
		return rtnl.Route{Dst: nth(i), Protocol: unix.RTPROT_STATIC, Metric: route.LearnedMetric, NextHop: firstGroup}
	}
	add := batches(rtnl.AddRoutes(b.o.routes, at, rtnl.IfAbsent), f.batch)
	del := batches(rtnl.DeleteRoutes(b.o.routes, at), f.batch)
	return writing{f.String(),
		func(ctx context.Context) error { return sendAll(ctx, fds, add) },
		func(ctx context.Context) error { return sendAll(ctx, fds, del) }}, nil
}

func (b *bed) sockets(ns *netns.NS, n int) (fds []int, err error) {
	const buffer = 4 << 20 // of the kernel, for the largest batch
	for range n {
		var fd int
		err := ns.Do(func() (err error) {
			fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
			return err
		})
		if err != nil {
			return nil, err
		}
		b.undo = append(b.undo, func() error { return unix.Close(fd) })
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, buffer),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer),
			unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
		)
		if err != nil {
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// batches writes messages as rtnl.DoBulk would, size of them in each batch.
func batches(all rtnl.Bulk, size int) (list []batch) {
	for from := 0; from < all.Len; from += size {
		to := min(from+size, all.Len)
		var out []byte
		for i := from; i < to; i++ {
			flags := unix.NLM_F_REQUEST | all.Flags
			if i == to-1 {
				flags |= unix.NLM_F_ACK
			}
			start := len(out)
			out = append(out, 0, 0, 0, 0) // the length, known below
			out = binary.NativeEndian.AppendUint16(out, all.Type)
			out = binary.NativeEndian.AppendUint16(out, flags)
			out = binary.NativeEndian.AppendUint32(out, uint32(i+1))
			out = binary.NativeEndian.AppendUint32(out, 0)
			out = all.Append(out, i)
			binary.NativeEndian.PutUint32(out[start:], uint32(len(out)-start))
		}
		list = append(list, batch{out, uint32(to)})
	}
	return list
}

// stretch is how many batches one socket takes at a time: neighbours in the kernel's tree are best written by one.
const stretch = 8

// sendAll sends batches by all sockets together.
func sendAll(ctx context.Context, fds []int, list []batch) error {
	var next atomic.Int64
	errs := make([]error, len(fds))
	var senders sync.WaitGroup
	for k, fd := range fds {
		senders.Go(func() {
			answers := make([]byte, 64<<10)
			for ctx.Err() == nil && errs[k] == nil {
				from := int(next.Add(stretch)) - stretch
				if from >= len(list) {
					return
				}
				for _, one := range list[from:min(from+stretch, len(list))] {
					if errs[k] = errors.Join(errs[k], one.send(fd, answers)); errs[k] != nil {
						return
					}
				}
			}
		})
	}
	senders.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// send sends one batch and reads the answer to its last message. Any refusal is an error.
func (b batch) send(fd int, answers []byte) error {
	if _, err := unix.Write(fd, b.bytes); err != nil {
		return fmt.Errorf("send %d bytes: %w", len(b.bytes), err)
	}
	n, err := unix.Read(fd, answers)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	const head, least = unix.SizeofNlMsghdr, unix.SizeofNlMsghdr + 4
	if n < least || binary.NativeEndian.Uint16(answers[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("an answer of %d bytes that is none", n)
	}
	if errno := unix.Errno(-int32(binary.NativeEndian.Uint32(answers[head:]))); errno != 0 || binary.NativeEndian.Uint32(answers[8:]) != b.last {
		return fmt.Errorf("message %d was answered with %w", binary.NativeEndian.Uint32(answers[8:]), errno)
	}
	return nil
}
