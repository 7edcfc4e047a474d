package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
)

// wire hears the packets of a namespace's link.
type wire struct{ fd int }

func openWire(ns *netns.NS) (*wire, error) {
	w := &wire{}
	protocol := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IPV6 >> 8, unix.ETH_P_IPV6 & 0xff})
	err := ns.Do(func() (err error) {
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(protocol))
		return err
	})
	if err == nil {
		err = errors.Join(unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}))
	}
	return w, err
}

func (w *wire) close() error { return unix.Close(w.fd) }

// update waits for the first segment that begins with an UPDATE that withdraws or announces something, and returns when
// the kernel had it. An End-of-RIB is too short to be one (RFC 4724 section 2).
func (w *wire) update(ctx context.Context) (time.Time, error) {
	const ipv6, shortest = 40, 64
	packet, control := make([]byte, 2048), make([]byte, 128)
	for ctx.Err() == nil {
		n, c, _, _, err := unix.Recvmsg(w.fd, packet, control, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		p := packet[:n]
		if n < ipv6+20 || p[6] != unix.IPPROTO_TCP {
			continue
		}
		from, to := binary.BigEndian.Uint16(p[ipv6:]), binary.BigEndian.Uint16(p[ipv6+2:])
		bgp := p[min(n, ipv6+int(p[ipv6+12]>>4)*4):]
		if from != 179 && to != 179 || len(bgp) < shortest || bgp[0] != 0xff || bgp[18] != 2 {
			continue
		}
		messages, err := unix.ParseSocketControlMessage(control[:c])
		if err != nil || len(messages) == 0 || len(messages[0].Data) < 16 {
			return time.Time{}, fmt.Errorf("the kernel told no time of a packet: %w", err)
		}
		d := messages[0].Data
		return time.Unix(int64(binary.NativeEndian.Uint64(d)), int64(binary.NativeEndian.Uint64(d[8:]))), nil
	}
	return time.Time{}, ctx.Err()
}

// entries waits until the kernel of ns holds n routes and returns when it did. The kernel counts them for anybody who
// asks, at no cost for whoever writes them.
func entries(ctx context.Context, ns *netns.NS, n int) (at time.Time, err error) {
	err = ns.Do(func() error {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			have, err := counted()
			if err != nil {
				return err
			}
			if have == n {
				at = time.Now()
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%d routes in the kernel, want %d: %w", have, n, ctx.Err())
			case <-tick.C:
			}
		}
	})
	return at, err
}

// counted is fib_rt_entries of the namespace of this thread.
func counted() (int, error) {
	text, err := os.ReadFile("/proc/thread-self/net/rt6_stats")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 4 {
		return 0, fmt.Errorf("rt6_stats: %q", text)
	}
	n, err := strconv.ParseInt(fields[3], 16, 64)
	return int(n), err
}
