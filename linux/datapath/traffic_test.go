package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// load is what endpoints do while their host is changed: a ping every 10 ms, streams, and a thousand connections a second.
type load struct {
	pings   []*pinger
	streams []*stream
	pace    *netnstest.Pace
	made    atomic.Int64 // connections that were answered
	failed  atomic.Int64
	why     atomic.Pointer[string]
	done    chan struct{}
	running sync.WaitGroup
	idle    chan struct{} // closed when no client waits for an answer any more
	serving sync.WaitGroup
}

const (
	streamPort = 7100
	answerPort = 7101
	callers    = 8 // that connect, and that answer, side by side: one alone cannot make a thousand connections a second
)

func startLoad(t *testing.T, b *bench) *load {
	t.Helper()
	l := &load{done: make(chan struct{}), idle: make(chan struct{})}
	t.Cleanup(l.stop)
	netnstest.Run(t, b.pods[1].ns, "sysctl -qw net.ipv4.tcp_max_tw_buckets=0") // more connections than ports
	sinks := map[*netns.NS]int{b.far: listenIn(t, b.far, streamPort), b.pods[1].ns: listenIn(t, b.pods[1].ns, streamPort)}
	listener := listenIn(t, b.far, answerPort)
	for range callers {
		l.answer(listener)
	}
	l.ping(t, b.pods[0].ns, outside)
	l.ping(t, b.pods[0].ns, b.pods[1].addr)
	l.ping(t, b.far, b.pods[1].addr)
	l.stream(t, b.pods[0].ns, outside, sinks[b.far])
	l.stream(t, b.pods[0].ns, b.pods[1].addr, sinks[b.pods[1].ns])
	l.connect(b.pods[1].ns, outside)
	return l
}

// every calls f again and again until the load is stopped.
func (l *load) every(d time.Duration, f func()) {
	l.running.Go(func() {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-l.done:
				return
			}
		}
	})
}

func (l *load) stop() {
	select {
	case <-l.done:
	default:
		close(l.done)
		l.running.Wait()
		close(l.idle)
		l.serving.Wait()
	}
}

// check waits until all that was sent has come, and fails for what has not.
func (l *load) check(t *testing.T) {
	t.Helper()
	for _, p := range l.pings {
		upTo := p.sent.Load()
		eventually(t, fmt.Sprintf("pings of %v are answered: of %d the answers to %d are missing", p.to, upTo, upTo-p.answered.Load()), func() bool {
			return p.answered.Load() >= upTo
		})
	}
	for _, s := range l.streams {
		s.check(t)
	}
	before := l.made.Load()
	eventually(t, "connections are made", func() bool { return l.made.Load() > before+10 })
	if n := l.failed.Swap(0); n > 0 {
		t.Errorf("%d connections failed: %s", n, *l.why.Load())
	}
}

func (l *load) String() string {
	sent, bytes := int64(0), int64(0)
	for _, p := range l.pings {
		sent += p.sent.Load()
	}
	for _, s := range l.streams {
		bytes += s.bytes.Load()
	}
	return fmt.Sprintf("%d pings, %d connections (%.0f a second), %d bytes in %d streams", sent, l.made.Load(), l.pace.Rate(), bytes, len(l.streams))
}

// pinger counts answers. Each ping has its own number, and is answered once.
type pinger struct {
	to             netip.Addr
	sent, answered atomic.Int64
}

