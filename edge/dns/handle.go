package dns

import (
	"net/netip"

	"github.com/miekg/dns"

	"hexapod.dev/model/dns64"
)

// handle answers one message of a client. It appends the answer to out if it has one at once. If not, and waits is true, later is
// called with it by another goroutine; otherwise nothing is answered.
func (s *Server) handle(out, in []byte, from netip.Addr, udp bool, q *query, later func([]byte)) (b []byte, waits bool) {
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
	client := st.clientOf(from)
	begin := len(out)
	if out, extra, ok := s.hit(st, q, client, out); ok {
		s.counts.hits.Add(1)
		return q.reply(out[begin:], in, udp, extra), false
	}
	if !s.wait(from) {
		s.counts.overload.Add(1)
		return nil, false
	}
	mine, copied := *q, append([]byte(nil), in...)
	go func() {
		defer func() { <-s.waiting; s.waits.give(from) }()
		later(s.slow(st, &mine, copied, client, udp))
	}()
	return nil, true
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
