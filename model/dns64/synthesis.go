package dns64

import (
	"net/netip"
	"slices"
)

// MappedPrefix holds IPv4-mapped addresses. A record in it is no use to a client without IPv4 and counts as absent (RFC 6147 5.1.4).
var MappedPrefix = netip.MustParsePrefix("::ffff:0:0/96")

// noSOA is the longest a record lives that was made without a SOA to go by, in seconds (RFC 6147 5.1.7).
const noSOA = 600

// AfterAAAA judges the answer to the AAAA question. final means that the reply is made; otherwise the A records of the same name are
// asked for, and Synthesise called.
func (p *Policy) AfterAAAA(q Question, aaaa Answer) (r Reply, final bool) {
	pass := func(why Why) (Reply, bool) {
		return Reply{Rcode: aaaa.Rcode, Answer: aaaa.Answer, Why: why}, true
	}
	switch {
	case aaaa.Rcode == NXDomain: // RFC 6147 5.1.2
		return pass(NoName)
	case aaaa.Bogus: // RFC 6147 5.5: what could not be validated must not lead to a question for A
		return pass(BogusData)
	case aaaa.Rcode != NoError && p.Strict:
		return pass(Failed)
	case aaaa.Rcode != NoError: // RFC 6147 5.1.2: as if there were no AAAA records
		return Reply{}, false
	}
	end, _, ok := follow(q.Name, aaaa.Answer)
	if !ok {
		return looped(), true
	}
	if p.never(end) {
		return pass(ZoneKept)
	}
	all := ofType(end, TypeAAAA, aaaa.Answer)
	kept := slices.DeleteFunc(slices.Clone(all), func(r Record) bool { return p.excluded(r.Addr) })
	switch len(kept) {
	case 0:
		return Reply{}, false
	case len(all):
		return pass(Native)
	}
	// RFC 6147 5.1.4: the excluded ones are left out. The signature of the whole set would be wrong now.
	rest := slices.DeleteFunc(slices.Clone(aaaa.Answer), func(r Record) bool {
		return r.Name == end && (r.Type == TypeAAAA && p.excluded(r.Addr) || r.Type == TypeRRSIG && r.Covers == TypeAAAA)
	})
	return Reply{Answer: rest, Why: Native, Synthesised: true}, true
}

func (p *Policy) excluded(a netip.Addr) bool {
	if a.Is4In6() {
		return true
	}
	for _, x := range p.Exclude {
		if x.Contains(a) {
			return true
		}
	}
	return false
}

// Synthesise makes AAAA records of A records. aaaa is what the question for AAAA brought, a what the one for A did.
func (p *Policy) Synthesise(q Question, aaaa, a Answer) Reply {
	if a.Rcode != NoError { // RFC 6147 5.1.6: the answer for A is the base of the reply
		why := Failed
		switch {
		case a.Rcode == NXDomain:
			why = NoName
		case a.Bogus:
			why = BogusData
		}
		return Reply{Rcode: a.Rcode, Answer: a.Answer, From: FromSecond, Why: why}
	}
	end, links, ok := follow(q.Name, a.Answer)
	if !ok {
		return looped()
	}
	addresses := ofType(end, TypeA, a.Answer)
	if len(addresses) == 0 {
		return Reply{Answer: links, From: FromSecond, Why: NoAddress}
	}
	if p.never(end) {
		return p.nothing(aaaa, links, ZoneKept)
	}
	limit := soaTTL(aaaa)
	seen := make(map[netip.Addr]bool, len(addresses))
	answer := links
	for _, r := range addresses {
		for _, six := range p.embed(r.Addr) {
			if !seen[six] {
				seen[six] = true
				answer = append(answer, Record{Name: end, Type: TypeAAAA, TTL: min(r.TTL, limit), Addr: six, Ref: Made})
			}
		}
	}
	if len(seen) == 0 {
		return p.nothing(aaaa, links, NotCarried)
	}
	return Reply{Answer: answer, From: FromSecond, Synthesised: true, Why: Synthesised}
}

// nothing says that a name has no AAAA records: the answer for AAAA said so first, unless it failed.
func (p *Policy) nothing(aaaa Answer, links []Record, why Why) Reply {
	if aaaa.Rcode != NoError {
		return Reply{Rcode: aaaa.Rcode, Answer: links, From: FromNobody, Why: why}
	}
	// What was excluded was not for clients of this kind.
	own := slices.DeleteFunc(slices.Clone(aaaa.Answer), func(r Record) bool {
		return r.Type == TypeAAAA || r.Type == TypeRRSIG && r.Covers == TypeAAAA
	})
	return Reply{Answer: own, Why: why}
}

// looped is the reply to a name whose aliases do not end.
func looped() Reply { return Reply{Rcode: ServFail, From: FromNobody, Why: Looped} }

// soaTTL is how long made records may live, in seconds: as long as the word that there are no AAAA records (RFC 6147 5.1.7).
func soaTTL(aaaa Answer) uint32 {
	if aaaa.Rcode == NoError {
		for _, r := range aaaa.Authority {
			if r.Type == TypeSOA {
				return r.TTL
			}
		}
	}
	return noSOA
}

// embed returns the addresses that stand for an IPv4 address: one for every prefix that names the most specific range of it
// (RFC 6147 5.2), in the order of the prefixes.
func (p *Policy) embed(four netip.Addr) (all []netip.Addr) {
	best := -1
	for _, x := range p.Prefixes {
		bits, ok := x.covers(four)
		if !ok || bits < best {
			continue
		}
		if bits > best {
			best, all = bits, nil
		}
		all = append(all, x.Embed(four))
	}
	return all
}

// covers tells how specific a range of the prefix holds an address.
func (x Pref64) covers(four netip.Addr) (bits int, ok bool) {
	if !x.May(four) {
		return 0, false
	}
	if len(x.For) == 0 { // RFC 6147 5.1.4: private addresses mean something else behind another translator, so they are named or left out
		return 0, global(four)
	}
	for _, r := range x.For {
		if r.Contains(four) && (!ok || r.Bits() > bits) {
			bits, ok = r.Bits(), true
		}
	}
	return bits, ok && (global(four) || bits > 0)
}

// WithoutA keeps A records from a client that cannot use them. What else the answer says stays.
func (p *Policy) WithoutA(q Question, a Answer) Reply {
	r := Reply{Rcode: a.Rcode, Answer: a.Answer, Why: AFiltered}
	end, links, ok := follow(q.Name, a.Answer)
	if !ok {
		return looped()
	}
	addresses := ofType(end, TypeA, a.Answer)
	if len(addresses) == 0 || p.never(end) {
		r.Why = OtherType
		return r
	}
	ttl := uint32(noSOA)
	for _, x := range addresses {
		ttl = min(ttl, x.TTL)
	}
	// A negative answer needs a SOA to be remembered (RFC 2308 3). The zone's own is not in a positive answer.
	r.Answer, r.From, r.Synthesised = links, FromNobody, true
	r.Authority = []Record{{Name: end, Type: TypeSOA, TTL: ttl, Ref: Made}}
	return r
}
