package dns

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/miekg/dns"
)

// DiscoverRequest asks which addresses servers make for a name that has IPv4 addresses alone (RFC 7050 3).
type DiscoverRequest struct {
	Name    string     `json:"name"`
	Servers []Upstream `json:"servers,omitempty"` // none: those that are asked for names of no other zone
}

// Discovered is what one server said.
type Discovered struct {
	Server  string       `json:"server"`
	Rcode   string       `json:"rcode,omitempty"`
	Addrs   []netip.Addr `json:"addrs,omitempty"` // IPv6 ones that it gave
	TTL     uint32       `json:"ttl,omitempty"`   // of the shortest of them, in seconds
	Failure string       `json:"failure,omitempty"`
}

// Limits of one look.
const (
	maxDiscoverServers = 8
	maxDiscoverAddrs   = 64 // of one server: a prefix makes two
)

// Discover asks each server for itself: what one makes says nothing about the others. What is remembered of the name is not looked at, and
// nothing is remembered.
func (s *Server) Discover(ctx context.Context, r DiscoverRequest) []Discovered {
	st := s.state.Load()
	servers := slices.Clone(st.groups["."].servers)
	if len(r.Servers) > 0 {
		servers = nil
		for _, u := range r.Servers {
			at := newServer(u)
			defer at.close()
			servers = append(servers, at)
		}
	}
	servers = servers[:min(len(servers), maxDiscoverServers)]
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	out := make([]Discovered, len(servers))
	var wait sync.WaitGroup
	for i, at := range servers {
		wait.Go(func() { out[i] = at.discover(ctx, r.Name) })
	}
	wait.Wait()
	return out
}

// discover asks one server, several times if it is silent: a lost datagram must not end a prefix.
func (s *server) discover(ctx context.Context, name string) Discovered {
	d := Discovered{Server: s.Upstream.String()}
	m := new(dns.Msg)
	m.SetQuestion(dns.CanonicalName(name), dns.TypeAAAA)
	m.SetEdns0(ednsUDP, false) // neither DO nor CD, or nothing is synthesised (RFC 7050 3, RFC 6147 5.5)
	var r *dns.Msg
	err := errSilent
	for range maxTries {
		if r, err = s.ask(ctx, m); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		d.Failure = err.Error()
		return d
	}
	d.Rcode = dns.RcodeToString[r.Rcode]
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		d.Failure = d.Rcode
		return d
	}
	r.Question = []dns.Question{{Name: m.Question[0].Name, Qtype: dns.TypeAAAA, Qclass: dns.ClassINET}}
	clean(r, r.Question[0])
	for _, rr := range r.Answer {
		a, ok := rr.(*dns.AAAA)
		if !ok || len(d.Addrs) == maxDiscoverAddrs {
			continue
		}
		addr, ok := netip.AddrFromSlice(a.AAAA.To16())
		if !ok {
			continue
		}
		if d.Addrs = append(d.Addrs, addr); len(d.Addrs) == 1 || a.Hdr.Ttl < d.TTL {
			d.TTL = a.Hdr.Ttl
		}
	}
	return d
}
