package dns64

import (
	"net/netip"
	"slices"
)

// wellKnownName is the name by which a client finds the prefix (RFC 7050 3). It is special: its answers are known, and nobody is
// asked for them (RFC 8880 7.1).
const wellKnownName = "ipv4only.arpa."

// wellKnownTTL is for how long they hold, in seconds. A client that asks again after a change of the prefix must not wait a day.
const wellKnownTTL = noSOA

// wellKnownAddrs are its addresses (RFC 7050 8.2).
var wellKnownAddrs = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 0, 170}), netip.AddrFrom4([4]byte{192, 0, 0, 171})}

func isWellKnown(four netip.Addr) bool { return slices.Contains(wellKnownAddrs, four) }

// reverseOfWellKnown reports whether a name is the reverse name of one of its addresses (RFC 8880 7.2).
func reverseOfWellKnown(name string) bool {
	return name == reverseOf(wellKnownAddrs[0]) || name == reverseOf(wellKnownAddrs[1])
}

// wellKnown answers for ipv4only.arpa, what is below it, and the reverse names of its addresses.
func (p *Policy) wellKnown(q Question, c Client) Reply {
	r := Reply{From: FromNobody, Why: KnownHere}
	made := func(typ uint16, a netip.Addr, target string) {
		r.Answer = append(r.Answer, Record{Name: q.Name, Type: typ, TTL: wellKnownTTL, Addr: a, Target: target, Ref: Made})
	}
	switch {
	case q.Type == TypePTR && reverseOfWellKnown(q.Name):
		made(TypePTR, netip.Addr{}, wellKnownName)
	case q.Name != wellKnownName:
		r.Rcode = NXDomain
	case q.Type == TypeA:
		for _, a := range wellKnownAddrs {
			made(TypeA, a, "")
		}
	case q.Type == TypeAAAA && c == SixOnly && !(q.DO && q.CD):
		// Every prefix, whatever it stands for: this is how clients learn of them (RFC 7050 3).
		for _, x := range p.Prefixes {
			for _, a := range wellKnownAddrs {
				made(TypeAAAA, x.Embed(a), "")
			}
		}
	}
	if len(r.Answer) == 0 {
		r.Authority = []Record{{Name: wellKnownName, Type: TypeSOA, TTL: wellKnownTTL, Ref: Made}}
	}
	return r
}