func (l *load) ping(t *testing.T, ns *netns.NS, to netip.Addr) {
	t.Helper()
	p := &pinger{to: to}
	fd := socketIn(t, ns, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
	id := uint16(len(l.pings) + 77)
	b := []byte{128, 0, 0, 0, byte(id >> 8), byte(id), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	l.every(10*time.Millisecond, func() {
		n := p.sent.Load() + 1
		put16(b[6:], uint16(n))
		binary.BigEndian.PutUint64(b[8:], uint64(n))
		if unix.Sendto(fd, b, 0, &unix.SockaddrInet6{Addr: to.As16()}) == nil {
			p.sent.Store(n)
		}
	})
	l.running.Go(func() {
		in := make([]byte, 1500)
		got := map[uint64]bool{}
		for {
			select {
			case <-l.done:
				return
			default:
			}
			n, _, err := unix.Recvfrom(fd, in, 0)
			if err != nil || n != len(b) || in[0] != 129 || binary.BigEndian.Uint16(in[4:]) != id {
				continue
			}
			if number := binary.BigEndian.Uint64(in[8:]); !got[number] {
				got[number] = true
				p.answered.Add(1)
			}
		}
	})
	l.pings = append(l.pings, p)
}

// stream is one TCP connection, both ends of it.
type stream struct {
	client, server int
	bytes          atomic.Int64
	mu             sync.Mutex // held while a piece is sent
	base           [2]int64   // packets of each direction that are counted at one end alone, from the beginning
}

func (l *load) stream(t *testing.T, ns *netns.NS, to netip.Addr, listener int) {
	t.Helper()
	s := &stream{client: socketIn(t, ns, unix.SOCK_STREAM, 0)}
	must(t, unix.Connect(s.client, &unix.SockaddrInet6{Port: streamPort, Addr: to.As16()}))
	var err error
	s.server, _, err = unix.Accept(listener)
	must(t, err)
	must(t, unix.SetsockoptTimeval(s.server, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	t.Cleanup(func() { unix.Close(s.server) })
	s.base = s.missing(t)
	piece := make([]byte, 4096)
	l.every(time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if n, err := unix.SendmsgN(s.client, piece, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err == nil {
			s.bytes.Add(int64(n))
		}
	})
	l.running.Go(func() {
		in := make([]byte, 1<<16)
		for {
			select {
			case <-l.done:
				return
			default:
			}
			if n, err := unix.Read(s.server, in); err == nil && n == 0 {
				return
			}
		}
	})
	l.streams = append(l.streams, s)
}

// missing is how many packets of each direction one end has sent and the other not got.
func (s *stream) missing(t *testing.T) [2]int64 {
	t.Helper()
	c, err := unix.GetsockoptTCPInfo(s.client, unix.IPPROTO_TCP, unix.TCP_INFO)
	must(t, err)
	v, err := unix.GetsockoptTCPInfo(s.server, unix.IPPROTO_TCP, unix.TCP_INFO)
	must(t, err)
	return [2]int64{int64(c.Segs_out) - int64(v.Segs_in), int64(v.Segs_out) - int64(c.Segs_in)}
}

// check compares the packets that one end has sent with those that the other has got: a packet that was sent again, because somebody had
// no time to answer, is none that was lost.
func (s *stream) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	eventually(t, "a stream is acknowledged", func() bool {
		c, err := unix.GetsockoptTCPInfo(s.client, unix.IPPROTO_TCP, unix.TCP_INFO)
		must(t, err)
		return c.Unacked == 0 && c.Notsent_bytes == 0
	})
	var have [2]int64
	settle(t, 1, func() int64 {
		if have = s.missing(t); have == s.base {
			return 1
		}
		return 0
	})
	if have != s.base {
		t.Errorf("packets of a stream were lost: %d from its client, %d from its server", have[0]-s.base[0], have[1]-s.base[1])
		s.base = have
	}
}

// answer serves connections of one byte each.
func (l *load) answer(listener int) {
	l.serving.Go(func() {
		for b := make([]byte, 1); ; {
			select {
			case <-l.idle:
				return
			default:
			}
			fd, _, err := unix.Accept(listener)
			if err != nil {
				continue // nobody for a while
			}
			_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}) // not that of the listener
			if n, _, err := netnstest.Receive(fd, b); err == nil && n == 1 {
				_, _ = unix.Write(fd, b)
				_, _, _ = netnstest.Receive(fd, b) // until the client has closed
			}
			unix.Close(fd)
		}
	})
}

// connect makes a thousand connections a second.
func (l *load) connect(ns *netns.NS, to netip.Addr) {
	one := func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		b := []byte{1}
		if err := unix.Connect(fd, &unix.SockaddrInet6{Port: answerPort, Addr: to.As16()}); err != nil {
			return err
		}
		if _, err := unix.Write(fd, b); err != nil {
			return err
		}
		if n, _, err := netnstest.Receive(fd, b); err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("answer of %d bytes", n))
		}
		return nil
	}
	fail := func(err error) {
		text := err.Error()
		l.why.Store(&text)
		l.failed.Add(1)
	}
	l.pace = netnstest.NewPace(time.Millisecond)
	for range callers {
		l.running.Go(func() {
			err := ns.Do(func() error {
				for l.pace.Await(l.done) {
					if err := one(); err != nil {
						fail(err)
						continue
					}
					l.made.Add(1)
				}
				return nil
			})
			if err != nil {
				fail(err)
			}
		})
	}
}

func openIn(ns *netns.NS, kind, proto int) (fd int, err error) {
	err = ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC, proto)
		return err
	})
	return fd, err
}

func socketIn(t *testing.T, ns *netns.NS, kind, proto int) int {
	t.Helper()
	fd, err := openIn(ns, kind, proto)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func listenIn(t *testing.T, ns *netns.NS, port int) int {
	t.Helper()
	fd := socketIn(t, ns, unix.SOCK_STREAM, 0)
	must(t, unix.Bind(fd, &unix.SockaddrInet6{Port: port}))
	must(t, unix.Listen(fd, 1024))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	return fd
}
