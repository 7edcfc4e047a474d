package v1alpha1

import (
	"fmt"
	"net/netip"
	"slices"
)

func (t *Translation) check(r *report) {
	s := &t.Spec
	checkPref64(r, s)
	if checkFile(r, "spec.keyFile", s.KeyFile); s.KeyFile != "" && !s.Announce {
		r.errorf("spec.keyFile", "remove it, or write announce: true", "is given, and hosts that announce nothing tell each other nothing")
	}
	names := unique{}
	for i, h := range s.Hosts {
		names.add(r, fmt.Sprintf("spec.hosts[%d]", i), h)
	}
	links := unique{}
	for i, name := range s.Advertise {
		links.add(r, fmt.Sprintf("spec.advertise[%d]", i), name)
		if !linkName(name) {
			r.errorf(fmt.Sprintf("spec.advertise[%d]", i), "write it as ip link shows it", "%q is not a link name", name)
		}
	}
	checkSelector(r, "spec.hostLabels", &LabelSelector{MatchLabels: s.HostLabels})
	for _, list := range []struct {
		field string
		n     int
	}{{"prefixes", len(s.Prefixes)}, {"pool", len(s.Pool)}, {"clients", len(s.Clients)}, {"private", len(s.Private)}} {
		if list.n > MaxTranslationList {
			r.errorf("spec."+list.field, fmt.Sprintf("write at most %d", MaxTranslationList), "%d are too many", list.n)
		}
	}
	for i, p := range s.Private {
		field := fmt.Sprintf("spec.private[%d]", i)
		switch name, bad := within(p.Prefix, never4); {
		case !p.IsValid():
		case !p.Addr().Is4():
			r.errorf(field, "write an IPv4 prefix", "%s is no IPv4 prefix", p)
		case bad:
			r.errorf(field, "remove it", "%s is for %s and is never translated", p, name)
		}
	}
	if s.Upstream != nil {
		checkUpstream(r, s)
		return
	}
	checkHostPorts(r, s)
	for i, p := range s.Pool {
		field := fmt.Sprintf("spec.pool[%d]", i)
		switch name, bad := within(p.Prefix, never4); {
		case !p.IsValid():
		case !p.Addr().Is4():
			r.errorf(field, "write an IPv4 prefix", "%s is no IPv4 prefix", p)
		case bad:
			r.errorf(field, "take other addresses", "%s is for %s", p, name)
		case p.Bits() < minPoolBits:
			r.errorf(field, fmt.Sprintf("write at most %d addresses in one prefix", maxPoolAddrs), "%s is too large", p)
		}
	}
	for i, p := range s.Clients {
		if p.IsValid() && !p.Addr().Is6() {
			r.errorf(fmt.Sprintf("spec.clients[%d]", i), "write an IPv6 prefix", "%s is no IPv6 prefix: who has IPv4 needs no translation", p)
		}
	}
	if s.Blocks > maxBlocks {
		r.errorf("spec.blocks", fmt.Sprintf("write 1 to %d", maxBlocks), "%d blocks are more than one IPv4 address has", s.Blocks)
	}
	if s.Bindings > maxBindings {
		r.errorf("spec.bindings", fmt.Sprintf("write at most %d", maxBindings), "%d are too many", s.Bindings)
	}
}

// checkUpstream: what is said of a translator of our own means nothing for that of others.
func checkUpstream(r *report, s *TranslationSpec) {
	u := s.Upstream
	for _, own := range []struct {
		field string
		said  bool
	}{{"pool", len(s.Pool) > 0}, {"hostPorts", s.HostPorts != nil}, {"clients", len(s.Clients) > 0}, {"announce", s.Announce}, {"blocks", s.Blocks > 0}, {"bindings", s.Bindings > 0}} {
		if own.said {
			r.errorf("spec."+own.field, "remove it, or spec.upstream", "is for hosts that translate themselves")
		}
	}
	if len(s.Prefixes) > 0 && len(u.Discover)+len(u.Links)+len(u.Resolvers)+len(u.Accept) > 0 {
		r.errorf("spec.upstream", "write upstream: {}, or remove spec.prefixes", "looks for prefixes, and spec.prefixes names them")
	}
	ways := unique{}
	for i, way := range u.Discover {
		field := fmt.Sprintf("spec.upstream.discover[%d]", i)
		oneOf(r, field, string(way), string(DiscoverRA), string(DiscoverDNS))
		ways.add(r, field, string(way))
	}
	links := unique{}
	for i, name := range u.Links {
		field := fmt.Sprintf("spec.upstream.links[%d]", i)
		links.add(r, field, name)
		if !linkName(name) {
			r.errorf(field, "write it as ip link shows it", "%q is not a link name", name)
		}
	}
	for i, server := range u.Resolvers {
		if _, _, _, err := server.Parts(); err != nil {
			r.errorf(fmt.Sprintf("spec.upstream.resolvers[%d]", i), serverAdvice, "%v", err)
		}
	}
	for i, p := range u.Accept {
		if p.IsValid() && !p.Addr().Is6() {
			r.errorf(fmt.Sprintf("spec.upstream.accept[%d]", i), "write an IPv6 prefix", "%s is no IPv6 prefix", p)
		}
	}
	for _, list := range []struct {
		field string
		n     int
	}{{"links", len(u.Links)}, {"resolvers", len(u.Resolvers)}, {"accept", len(u.Accept)}} {
		if list.n > MaxTranslationList {
			r.errorf("spec.upstream."+list.field, fmt.Sprintf("write at most %d", MaxTranslationList), "%d are too many", list.n)
		}
	}
}

