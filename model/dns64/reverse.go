package dns64

import (
	"fmt"
	"net/netip"
	"strings"
)

// firstPTR maps the name of an address that carries an IPv4 address to the name of that (RFC 6147 5.3.1).
func (p *Policy) firstPTR(q Question, c Client) Step {
	six, ok := addrOfReverse(q.Name)
	if !ok || c == Capable {
		return Step{Act: Pass, Why: OtherType}
	}
	for _, x := range p.Prefixes {
		four, ok := x.Extract(six)
		if !ok {
			continue
		}
		if _, ok := x.covers(four); !ok && !isWellKnown(four) {
			return Step{Act: Pass, Why: NotCarried}
		}
		name := reverseOf(four)
		if isWellKnown(four) {
			return Step{Act: Known, Reply: Reply{From: FromNobody, Synthesised: true, Why: KnownHere, Answer: []Record{
				{Name: q.Name, Type: TypeCNAME, TTL: wellKnownTTL, Target: name, Ref: Made},
				{Name: name, Type: TypePTR, TTL: wellKnownTTL, Target: wellKnownName, Ref: Made},
			}}}
		}
		return Step{Act: Map, Then: name}
	}
	return Step{Act: Pass, Why: OtherType}
}

// Reverse answers for a mapped name: an alias to the name of the IPv4 address, and what that one has.
func (p *Policy) Reverse(q Question, then string, a Answer) Reply {
	ttl := uint32(noSOA)
	for _, r := range a.Answer {
		ttl = min(ttl, r.TTL)
	}
	alias := Record{Name: q.Name, Type: TypeCNAME, TTL: ttl, Target: then, Ref: Made}
	return Reply{Rcode: a.Rcode, Answer: append([]Record{alias}, a.Answer...), From: FromSecond, Synthesised: true, Why: Mapped}
}

// addrOfReverse reads a whole name of ip6.arpa (RFC 3596 2.5).
func addrOfReverse(name string) (netip.Addr, bool) {
	nibbles, ok := strings.CutSuffix(name, ".ip6.arpa.")
	if !ok || len(nibbles) != 63 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i := range 32 {
		v := strings.IndexByte("0123456789abcdef", nibbles[2*i])
		if v < 0 || i < 31 && nibbles[2*i+1] != '.' {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(v) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}

// reverseOf is the name of an IPv4 address in in-addr.arpa (RFC 1035 3.5).
func reverseOf(four netip.Addr) string {
	b := four.As4()
	return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa.", b[3], b[2], b[1], b[0])
}
