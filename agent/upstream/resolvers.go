package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/edge/dns"
	"hexapod.dev/model/upstream"
)

// What a resolver said.
const (
	saidNone   = "it makes no addresses: no DNS64"
	saidLittle = "it makes addresses, and none of them tells a prefix"
	saidSome   = "it makes addresses with %d prefixes, for %d s"
)

// ask puts the question to all servers.
func (f *Finder) ask(ctx context.Context, q *question) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	list, err := f.options.Ask(ctx, dns.DiscoverRequest{Name: upstream.Name, Servers: q.servers})
	f.answers <- asked{q.round, list, err} // there is room: one question is out at a time
}

// take takes what came of a question.
func (f *Finder) take(a asked) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.want == nil || f.round != a.round {
		return // another one is due, or none
	}
	now := f.now()
	if a.err != nil {
		f.unasked = fmt.Errorf("resolvers cannot be asked: %w", a.err)
		f.asking.Failed(now)
		return
	}
	f.unasked = nil
	if len(a.list) == 0 {
		f.unasked = errors.New("resolvers cannot be asked: the DNS server of this host knows none")
	}
	f.takeAll(a.list, now)
}

// takeAll notes what each server said. One that did not answer has said nothing new: what it said before counts as long as it was to. The
// caller holds mu.
func (f *Finder) takeAll(list []dns.Discovered, now int64) {
	answered, shortest := len(list) > 0, uint32(0)
	for _, d := range list {
		r := f.resolved[d.Server]
		if d.Failure != "" {
			r.said, answered = d.Failure, false
			f.resolved[d.Server] = r
			continue
		}
		found, misread := upstream.FromAddrs(d.Addrs)
		if len(found) > 0 && (shortest == 0 || d.TTL < shortest) {
			shortest = max(d.TTL, 1)
		}
		var once upstream.Asking
		until := once.Found(now, d.TTL)
		r = resolver{said: saidNone}
		for _, p := range found {
			r.claims = append(r.claims, upstream.Claim{Prefix: p, Source: upstream.DNS, From: d.Server, Until: until})
		}
		for _, m := range misread {
			r.claims = append(r.claims, upstream.Claim{Prefix: netip.PrefixFrom(m.Addr, m.Addr.BitLen()), Source: upstream.DNS, From: d.Server, Until: until, Broken: m.Why})
		}
		switch {
		case len(found) > 0:
			r.said = fmt.Sprintf(saidSome, len(found), d.TTL)
		case len(misread) > 0:
			r.said = saidLittle
		}
		f.resolved[d.Server] = r
	}
	for server := range f.resolved {
		if !slices.ContainsFunc(list, func(d dns.Discovered) bool { return d.Server == server }) {
			delete(f.resolved, server) // nobody asks it any more
		}
	}
	f.kept = slices.DeleteFunc(f.kept, func(c upstream.Claim) bool { return c.Source == upstream.DNS && answered })
	switch {
	case shortest > 0:
		f.asking.Found(now, shortest)
	case answered:
		f.asking.None(now)
	default:
		f.asking.Failed(now)
	}
}
