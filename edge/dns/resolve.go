package dns

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"hexapod.dev/model/dns64"
)

// patience is how long AAAA may take before A is asked for beside it. Names that do not exist cost one question, and a server that
// is silent about AAAA alone (RFC 4074) costs little time.
const patience = 400 * time.Millisecond

// Times to live of what has none of its own, in seconds.
const (
	failureTTL  = 1   // RFC 9520 3.2: a failure is remembered, for at least a second
	negativeTTL = 900 // at most (RFC 2308 5 allows three hours)
)

// Extended errors that are said here (RFC 8914).
const (
	extraFiltered  = dns.ExtendedErrorCodeFiltered
	extraNobody    = dns.ExtendedErrorCodeNoReachableAuthority
	extraLoop      = dns.ExtendedErrorCodeOther
	extraBogusSelf = dns.ExtendedErrorCodeDNSBogus
)

// Asked is one question that was put while an answer was made.
type Asked struct {
	Name    string        `json:"name"`
	Type    string        `json:"type"`
	From    string        `json:"from"` // the server, or "cache"
	Rcode   string        `json:"rcode"`
	Answer  []string      `json:"answer,omitempty"`
	Failure string        `json:"failure,omitempty"`
	Took    time.Duration `json:"took"`
}

// resolution is the making of one answer.
type resolution struct {
	s      *Server
	st     *state
	q      dns64.Question
	client dns64.Client
	trace  func(Asked) // nil: nobody looks on
}

// finished is an answer, and why it is so.
type finished struct {
	msg   *dns.Msg
	extra uint16
	why   dns64.Why
}

// run makes the answer.
func (r *resolution) run(ctx context.Context) finished {
	p := &r.st.Policy
	step := p.First(r.q, r.client)
	var list []dns.RR
	switch step.Act {
	case dns64.Known:
		return r.finish(step.Reply, nil, nil, nil)
	case dns64.Ask:
		return r.synthesise(ctx)
	case dns64.Map:
		f := r.lookup(ctx, step.Then, dns64.TypePTR)
		return r.finish(p.Reverse(r.q, step.Then, f.answerOf(&list)), nil, f, list)
	case dns64.Filter:
		f := r.lookup(ctx, r.q.Name, r.q.Type)
		done := r.finish(p.WithoutA(r.q, f.answerOf(&list)), f, nil, list)
		if done.why == dns64.AFiltered {
			done.extra = extraFiltered
		}
		return done
	}
	f := r.lookup(ctx, r.q.Name, r.q.Type)
	why := step.Why
	if f.failed != nil {
		why = dns64.Failed
	}
	return finished{f.msg, f.extra, why}
}

// synthesise asks for AAAA, and for A if that is not the answer.
func (r *resolution) synthesise(ctx context.Context) finished {
	first := make(chan *found, 1)
	go func() { first <- r.lookup(ctx, r.q.Name, dns64.TypeAAAA) }()
	second := make(chan *found, 1)
	askA := func() { second <- r.lookup(ctx, r.q.Name, dns64.TypeA) }
	timer := time.NewTimer(patience)
	defer timer.Stop()
	early := false
	var aaaa *found
	select {
	case aaaa = <-first:
	case <-timer.C:
		early = true
		go askA()
		aaaa = <-first
	}
	var list []dns.RR
	p, six := &r.st.Policy, aaaa.answerOf(&list)
	if reply, final := p.AfterAAAA(r.q, six); final {
		return r.finish(reply, aaaa, nil, list)
	}
	if !early {
		askA()
	}
	a := <-second
	return r.finish(p.Synthesise(r.q, six, a.answerOf(&list)), aaaa, a, list)
}

