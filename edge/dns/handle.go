package dns

import (
	"net/netip"

	"github.com/miekg/dns"

	"hexapod.dev/model/dns64"
)

// handle answers one message of a client at a time of the cache's clock. It appends the answer to out if there is one at once; nil:
// there is none. missed says that it must be made: q is what begin wants.
func (s *Server) handle(out, in []byte, from netip.Addr, udp bool, q *query, now uint32) (b []byte, missed bool) {
	s.counts.queries.Add(1)
	st := s.state.Load()
	from = canonicalAddr(from)
	if !holds(st.Allow, from) { // an answer would make this an amplifier
		s.counts.stranger.Add(1)
		return nil, false
	}
	switch verdict := q.read(in); {
	case verdict == dropIt:
		s.counts.malformed.Add(1)
		return nil, false
	case verdict != answerIt:
		s.counts.malformed.Add(1)
		if verdict == formErr || verdict == notImp {
			q.question, q.edns = 0, false
		}
		return q.fail(out, in, verdict, noExtra), false
	case q.qtype == typeOPT || 249 <= q.qtype && q.qtype <= 254: // RFC 6895 3.1: transfers, TKEY, TSIG, mail of old
		return q.fail(out, in, refused, noExtra), false
	}
	begin := len(out)
	if out, extra, ok := s.hit(st, q, st.clientOf(from), out, now); ok {
		s.counts.hits.Add(1)
		return q.reply(out[begin:], in, udp, extra), false
	}
	return nil, true
}

// begin has an answer made by another goroutine, and later called with it; nil: there is none. It reports false if too many wait.
func (s *Server) begin(q *query, in []byte, from netip.Addr, udp bool, later func([]byte)) bool {
	from = canonicalAddr(from)
	if !s.wait(from) {
		s.counts.overload.Add(1)
		later(nil)
		return false
	}
	st := s.state.Load()
	mine, copied := *q, append([]byte(nil), in...)
	go func() {
		defer func() { <-s.waiting; s.waits.give(from) }()
		later(s.slow(st, &mine, copied, st.clientOf(from), udp))
	}()
	return true
}

// wait takes a place among those that wait, if there is one for this client.
func (s *Server) wait(client netip.Addr) bool {
	if !s.waits.take(client) {
		return false
	}
	select {
	case s.waiting <- struct{}{}:
		return true
	default:
		s.waits.give(client)
		return false
	}
}

// slow answers what is not remembered.
func (s *Server) slow(st *state, q *query, in []byte, client dns64.Client, udp bool) []byte {
	name, _, err := dns.UnpackDomainName(q.name(), 0)
	if err != nil {
		return q.fail(nil, in, formErr, noExtra)
	}
	p := s.make(st, dns64.Question{Name: name, Type: q.qtype, Class: q.qclass, DO: q.do, CD: q.cd()}, client)
	if len(p.message) < headerLen+q.question {
		return q.fail(nil, in, int(dns64.ServFail), noExtra)
	}
	return q.reply(append(make([]byte, 0, len(p.message)+32), p.message...), in, udp, p.extra)
}
