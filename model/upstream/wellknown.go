package upstream

import (
	"net/netip"
	"slices"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/xlat"
)

// Name is what resolvers are asked for: it has IPv4 addresses alone, so whoever answers with IPv6 ones has made them (RFC 7050 3).
const Name = "ipv4only.arpa."

// wellKnown are the addresses of the name (RFC 7050 8.2).
var wellKnown = [2]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 0, 170}), netip.AddrFrom4([4]byte{192, 0, 0, 171})}

// lengths of prefixes that carry IPv4 addresses (RFC 6052 2.2).
var lengths = [...]int{32, 40, 48, 56, 64, 96}

// Why an address that a resolver gave for the name tells no prefix.
const (
	NoWellKnown desired.Why = "it is an answer for ipv4only.arpa that holds neither 192.0.0.170 nor 192.0.0.171 (RFC 7050 3)"
	Ambiguous   desired.Why = "it is an answer for ipv4only.arpa that holds them in more than one place, and no other address tells which is meant (RFC 7050 3)"
)

// Misread is an address that tells no prefix.
type Misread struct {
	Addr netip.Addr
	Why  desired.Why
}

// FromAddrs finds the prefixes by which a resolver made the addresses that it gave for the name: each holds a well-known IPv4 address in one
// of the six places of RFC 6052 2.2. Where one fits in several places the other well-known address decides: a DNS64 makes one of each
// (RFC 7050 3). The prefixes come in the order of the addresses, once each.
func FromAddrs(addrs []netip.Addr) (found []netip.Prefix, misread []Misread) {
	for _, a := range addrs {
		places := carriers(a)
		if len(places) > 1 {
			places = slices.DeleteFunc(places, func(p place) bool { return !slices.Contains(addrs, p.by.Embed(p.other)) })
		}
		switch {
		case len(carriers(a)) == 0:
			misread = append(misread, Misread{a, NoWellKnown})
		case len(places) != 1:
			misread = append(misread, Misread{a, Ambiguous})
		case !slices.Contains(found, places[0].by.Prefix()):
			found = append(found, places[0].by.Prefix())
		}
	}
	return found, misread
}

// place is a way to read an address: the prefix that it would be made with, and the well-known address that it does not hold.
type place struct {
	by    xlat.Pref64
	other netip.Addr
}

// carriers are the places where an address holds a well-known one.
func carriers(a netip.Addr) (out []place) {
	if !a.Is6() || a.Is4In6() {
		return nil
	}
	for _, bits := range lengths {
		by, err := xlat.NewPref64(netip.PrefixFrom(a.WithZone(""), bits).Masked())
		if err != nil || bits < 96 && a.As16()[8] != 0 { // the octet between must be zero (RFC 6052 2.2)
			continue
		}
		four, _ := by.Extract(a.WithZone(""))
		if i := slices.Index(wellKnown[:], four); i >= 0 {
			out = append(out, place{by, wellKnown[1-i]})
		}
	}
	return out
}

// Times of asking a resolver, in seconds.
const (
	before   = 10      // RFC 7050 3: it is asked again so long before its answer is over
	soonest  = 30      // of answers that hold shorter
	latest   = 86_400  // of answers that hold longer
	noneFor  = 300     // after the word that there is no DNS64
	firstTry = 1       // after a resolver did not answer; doubles
	lastTry  = 5 * 60  // at most
	keepMost = 604_800 // longest time that an answer counts (RFC 2181 8 allows more)
)

// Asking is when a resolver is asked. Its zero value asks at once.
type Asking struct {
	Next   int64 // when to ask; 0: now
	failed int64 // seconds that it waited after the last failure
}

// Due reports whether to ask at a time.
func (a Asking) Due(now int64) bool { return a.Next <= now }

// Failed notes that nobody answered: what was found before holds for as long as it was told to.
func (a *Asking) Failed(now int64) {
	a.failed = min(max(2*a.failed, firstTry), lastTry)
	a.Next = now + a.failed
}

// None notes the word that there is no DNS64.
func (a *Asking) None(now int64) { *a = Asking{Next: now + noneFor} }

// Found notes an answer that lives for ttl seconds, and returns until when it counts. One that would be over before it is asked for again
// counts until then: a resolver that remembers an answer gives it with what is left of its time.
func (a *Asking) Found(now int64, ttl uint32) (until int64) {
	again := min(max(int64(ttl)-before, soonest), latest)
	*a = Asking{Next: now + again}
	return now + max(min(int64(ttl), keepMost), again+before)
}