// finish turns a reply into a message. first and second are what its sections may come from.
func (r *resolution) finish(reply dns64.Reply, first, second *found, list []dns.RR) finished {
	m := new(dns.Msg)
	m.Question = []dns.Question{{Name: r.q.Name, Qtype: r.q.Type, Qclass: r.q.Class}}
	m.Response, m.RecursionAvailable, m.Rcode = true, true, int(reply.Rcode)
	m.Answer = rrsOf(reply.Answer, list)
	base := first
	switch reply.From {
	case dns64.FromSecond:
		base = second
	case dns64.FromNobody:
		base = nil
	}
	done := finished{msg: m, extra: noExtra, why: reply.Why}
	if base == nil {
		m.Ns = rrsOf(reply.Authority, list)
		if reply.Why == dns64.Looped {
			done.extra = extraLoop
		}
		return done
	}
	m.Ns, m.Extra = base.msg.Ns, base.msg.Extra
	if reply.Rcode != dns64.NoError {
		done.extra = base.extra
	}
	if reply.Synthesised {
		if len(m.Answer) > 0 && reply.Why == dns64.Synthesised {
			m.Ns = nil // whatever it says about A says nothing about AAAA
		}
	} else {
		m.AuthenticatedData = base.msg.AuthenticatedData
	}
	return done
}

// lookup brings what there is for a name and type: from the cache, from a question that is under way, or by asking.
func (r *resolution) lookup(ctx context.Context, name string, typ uint16) *found {
	begun := time.Now()
	q := dns64.Question{Name: name, Type: typ, Class: r.q.Class, DO: r.q.DO, CD: r.q.CD}
	f := r.s.cached(r.st, q)
	if f == nil {
		v, _, _ := r.s.flights.Do("lookup "+flightKey(q, r.st.generation), func() (any, error) {
			ctx, cancel := shared(ctx)
			defer cancel()
			return r.s.fetch(ctx, r.st, q), nil
		})
		f = v.(*found)
		f = &found{msg: f.msg.Copy(), from: f.from, safe: f.safe, bogus: f.bogus, extra: f.extra, failed: f.failed} // others have the same
	}
	if r.trace != nil {
		a := Asked{Name: name, Type: dns.TypeToString[typ], From: f.from, Rcode: dns.RcodeToString[f.msg.Rcode], Took: time.Since(begun)}
		for _, rr := range f.msg.Answer {
			a.Answer = append(a.Answer, rr.String())
		}
		if f.failed != nil {
			a.Failure = f.failed.Error()
		}
		r.trace(a)
	}
	return f
}

// shared is the context of a question that others may wait for: it ends in time, and not because whoever put it first has an answer.
func shared(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(budget)
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

func flightKey(q dns64.Question, generation uint64) string {
	return fmt.Sprintf("%s %d %d %v %v %d", q.Name, q.Type, q.Class, q.DO, q.CD, generation)
}

// fetch asks the servers of a zone, and remembers what comes back.
func (s *Server) fetch(ctx context.Context, st *state, q dns64.Question) *found {
	m := new(dns.Msg)
	m.SetQuestion(q.Name, q.Type)
	m.Question[0].Qclass = q.Class
	m.CheckingDisabled, m.AuthenticatedData = q.CD, true // RFC 6840 5.7: AD asks for AD
	m.SetEdns0(ednsUDP, q.DO)
	g := st.groups[st.zone(q.Name).Name]
	r, from, err := g.ask(ctx, m)
	if err != nil {
		s.counts.failed.Add(1)
		return failure(q, g.zone, err)
	}
	f := &found{msg: r, from: from.String(), safe: from.trusted(), bogus: bogus(r), extra: noExtra}
	if code, ok := extended(r); ok {
		f.extra = code
	}
	r.Question = []dns.Question{{Name: q.Name, Qtype: q.Type, Qclass: q.Class}}
	clean(r, r.Question[0])
	r.AuthenticatedData = r.AuthenticatedData && f.safe && r.Rcode != dns.RcodeServerFailure
	if q.Type != dns64.TypeAAAA { // of AAAA the finished answer is remembered
		s.remember(st, q, dns64.Capable, finished{msg: r, extra: f.extra})
	}
	return f
}

// failure is what is found when nobody answers.
func failure(q dns64.Question, zone string, err error) *found {
	m := new(dns.Msg)
	m.SetQuestion(q.Name, q.Type)
	m.Response, m.RecursionAvailable, m.Rcode = true, true, dns.RcodeServerFailure
	return &found{msg: m, from: "nobody for " + zone, extra: extraNobody, failed: err}
}
