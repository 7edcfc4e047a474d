package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// NamesPort is where servers of names listen.
const NamesPort = 53

// nameTTL is how long, in seconds, an answer of ServeNames may be remembered.
const nameTTL = 30

// ServeNames answers questions for names that have IPv4 addresses alone until ctx ends; all others do not exist. It takes conn over.
func ServeNames(ctx context.Context, conn net.PacketConn, names map[string]netip.Addr) error {
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(answerNames(q, names)) // a client that went away needs no answer
	})}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := server.ActivateAndServe(); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve names: %w", err)
	}
	return nil
}

func answerNames(q *dns.Msg, names map[string]netip.Addr) *dns.Msg {
	a := new(dns.Msg).SetReply(q)
	a.Authoritative = true
	if len(q.Question) != 1 {
		a.Rcode = dns.RcodeFormatError
		return a
	}
	name := q.Question[0].Name
	addr, ok := names[strings.ToLower(strings.TrimSuffix(name, "."))]
	head := func(kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: nameTTL}
	}
	switch {
	case !ok:
		a.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypeA:
		a.Answer = []dns.RR{&dns.A{Hdr: head(dns.TypeA), A: addr.AsSlice()}}
	}
	if len(a.Answer) == 0 { // how long that may be remembered (RFC 2308 3)
		a.Ns = []dns.RR{&dns.SOA{Hdr: head(dns.TypeSOA), Ns: name, Mbox: name, Serial: 1, Refresh: nameTTL, Retry: nameTTL, Expire: nameTTL, Minttl: nameTTL}}
	}
	return a
}

// lookupPatience bounds one question; it is asked again until the context ends.
const lookupPatience = 2 * time.Second

// Lookup asks a server from inside for the IPv6 addresses of a name, until it has some.
func Lookup(ctx context.Context, in Inside, server netip.Addr, name string) (list []netip.Addr, err error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeAAAA)
	for {
		list, err = ask(in, server, q)
		if err == nil && len(list) > 0 {
			return list, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("name %s: %s has no IPv6 address for it", name, server), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func ask(in Inside, server netip.Addr, q *dns.Msg) (list []netip.Addr, err error) {
	var a *dns.Msg
	err = in(func() error {
		client := dns.Client{Timeout: lookupPatience}
		c, err := client.Dial(netip.AddrPortFrom(server, NamesPort).String())
		if err != nil {
			return err
		}
		defer c.Close()
		a, _, err = client.ExchangeWithConn(q, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range a.Answer {
		if x, ok := r.(*dns.AAAA); ok {
			if addr, ok := netip.AddrFromSlice(x.AAAA); ok {
				list = append(list, addr)
			}
		}
	}
	return list, nil
}
