// Package upstream decides which NAT64 prefixes of the network outside are used: what its routers tell (RFC 8781) and its resolvers show (RFC 7050).
//
// Whoever hears them makes a Claim of each; Judge says which are used and why the others are not. A claim is what a stranger says: one
// that would lead packets of this fabric astray, or make policies speak of its own addresses, is refused and named.
package upstream

import (
	"cmp"
	"net/netip"
	"slices"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/prefix"
	"hexapod.dev/model/xlat"
)

// Source is how a prefix was found.
type Source string

// Sources.
const (
	RA  Source = "ra"  // in an advertisement of a router (RFC 8781)
	DNS Source = "dns" // in the addresses that a resolver made for ipv4only.arpa (RFC 7050)
)

// Claim is a prefix that somebody outside says to be that of a NAT64.
type Claim struct {
	Prefix netip.Prefix
	Source Source
	From   string      // who says so: a router and its link, or a server
	Until  int64       // in seconds of the caller's clock: from then on it does not count
	Broken desired.Why // why it is none whatever it says; empty: it can be read
}

// Why a prefix that was found is not used.
const (
	BadForm     desired.Why = "it cannot carry IPv4 addresses: the length must be 32, 40, 48, 56, 64 or 96, and bits 64 to 71 zero (RFC 6052 2.2)"
	BadCode     desired.Why = "its length code is reserved (RFC 8781 4)"
	NotUnicast  desired.Why = "no network has a NAT64 there: it is not in 2000::/3 or fc00::/7, and neither 64:ff9b::/96 nor in 64:ff9b:1::/48"
	OurOwn      desired.Why = "it overlaps addresses of this fabric or of the host's links, which are nobody's IPv4 addresses"
	NotAccepted desired.Why = "it is not in upstream.accept of the Translation"
	NotAsked    desired.Why = "upstream.discover of the Translation does not name this way"
	RoutersSay  desired.Why = "routers tell a prefix, and go before resolvers (RFC 8781 5.1)"
	Enough      desired.Why = "four others are used"
)

// Why there is no prefix at all.
const (
	NotFound desired.Why = "no NAT64 of the network outside was found yet"
	Gone     desired.Why = "the NAT64 prefix of the network outside has gone: its time was over, or it was withdrawn"
	Refused  desired.Why = "every NAT64 prefix that the network outside tells was refused"
)

// most is how many prefixes are used at a time: each makes an address of every name (RFC 7050 3 lets hosts use several).
const most = 4

// Rules say which claims are believed.
type Rules struct {
	Sources []Source
	Accept  []netip.Prefix // those that lie in none of these are refused; empty: any may be
	Own     []netip.Prefix // addresses that are known to be no IPv4 ones
}

// Verdict is what became of a claim.
type Verdict struct {
	Claim
	Why desired.Why // not used because ...; empty: it is used
}

// Used reports whether the claim is used.
func (v Verdict) Used() bool { return v.Why == "" }

// Lie reports whether the claim was refused for what it says, and not because others go before it.
func (v Verdict) Lie() bool {
	switch v.Why {
	case "", NotAsked, RoutersSay, Enough:
		return false
	}
	return true
}

// Judge says which claims are used at a time. Claims that are over are left out; of several for one prefix and source the one that holds
// longest stands. The order is the same whatever that of the claims: used ones first, then by prefix.
func Judge(r Rules, claims []Claim, now int64) []Verdict {
	var out []Verdict
	for _, c := range newest(claims, now) {
		out = append(out, Verdict{Claim: c, Why: r.refuse(c)})
	}
	routers := slices.ContainsFunc(out, func(v Verdict) bool { return v.Used() && v.Source == RA })
	used := 0
	for i := range out {
		v := &out[i]
		switch {
		case !v.Used():
		case routers && v.Source != RA: // one source alone counts, and this one is preferred (RFC 8781 5.1)
			v.Why = RoutersSay
		case used == most:
			v.Why = Enough
		default:
			used++
		}
	}
	slices.SortStableFunc(out, func(a, b Verdict) int { return rank(a) - rank(b) })
	return out
}

func rank(v Verdict) int {
	if v.Used() {
		return 0
	}
	return 1
}

// newest keeps one claim of each prefix, source and fault, in order.
func newest(claims []Claim, now int64) []Claim {
	list := slices.DeleteFunc(slices.Clone(claims), func(c Claim) bool { return c.Until <= now })
	slices.SortFunc(list, func(a, b Claim) int {
		return cmp.Or(prefix.Compare(a.Prefix, b.Prefix), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Broken, b.Broken), cmp.Compare(b.Until, a.Until), cmp.Compare(a.From, b.From))
	})
	return slices.CompactFunc(list, func(a, b Claim) bool {
		return a.Prefix == b.Prefix && a.Source == b.Source && a.Broken == b.Broken
	})
}

// refuse tells why a claim must not be used, whatever the others are.
func (r Rules) refuse(c Claim) desired.Why {
	switch _, err := xlat.NewPref64(c.Prefix); {
	case c.Broken != "":
		return c.Broken
	case err != nil:
		return BadForm
	case !slices.Contains(r.Sources, c.Source):
		return NotAsked
	case !unicast(c.Prefix):
		return NotUnicast
	case slices.ContainsFunc(r.Own, c.Prefix.Overlaps):
		return OurOwn
	case len(r.Accept) > 0 && !within(r.Accept, c.Prefix):
		return NotAccepted
	}
	return ""
}

// unicast reports whether a prefix lies where networks have addresses of their own, or where NAT64 has its own (RFC 6052 2.1, RFC 8215).
func unicast(p netip.Prefix) bool {
	return p == xlat.WellKnown.Prefix() || within(ranges, p)
}

var ranges = []netip.Prefix{
	netip.MustParsePrefix("2000::/3"), // RFC 4291 2.4
	netip.MustParsePrefix("fc00::/7"), // RFC 4193
	netip.MustParsePrefix("64:ff9b:1::/48"),
}

func within(list []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(list, func(q netip.Prefix) bool { return prefix.ContainsPrefix(q, p) })
}

// Prefixes returns the prefixes that are used.
func Prefixes(verdicts []Verdict) (out []netip.Prefix) {
	for _, v := range verdicts {
		if v.Used() {
			out = append(out, v.Prefix)
		}
	}
	return out
}

// Next returns when the first claim is over; 0: none is.
func Next(verdicts []Verdict) (next int64) {
	for _, v := range verdicts {
		if next == 0 || v.Until < next {
			next = v.Until
		}
	}
	return next
}

// WhyNone tells why no prefix is used; empty when one is. had says that one was used before.
func WhyNone(verdicts []Verdict, had bool) desired.Why {
	switch {
	case len(Prefixes(verdicts)) > 0:
		return ""
	case len(verdicts) > 0:
		return Refused
	case had:
		return Gone
	}
	return NotFound
}
