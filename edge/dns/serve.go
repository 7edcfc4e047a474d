package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Limits of TCP clients (RFC 7766 6.2).
const (
	maxTCP       = 1024             // connections
	tcpIdle      = 10 * time.Second // until a client that asks nothing is let go
	tcpWrite     = 5 * time.Second  // for a client to take an answer
	maxPipelined = 32               // questions of one connection that wait at a time
)

// Datagrams is a UDP socket whose messages come and go in batches.
type Datagrams interface {
	// Read waits for messages and returns how many came. Those of the Read before are gone.
	Read() (int, error)
	// Message is one of those that came, and who sent it; nil: it is too long to be a question.
	Message(i int) ([]byte, netip.Addr)
	// Answer has an answer of up to 1,232 octets to message i sent, by the next Flush at the latest.
	Answer(i int, b []byte)
	Flush()
	// Later returns a function that sends one answer to message i, at any time and by any goroutine.
	Later(i int) func([]byte)
	SetReadDeadline(t time.Time) error
}

// Serve answers on sockets until ctx ends, and returns when nobody waits any more. The sockets stay open: they belong to the caller.
func (s *Server) Serve(ctx context.Context, datagrams []Datagrams, streams []*net.TCPListener) error {
	var wait sync.WaitGroup
	failed := make(chan error, len(datagrams)+len(streams))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	past := time.Unix(1, 0)
	for _, c := range datagrams {
		wait.Go(func() { failed <- s.serveUDP(ctx, c, &wait) })
		defer context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(past) })()
	}
	slots := make(chan struct{}, maxTCP)
	for _, l := range streams {
		wait.Go(func() { failed <- s.serveTCP(ctx, l, slots, &wait) })
		defer context.AfterFunc(ctx, func() { _ = l.SetDeadline(past) })()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	wait.Wait()
	for _, c := range datagrams {
		err = errors.Join(err, c.SetReadDeadline(time.Time{}))
	}
	for _, l := range streams {
		err = errors.Join(err, l.SetDeadline(time.Time{}))
	}
	return err
}

// serveUDP answers the datagrams of one socket. What is remembered is answered here, a batch at a time; for the rest, others wait.
func (s *Server) serveUDP(ctx context.Context, c Datagrams, wait *sync.WaitGroup) error {
	out := make([]byte, 0, maxMessage)
	var q query
	for {
		n, err := c.Read()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				return err
			}
			continue // an ICMP error about an answer
		}
		now := s.now()
		for i := range n {
			in, from := c.Message(i)
			b, missed := s.handle(out[:0], in, from, true, &q, now)
			switch {
			case b != nil:
				c.Answer(i, b)
			case missed:
				later := c.Later(i)
				wait.Add(1)
				s.begin(&q, in, from, true, func(b []byte) {
					defer wait.Done()
					if b != nil {
						later(b)
					}
				})
			}
		}
		c.Flush()
	}
}

// serveTCP accepts connections. Beyond the limit, new ones wait in the kernel.
func (s *Server) serveTCP(ctx context.Context, l *net.TCPListener, slots chan struct{}, wait *sync.WaitGroup) error {
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.AcceptTCP()
		if err != nil {
			<-slots
			var ne net.Error
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, net.ErrClosed), errors.As(err, &ne) && ne.Timeout():
				return err
			}
			s.log.Warn("a TCP client is not let in", "error", err)
			select { // out of files or memory: others end meanwhile
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		from := clientOf(c)
		if !s.admit(from) {
			c.Close()
			<-slots
			continue
		}
		wait.Go(func() {
			defer func() { s.streams.give(from); <-slots }()
			defer c.Close()
			stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
			defer stop()
			s.converse(ctx, c, from)
		})
	}
}

// admit takes a place for a connection of a client that is answered here at all and does not have too many.
func (s *Server) admit(from netip.Addr) bool {
	refused := &s.counts.stranger
	if holds(s.state.Load().Allow, from) {
		if s.streams.take(from) {
			return true
		}
		refused = &s.counts.overload
	}
	s.counts.queries.Add(1) // as the question that it would have begun with
	refused.Add(1)
	return false
}

// clientOf is the address of who connected; the zero value if it is gone already.
func clientOf(c *net.TCPConn) netip.Addr {
	if peer, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return canonicalAddr(peer.AddrPort().Addr())
	}
	return netip.Addr{}
}

// converse answers the questions of one connection, each as soon as it can (RFC 7766 6.2.1.1, 7).
func (s *Server) converse(ctx context.Context, c *net.TCPConn, from netip.Addr) {
	in, q := make([]byte, 2+plainUDP), new(query)
	var mu sync.Mutex // one answer at a time
	write := func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		_ = c.SetWriteDeadline(time.Now().Add(tcpWrite))
		framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b)))
		if _, err := c.Write(append(framed, b...)); err != nil {
			c.Close()
		}
	}
	var wait sync.WaitGroup
	defer wait.Wait()
	pipelined := make(chan struct{}, maxPipelined)
	for ctx.Err() == nil {
		if c.SetReadDeadline(time.Now().Add(tcpIdle)) != nil || ctx.Err() != nil {
			return
		}
		n, err := readStream(c, &in)
		if err != nil {
			return
		}
		b, missed := s.handle(nil, in[:n], from, false, q, s.now())
		switch {
		case b != nil:
			write(b)
		case missed:
			pipelined <- struct{}{}
			wait.Add(1)
			taken := s.begin(q, in[:n], from, false, func(b []byte) {
				defer wait.Done()
				defer func() { <-pipelined }()
				if b != nil {
					write(b)
				}
			})
			if !taken {
				return
			}
		default: // a stranger, or no question: nothing good comes after it
			return
		}
	}
}

// readStream reads one message behind its length (RFC 1035 4.2.2).
func readStream(c io.Reader, in *[]byte) (int, error) {
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > len(*in) {
		*in = make([]byte, n)
	}
	_, err := io.ReadFull(c, (*in)[:n])
	return n, err
}