// checkHostPorts: ports of a host's own address are given out in whole blocks, and never those of services.
func checkHostPorts(r *report, s *TranslationSpec) {
	p := s.HostPorts
	switch {
	case p == nil:
	case len(s.Pool) > 0:
		r.errorf("spec.hostPorts", "remove it, or the pool", "is for hosts without a pool: endpoints are seen by the pool")
	case p.First < blockPorts || p.First%blockPorts != 0 || p.Last < p.First || (int(p.Last)+1)%blockPorts != 0:
		r.errorf("spec.hostPorts", "write first: 36864 and last: 65535, or other multiples", "%d to %d: ports go to endpoints in blocks of %d, so the first must be a multiple of it and the last one less than one",
			p.First, p.Last, blockPorts)
	}
}

// checkPref64 keeps to RFC 6052 2.2 and 3.1.
func checkPref64(r *report, s *TranslationSpec) {
	for i, p := range s.Prefixes {
		field := fmt.Sprintf("spec.prefixes[%d]", i)
		if !p.IsValid() {
			continue
		}
		switch n := p.Bits(); {
		case !p.Addr().Is6():
			r.errorf(field, ownPrefixAdvce, "%s is no IPv6 prefix", p)
		case n != 96 && (n < 32 || n > 64 || n%8 != 0):
			r.errorf(field, ownPrefixAdvce, "%s: the length must be 32, 40, 48, 56, 64 or 96 (RFC 6052 2.2)", p)
		case p.Addr().As16()[8] != 0:
			r.errorf(field, ownPrefixAdvce, "%s: bits 64 to 71 must be zero (RFC 6052 2.2)", p)
		case p.Prefix == wellKnown64 && len(s.Private) > 0 && len(s.Prefixes) == 1:
			r.errorf("spec.private", ownPrefixAdvce+", and name it in spec.prefixes", "cannot be reached through %s (RFC 6052 3.1)", p)
		}
		for j, q := range s.Prefixes[:i] {
			if q.IsValid() && q.Overlaps(p.Prefix) {
				r.errorf(field, "keep one", "%s overlaps spec.prefixes[%d]", p, j)
			}
		}
	}
}

// never4 are IPv4 ranges that are nobody's to reach.
var never4 = []named{
	namedRange("0.0.0.0/8", "this network (RFC 791 3.2)"),
	namedRange("127.0.0.0/8", "loopback (RFC 1122 3.2.1.3)"),
	namedRange("169.254.0.0/16", "link-local addresses and the metadata of clouds (RFC 3927)"),
	namedRange("224.0.0.0/4", "multicast (RFC 5771)"),
	namedRange("255.255.255.255/32", "broadcast (RFC 919)"),
}

// checkTranslations: a host translates by one Translation, pools are nobody else's, and a prefix carries nothing of the fabric.
func checkTranslations(s Set) (found Problems) {
	for i, t := range s.Translations {
		for k, h := range t.Spec.Hosts {
			if _, ok := s.Host(h); !ok { // hosts come and go, and the others go on translating
				p := problemf(t, fmt.Sprintf("spec.hosts[%d]", k), "add a Host of that name, or name another", "there is no host %s", h)
				p.Severity = Warning
				found = append(found, p)
			}
		}
		for _, other := range s.Translations[:i] {
			if h, both := s.sharedHost(t, other); both {
				found = append(found, problemf(t, "spec.hosts", "let each host translate by one of them", "%s translates by Translation %s in %s as well", h, other.ObjectName(), place(other)))
			}
			if p, q, both := sharedPool(t, other); both {
				found = append(found, problemf(t, "spec.pool", "give each its own addresses", "%s overlaps %s of Translation %s in %s", p, q, other.ObjectName(), place(other)))
			}
		}
		if s.Plan == nil {
			continue
		}
		if u := t.Spec.Upstream; u != nil && s.Plan.Spec.DNS == nil && slices.Contains(u.Discover, DiscoverDNS) && !slices.Contains(u.Discover, DiscoverRA) {
			found = append(found, problemf(t, "spec.upstream.discover", "write spec.dns in the AddressPlan, or discover: [ra]", "dns needs the DNS server of the hosts, which asks the resolvers"))
		}
		for k, p := range t.Spec.Prefixes {
			if p.IsValid() && p.Overlaps(s.Plan.Spec.Prefix.Prefix) && p.Bits() < s.Plan.Spec.Levels.Cluster {
				found = append(found, problemf(t, fmt.Sprintf("spec.prefixes[%d]", k), "take it from rack 0 of a cluster, or from outside the fabric", "%s holds parts of the fabric", p))
			}
		}
	}
	return found
}

func (s Set) sharedHost(a, b *Translation) (string, bool) {
	for _, h := range s.Hosts {
		if a.Translates(h) && b.Translates(h) {
			return h.ObjectName(), true
		}
	}
	return "", false
}

func sharedPool(a, b *Translation) (p, q netip.Prefix, both bool) {
	for _, p := range a.Spec.Pool {
		for _, q := range b.Spec.Pool {
			if p.IsValid() && q.IsValid() && p.Overlaps(q.Prefix) {
				return p.Prefix, q.Prefix, true
			}
		}
	}
	return p, q, false
}
