package dns

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// stream asks by TCP or TLS. A connection that was kept may have been closed by the other side meanwhile: then a new one is opened.
func (s *server) stream(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryStream)
	defer cancel()
	m.Id = random16()
	if c := s.kept(time.Now()); c != nil {
		if r, err := s.over(ctx, c, m); err == nil {
			return r, nil
		}
	}
	c, err := s.dial(ctx)
	if err != nil {
		return nil, silent(ctx, err)
	}
	r, err := s.over(ctx, c, m)
	return r, silent(ctx, err)
}

// silent names a deadline as what it is.
func silent(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errSilent
	}
	return err
}

func (s *server) dial(ctx context.Context) (*dns.Conn, error) {
	var d net.Dialer
	if s.tls != nil {
		c, err := (&tls.Dialer{NetDialer: &d, Config: s.tls}).DialContext(ctx, "tcp", s.Addr.String())
		if err != nil {
			return nil, err
		}
		return &dns.Conn{Conn: c}, nil
	}
	c, err := d.DialContext(ctx, "tcp", s.Addr.String())
	if err != nil {
		return nil, err
	}
	return &dns.Conn{Conn: c}, nil
}

// over asks on a connection, and keeps it if it did well.
func (s *server) over(ctx context.Context, c *dns.Conn, m *dns.Msg) (r *dns.Msg, err error) {
	defer func() {
		if err != nil {
			c.Close()
			return
		}
		s.keep(c, time.Now())
	}()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if err := c.WriteMsg(m); err != nil {
		return nil, err
	}
	b, err := c.ReadMsgHeader(nil)
	if err != nil {
		return nil, fmt.Errorf("by TCP: %w", err)
	}
	if !stop() { // it is being closed
		return nil, ctx.Err()
	}
	return s.match(b, m, false)
}

// kept takes the connection used last that is not too old.
func (s *server) kept(now time.Time) *dns.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.idle) > 0 {
		last := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if now.Sub(last.since) < idleTime {
			return last.c
		}
		last.c.Close()
	}
	return nil
}

func (s *server) keep(c *dns.Conn, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) >= maxIdle {
		c.Close()
		return
	}
	s.idle = append(s.idle, idleConn{c, now})
}

// close ends what is kept.
func (s *server) close() {
	s.ports.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.idle {
		i.c.Close()
	}
	s.idle = nil
}
