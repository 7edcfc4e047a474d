package dns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// budget is the longest a client waits for an answer, whatever upstreams do: less than the five seconds after which resolvers of
// clients ask again (resolv.conf(5)).
const budget = 4 * time.Second

// maxTries is how often one question is put, to all servers of a zone together.
const maxTries = 3

// errNobody says that every server that may know was asked, or that none is configured.
var errNobody = errors.New("no server to ask")

// group is the servers of one zone.
type group struct {
	zone    string
	servers []*server
	turn    atomic.Uint32
}

// order returns the servers in the order they are asked: those that answer before those that did not lately, and among equals each in
// its turn.
func (g *group) order(now time.Time) []*server {
	list := make([]*server, 0, max(len(g.servers), maxTries))
	first := int(g.turn.Add(1))
	var down []*server
	for i := range g.servers {
		s := g.servers[(first+i)%len(g.servers)]
		if s.down(now) {
			down = append(down, s)
		} else {
			list = append(list, s)
		}
	}
	list = append(list, down...)
	for n := len(list); n > 0 && len(list) < maxTries; { // a lost datagram is no verdict on a server
		list = append(list, list[len(list)-n])
	}
	return list[:min(len(list), maxTries)]
}

// ask puts a question to one server after the other until one answers it. An error a server answers with is an answer if no other
// server has a better one.
func (g *group) ask(ctx context.Context, m *dns.Msg) (best *dns.Msg, from *server, err error) {
	err = errNobody
	var refused []*server
	for _, s := range g.order(time.Now()) {
		if ctx.Err() != nil {
			break
		}
		if slices.Contains(refused, s) { // it has spoken
			continue
		}
		r, askErr := s.ask(ctx, m)
		switch {
		case askErr != nil:
			err = askErr
		case r.Rcode == dns.RcodeSuccess || r.Rcode == dns.RcodeNameError || bogus(r):
			return r, s, nil
		default:
			best, from = r, s
			refused = append(refused, s)
		}
	}
	if best != nil {
		return best, from, nil
	}
	return nil, nil, err
}

// trusted reports whether what a server says about validation can be believed: the way to it must be safe (RFC 4035 4.9.3).
func (s *server) trusted() bool { return s.Via == TLS || s.Addr.Addr().IsLoopback() }

// bogus reports whether an answer is an error because signatures are wrong (RFC 8914 4.7 to 4.13).
func bogus(m *dns.Msg) bool {
	code, ok := extended(m)
	return ok && m.Rcode == dns.RcodeServerFailure && dns.ExtendedErrorCodeDNSBogus <= code && code <= dns.ExtendedErrorCodeNSECMissing
}

// extended returns the extended error of an answer (RFC 8914).
func extended(m *dns.Msg) (uint16, bool) {
	opt := m.IsEdns0()
	if opt == nil {
		return 0, false
	}
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok {
			return e.InfoCode, true
		}
	}
	return 0, false
}

// groups makes the groups of a configuration. A server that was there before keeps what is known of it.
func groups(zones []Zone, before map[string]*group) map[string]*group {
	known := map[Upstream]*server{}
	for _, g := range before {
		for _, s := range g.servers {
			known[s.Upstream] = s
		}
	}
	all := make(map[string]*group, len(zones))
	for _, z := range zones {
		g := &group{zone: z.Name}
		for _, u := range z.Upstreams {
			if known[u] == nil {
				known[u] = newServer(u)
			}
			g.servers = append(g.servers, known[u])
		}
		all[z.Name] = g
	}
	return all
}

// canonicalAddr is an address as prefixes hold it.
func canonicalAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
