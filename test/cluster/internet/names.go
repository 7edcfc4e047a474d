package internet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

const (
	namePort = 53

	// nameTTL is how many seconds answers may be remembered: few, so that tests see what changes.
	nameTTL = 2
)

// zone is what names there are.
type zone map[string][]dns.RR

func (c Config) zone() zone {
	z := zone{}
	for _, name := range []string{Web, Registry, Both} {
		z.add(name, &dns.A{A: c.Server.AsSlice()}, dns.TypeA)
	}
	z.add(Both, &dns.AAAA{AAAA: c.Six.AsSlice()}, dns.TypeAAAA)
	z.add(Alias, &dns.CNAME{Target: dns.Fqdn(Web)}, dns.TypeCNAME)
	return z
}

func (z zone) add(name string, rr dns.RR, rrtype uint16) {
	name = dns.Fqdn(name)
	*rr.Header() = dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: nameTTL}
	z[name] = append(z[name], rr)
}

// answer follows aliases (RFC 1034 4.3.2). A name that is not there does not exist.
func (z zone) answer(q *dns.Msg) *dns.Msg {
	a := new(dns.Msg).SetReply(q)
	a.Authoritative, a.RecursionAvailable = true, true
	if len(q.Question) != 1 {
		return a.SetRcode(q, dns.RcodeFormatError)
	}
	name := strings.ToLower(q.Question[0].Name)
	for range len(z) { // there are no more aliases
		records, ok := z[name]
		if !ok {
			a.Rcode = dns.RcodeNameError
		}
		alias := ""
		for _, rr := range records {
			if t := rr.Header().Rrtype; t == q.Question[0].Qtype || t == dns.TypeCNAME {
				a.Answer = append(a.Answer, rr)
			}
			if c, ok := rr.(*dns.CNAME); ok {
				alias = c.Target
			}
		}
		if name = alias; name == "" {
			break
		}
	}
	if len(a.Answer) == 0 { // how long that may be remembered (RFC 2308 3)
		soa := &dns.SOA{Ns: "ns.test.", Mbox: "nobody.test.", Serial: 1, Refresh: nameTTL, Retry: nameTTL, Expire: nameTTL, Minttl: nameTTL}
		soa.Hdr = dns.RR_Header{Name: "test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: nameTTL}
		a.Ns = []dns.RR{soa}
	}
	return a
}

// serveNames answers questions, by UDP and TCP, until ctx ends.
func serveNames(ctx context.Context, at netip.AddrPort, z zone) error {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(z.answer(q)) // a client that went away needs none
	})
	g, ctx := errgroup.WithContext(ctx)
	for _, network := range []string{"udp6", "tcp6"} {
		g.Go(func() error {
			server := &dns.Server{Addr: at.String(), Net: network, Handler: handler}
			stop := context.AfterFunc(ctx, func() { _ = server.Shutdown() })
			defer stop()
			if err := server.ListenAndServe(); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
				return fmt.Errorf("answer questions for names at %s: %w", at, err)
			}
			return nil
		})
	}
	return g.Wait()
}
