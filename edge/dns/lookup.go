package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"hexapod.dev/model/dns64"
)

// LookupRequest asks what a client would be answered.
type LookupRequest struct {
	Name   string       `json:"name"`
	Type   string       `json:"type"`
	Client dns64.Client `json:"client"`
	From   netip.Addr   `json:"from,omitzero"` // of the client, whose kind is looked up then; invalid: Client says it
}

// Lookup is an answer, and how it came to be.
type Lookup struct {
	Name   string    `json:"name"`
	Type   string    `json:"type"`
	Asked  []Asked   `json:"asked"`
	Rcode  string    `json:"rcode"`
	Answer []string  `json:"answer"`
	Why    dns64.Why `json:"why"`
	Extra  string    `json:"extra,omitempty"` // the extended error (RFC 8914)
}

// tracer collects what was asked. AAAA and A may be asked beside each other, and A may still be asked when the answer is made
// without it.
type tracer struct {
	mu   sync.Mutex
	list []Asked
}

func (t *tracer) add(a Asked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, a)
}

// all is what was asked so far.
func (t *tracer) all() []Asked {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.list)
}

// Lookup makes an answer with somebody looking on. It is made anew even if it is remembered; what it is made of may be.
func (s *Server) Lookup(ctx context.Context, r LookupRequest) (Lookup, error) {
	typ, ok := dns.StringToType[strings.ToUpper(r.Type)]
	if !ok {
		return Lookup{}, fmt.Errorf("%q is no type of record", r.Type)
	}
	name := dns.CanonicalName(r.Name)
	if _, ok := dns.IsDomainName(name); !ok {
		return Lookup{}, fmt.Errorf("%q is no name", r.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	l := Lookup{Name: name, Type: dns.TypeToString[typ], Asked: []Asked{}, Answer: []string{}}
	var asked tracer
	st := s.state.Load()
	if r.From.IsValid() {
		if r.From = canonicalAddr(r.From); !holds(st.Allow, r.From) {
			return Lookup{}, fmt.Errorf("%s is no client of this host, which answers its own endpoints and itself", r.From)
		}
		r.Client = st.clientOf(r.From)
	}
	done := (&resolution{s: s, st: st, q: dns64.Question{Name: name, Type: typ, Class: classIN}, client: r.Client,
		trace: asked.add}).run(ctx)
	l.Asked = append(l.Asked, asked.all()...)
	for _, rr := range done.msg.Answer {
		l.Answer = append(l.Answer, strings.Join(strings.Fields(rr.String()), " "))
	}
	l.Rcode, l.Why = dns.RcodeToString[done.msg.Rcode], done.why
	if done.extra != noExtra {
		l.Extra = dns.ExtendedErrorCodeToString[done.extra]
	}
	return l, nil
}
