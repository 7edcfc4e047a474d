package dns

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Times of one question to one server.
const (
	tryUDP    = 800 * time.Millisecond // a datagram that is not answered by then is lost
	tryStream = 2 * time.Second        // with the handshakes of TCP and TLS
	idleTime  = 8 * time.Second        // for which an open connection is kept for the next question (RFC 7766 6.2.3)
	maxIdle   = 8                      // of one server
)

// Health of a server.
const (
	failuresDown = 3               // in a row, and the server is asked last
	downTime     = 2 * time.Second // until it is tried again; doubles up to maxDown
	maxDown      = 30 * time.Second
	caseFailures = 3 // answers in another case in a row, and the server gets no mixed case any more
)

// Errors of a question to a server.
var (
	errSilent    = errors.New("no answer in time")
	errMalformed = errors.New("an answer that cannot be read")
	errOther     = errors.New("an answer to another question")
)

// server is an upstream and how it does.
type server struct {
	Upstream
	tls   *tls.Config
	ports ports

	mu        sync.Mutex // guards all following fields
	idle      []idleConn
	failures  int
	downUntil time.Time
	downFor   time.Duration
	lastErr   error
	lowers    int // answers in a row that did not keep the case of the question
	sent      uint64
	failed    uint64
}

type idleConn struct {
	c     *dns.Conn
	since time.Time
}

func newServer(u Upstream) *server {
	s := &server{Upstream: u, ports: ports{to: u.Addr}}
	if u.Via == TLS {
		s.tls = &tls.Config{ServerName: u.Name, MinVersion: tls.VersionTLS12}
		if u.Name == "" {
			s.tls.ServerName = u.Addr.Addr().String()
		}
	}
	return s
}

// down reports whether the server failed lately.
func (s *server) down(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.downUntil)
}

// note writes down how a question went.
func (s *server) note(err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
	if err == nil {
		s.failures, s.downFor, s.downUntil, s.lastErr = 0, 0, time.Time{}, nil
		return
	}
	s.failed++
	s.lastErr = err
	if s.failures++; s.failures >= failuresDown {
		s.downFor = min(max(2*s.downFor, downTime), maxDown)
		s.downUntil = now.Add(s.downFor)
	}
}

// ask sends a question and returns the answer to it, whatever it says.
func (s *server) ask(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	r, err := s.try(ctx, m)
	if ctx.Err() == nil || err == nil { // a client that went away says nothing about the server
		s.note(err, time.Now())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Upstream, err)
	}
	return r, nil
}

func (s *server) try(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	if s.Via != UDP {
		return s.whole(ctx, m)
	}
	r, err := s.datagram(ctx, m)
	if err == nil && r.Truncated || errors.Is(err, errCase) {
		return s.whole(ctx, m)
	}
	if err == nil && r.Rcode == dns.RcodeFormatError && r.IsEdns0() == nil && m.IsEdns0() != nil { // RFC 6891 7: it knows no EDNS
		plain := m.Copy()
		plain.Extra = nil
		return s.datagram(ctx, plain)
	}
	return r, err
}

// whole asks by TCP or TLS, where every message has room.
func (s *server) whole(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	r, err := s.stream(ctx, m)
	if err == nil && r.Truncated {
		return nil, errCut
	}
	return r, err
}

// errCut says that even the answer by TCP is only a part, which must not be used as if it were the whole (RFC 2181 9).
var errCut = errors.New("an answer that is cut, by TCP as well")

// errCase says that the answer is in another case than the question. It may be forged, so the question is put by TCP.
var errCase = errors.New("an answer in another case than the question")

// datagram asks by UDP from a port that no other question waits at (RFC 5452 9.2). What does not belong to the question is not looked
// at: the right answer may still come.
func (s *server) datagram(ctx context.Context, m *dns.Msg) (r *dns.Msg, err error) {
	mixed := s.mixes()
	m.Id = random16()
	name := m.Question[0].Name
	if mixed {
		m.Question[0].Name = mixCase(name)
	}
	defer func() { m.Question[0].Name = name }()
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	packed, err := m.PackBuffer(b[:])
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c, err := s.ports.take(now)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Close()
			return
		}
		s.ports.give(c)
	}()
	until := now.Add(tryUDP)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	if err := c.SetReadDeadline(until); err != nil {
		return nil, err
	}
	if _, err := c.Write(packed); err != nil {
		return nil, err
	}
	var wrong error
	for {
		n, err := c.Read(b[:])
		if err != nil {
			if wrong != nil {
				return nil, wrong
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, errSilent
			}
			return nil, err
		}
		r, err := s.match(b[:n], m, mixed)
		if err == nil || errors.Is(err, errCase) {
			return r, err
		}
		wrong = err
	}
}

// match checks that an answer is one to the question.
func (s *server) match(b []byte, m *dns.Msg, mixed bool) (*dns.Msg, error) {
	if len(b) < headerLen || binary.BigEndian.Uint16(b) != m.Id {
		return nil, errOther
	}
	r := new(dns.Msg)
	if err := r.Unpack(b); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if !r.Response || r.Opcode != dns.OpcodeQuery {
		return nil, errOther
	}
	if len(r.Question) == 0 && r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError { // it could not read the question
		return r, nil
	}
	if len(r.Question) != 1 {
		return nil, errOther
	}
	got, want := r.Question[0], m.Question[0]
	switch {
	case got.Qtype != want.Qtype || got.Qclass != want.Qclass || dns.CanonicalName(got.Name) != dns.CanonicalName(want.Name):
		return nil, errOther
	case mixed && got.Name != want.Name:
		s.noteCase(false)
		return nil, errCase
	case mixed:
		s.noteCase(true)
	}
	return r, nil
}

func (s *server) noteCase(kept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lowers++; kept {
		s.lowers = 0
	}
}

// mixes reports whether questions to the server have mixed case: one more thing a forger must guess (draft-vixie-dnsext-dns0x20).
func (s *server) mixes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lowers < caseFailures
}

// mixCase turns each letter's case by a throw.
func mixCase(name string) string {
	b := []byte(name)
	var throws [32]byte
	_, _ = rand.Read(throws[:]) // never fails (crypto/rand)
	for i, c := range b {
		if lower := c | 0x20; 'a' <= lower && lower <= 'z' && (i == 0 || b[i-1] != '\\') {
			b[i] = lower &^ (throws[i/8%32] >> (i % 8) & 1 << 5)
		}
	}
	return string(b)
}

func random16() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint16(b[:])
}

// buffer is room for one message.
type buffer [maxMessage]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}
