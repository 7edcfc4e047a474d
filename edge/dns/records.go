package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"hexapod.dev/model/dns64"
)

// found is what was brought for one question.
type found struct {
	msg    *dns.Msg // never nil; without OPT
	from   string   // the server, or where else it is from
	safe   bool     // AD of the server may be believed
	bogus  bool
	extra  uint16
	failed error
}

// clean leaves of an upstream's message what belongs to the question: aliases from its name on, records of its type at their end, who
// is the authority for a name in that chain, and additional records. Whoever sends more gets nobody to remember it.
func clean(m *dns.Msg, q dns.Question) {
	names := map[string]bool{dns.CanonicalName(q.Name): true}
	for range m.Answer { // aliases may come in any order
		before := len(names)
		for _, rr := range m.Answer {
			if c, ok := rr.(*dns.CNAME); ok && names[dns.CanonicalName(c.Hdr.Name)] {
				names[dns.CanonicalName(c.Target)] = true
			}
			if d, ok := rr.(*dns.DNAME); ok {
				addMoved(names, dns.CanonicalName(d.Hdr.Name), dns.CanonicalName(d.Target))
			}
		}
		if len(names) == before || len(names) > 64 {
			break
		}
	}
	m.Answer = keep(m.Answer, func(rr dns.RR) bool {
		h := rr.Header()
		name, typ := dns.CanonicalName(h.Name), h.Rrtype
		if s, ok := rr.(*dns.RRSIG); ok && q.Qtype != dns.TypeRRSIG {
			typ = s.TypeCovered
		}
		if typ == dns.TypeDNAME {
			return above(names, name)
		}
		return names[name] && (typ == q.Qtype || typ == dns.TypeCNAME || q.Qtype == dns.TypeANY)
	})
	m.Ns = keep(m.Ns, func(rr dns.RR) bool {
		switch rr.Header().Rrtype {
		case dns.TypeSOA:
			return above(names, dns.CanonicalName(rr.Header().Name))
		case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3:
			return true
		}
		return false
	})
	m.Extra = keep(m.Extra, func(rr dns.RR) bool {
		switch rr.Header().Rrtype {
		case dns.TypeOPT, dns.TypeTSIG, dns.TypeSIG:
			return false
		}
		return true
	})
}

// keep leaves the good records of a list, under canonical names: the case of the question was ours, not the client's.
func keep(list []dns.RR, good func(dns.RR) bool) []dns.RR {
	kept := list[:0]
	for _, rr := range list {
		rr.Header().Name = dns.CanonicalName(rr.Header().Name)
		if (rr.Header().Class == dns.ClassINET || rr.Header().Rrtype == dns.TypeOPT) && good(rr) {
			kept = append(kept, rr)
		}
	}
	return kept
}

// addMoved adds the names that a DNAME makes of those below its owner (RFC 6672 2.2).
func addMoved(names map[string]bool, owner, target string) {
	for name := range names {
		if rest, ok := strings.CutSuffix(name, "."+owner); ok && owner != "." {
			names[dns.CanonicalName(dns.Fqdn(rest+"."+strings.TrimPrefix(target, ".")))] = true
		}
	}
}

// above reports whether a zone holds one of names.
func above(names map[string]bool, zone string) bool {
	for name := range names {
		if zone == "." || name == zone || strings.HasSuffix(name, "."+zone) {
			return true
		}
	}
	return false
}

// answerOf turns what was found into what dns64 decides on. Records are kept in list, and named by their place there.
func (f *found) answerOf(list *[]dns.RR) dns64.Answer {
	return dns64.Answer{Rcode: uint16(f.msg.Rcode), Bogus: f.bogus, Answer: recordsOf(f.msg.Answer, list), Authority: recordsOf(f.msg.Ns, list)}
}

func recordsOf(rrs []dns.RR, list *[]dns.RR) []dns64.Record {
	if len(rrs) == 0 {
		return nil
	}
	out := make([]dns64.Record, len(rrs))
	for i, rr := range rrs {
		h := rr.Header()
		r := dns64.Record{Name: dns.CanonicalName(h.Name), Type: h.Rrtype, TTL: h.Ttl, Ref: len(*list)}
		*list = append(*list, rr)
		switch v := rr.(type) {
		case *dns.A:
			r.Addr, _ = netip.AddrFromSlice(v.A.To4())
		case *dns.AAAA:
			r.Addr, _ = netip.AddrFromSlice(v.AAAA.To16())
		case *dns.CNAME:
			r.Target = dns.CanonicalName(v.Target)
		case *dns.DNAME:
			r.Target = dns.CanonicalName(v.Target)
		case *dns.PTR:
			r.Target = dns.CanonicalName(v.Ptr)
		case *dns.RRSIG:
			r.Covers = v.TypeCovered
		}
		out[i] = r
	}
	return out
}

// rrsOf is the way back: records that came from somebody are the same again.
func rrsOf(records []dns64.Record, list []dns.RR) []dns.RR {
	out := make([]dns.RR, len(records))
	for i, r := range records {
		if r.Ref != dns64.Made {
			out[i] = list[r.Ref]
			continue
		}
		out[i] = made(r)
	}
	return out
}

// made is the record that dns64 made.
func made(r dns64.Record) dns.RR {
	h := dns.RR_Header{Name: r.Name, Rrtype: r.Type, Class: dns.ClassINET, Ttl: r.TTL}
	switch r.Type {
	case dns.TypeA:
		return &dns.A{Hdr: h, A: r.Addr.AsSlice()}
	case dns.TypeAAAA:
		return &dns.AAAA{Hdr: h, AAAA: r.Addr.AsSlice()}
	case dns.TypeCNAME:
		return &dns.CNAME{Hdr: h, Target: r.Target}
	case dns.TypePTR:
		return &dns.PTR{Hdr: h, Ptr: r.Target}
	}
	// A SOA for a negative answer of our own. It names nobody: RFC 6303 3 and RFC 2606 2.
	return &dns.SOA{Hdr: h, Ns: "localhost.", Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: r.TTL}
}
