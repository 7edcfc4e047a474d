package lab_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/lab/probe"
	"hexapod.dev/lab/topology"
	"hexapod.dev/linux/netns/netnstest"
)

// load is what endpoints do while their agents come and go: pings every 10 ms, streams, and connections.
type load struct {
	fabric
	pings        []func() probe.Tally
	streams      []*steady
	pace         *netnstest.Pace
	made, failed atomic.Int64
	why          atomic.Pointer[string]
	cancel       context.CancelFunc
	running      sync.WaitGroup
	connects     []<-chan error
	tallies      []probe.Tally
}

// callers connect side by side: one alone cannot make a thousand connections a second.
const callers = 8

// startLoad begins with it. Of connections there are a thousand a second, or a fifth of that.
func (f fabric) startLoad(soak bool) *load {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	l := &load{fabric: f, cancel: cancel}
	f.Cleanup(cancel)
	for _, from := range []string{talker, topology.Outside} {
		stop, answered := f.stream(from, f.Addr(answerer), noneAreLost)
		answered(fresh / 10)
		l.pings = append(l.pings, stop)
		l.stream(ctx, from)
	}
	pace := 5 * time.Millisecond
	if soak {
		pace = time.Millisecond
	}
	l.connect(ctx, pace)
	return l
}

// steady is a stream of which every packet is counted at both ends.
type steady struct {
	*carried
	mu    sync.Mutex // held while a piece is sent
	bytes atomic.Int64
	base  [2]int64 // packets of each direction that are counted at one end alone, from the beginning
}

func (l *load) stream(ctx context.Context, from string) {
	l.Helper()
	s := &steady{carried: l.carry(from, answerer)}
	s.base = [2]int64{-1 << 40}
	l.eventually("a stream is quiet", func() bool {
		was := s.base
		s.base = s.missing()
		return s.acknowledged() && s.base == was
	})
	if err := s.server.SetReadDeadline(time.Time{}); err != nil {
		l.Fatal(err)
	}
	l.running.Go(func() {
		piece := make([]byte, 4096)
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				s.client.Close()
				return
			case <-tick.C:
			}
			s.mu.Lock()
			n, _ := s.client.Write(piece) // what is wrong with it shows in check
			s.mu.Unlock()
			s.bytes.Add(int64(n))
		}
	})
	l.running.Go(func() { _, _ = io.Copy(io.Discard, s.server) })
	l.streams = append(l.streams, s)
}

func (s *steady) info(c net.Conn) (info unix.TCPInfo) {
	s.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		s.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if failed = err; err == nil {
			info = *i
		}
	})
	if err := errors.Join(err, failed); err != nil {
		s.Fatal(err)
	}
	return info
}

// missing is how many packets of each direction one end has sent and the other not got.
func (s *steady) missing() [2]int64 {
	s.Helper()
	c, v := s.info(s.client), s.info(s.server)
	return [2]int64{int64(c.Segs_out) - int64(v.Segs_in), int64(v.Segs_out) - int64(c.Segs_in)}
}

func (s *steady) acknowledged() bool {
	s.Helper()
	i := s.info(s.client)
	return i.Unacked == 0 && i.Notsent_bytes == 0
}

// connect makes connections of one byte, which the answerer sends back.
func (l *load) connect(ctx context.Context, pace time.Duration) {
	l.Helper()
	l.exec(talker, "sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=0") // more connections than ports
	in, err := l.Inside(answerer)
	if err != nil {
		l.Fatal(err)
	}
	var server net.Listener
	if err := in(func() (err error) { server, err = net.Listen("tcp6", "[::]:0"); return err }); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { server.Close() })
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	to := netip.AddrPortFrom(l.Addr(answerer), uint16(server.Addr().(*net.TCPAddr).Port))
	l.pace = netnstest.NewPace(pace)
	for range callers {
		l.connects = append(l.connects, l.inside(ctx, talker, func(ctx context.Context) error {
			for l.pace.Await(ctx.Done()) {
				if err := greet(to); err != nil {
					text := err.Error()
					l.why.Store(&text)
					l.failed.Add(1)
					continue
				}
				l.made.Add(1)
			}
			return nil
		}))
	}
}

// greet makes one connection from the namespace of the thread.
func greet(to netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(bound / time.Second)}); err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}); err != nil {
		return err
	}
	b := []byte{1}
	if _, err := unix.Write(fd, b); err != nil {
		return err
	}
	if n, _, err := netnstest.Receive(fd, b); err != nil || n != 1 {
		return errors.Join(err, fmt.Errorf("answer of %d bytes", n))
	}
	return nil
}

// check waits until what was sent has come, and fails for what has not. A packet that was sent again because somebody had no time to answer is
// none that was lost.
func (l *load) check(when string) {
	l.Helper()
	for _, s := range l.streams {
		s.mu.Lock()
		l.eventually(fmt.Sprintf("%s: every packet of a stream arrived at its other end (%d of its client and %d of its server were lost)", when,
			s.missing()[0]-s.base[0], s.missing()[1]-s.base[1]), func() bool { return s.acknowledged() && s.missing() == s.base })
		s.mu.Unlock()
	}
	before := l.made.Load()
	l.eventually("connections are made", func() bool { return l.made.Load() > before+10 })
	if n := l.failed.Swap(0); n > 0 {
		l.Errorf("%s: %d connections failed: %s", when, n, *l.why.Load())
	}
}

func (l *load) stop() {
	l.Helper()
	for _, stop := range l.pings {
		t := stop()
		if t.Lost > 0 || t.Sent == 0 {
			l.Errorf("pings: %v", t)
		}
		l.tallies = append(l.tallies, t)
	}
	l.cancel()
	l.running.Wait()
	for _, ended := range l.connects {
		if err := <-ended; err != nil {
			l.Error(err)
		}
	}
}

func (l *load) String() string {
	sent, lost, bytes := 0, 0, int64(0)
	for _, t := range l.tallies {
		sent, lost = sent+t.Sent, lost+t.Lost
	}
	for _, s := range l.streams {
		bytes += s.bytes.Load()
	}
	return fmt.Sprintf("%d pings, %d lost, %d connections (%.0f a second), %d bytes in %d streams;", sent, lost, l.made.Load(), l.pace.Rate(), bytes, len(l.streams))
}
