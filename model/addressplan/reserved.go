package addressplan

import (
	"net/netip"

	"hexapod.dev/model/prefix"
)

// identifiers is a run of interface identifiers (the low 64 bits) that no host may use.
type identifiers struct {
	first, last uint64
	name        string
}

// reservedIdentifiers are those of IANA's registry (RFC 5453), without the link-local ones that cannot meet a plan.
func reservedIdentifiers() []identifiers {
	return []identifiers{
		{0, 0, "the subnet-router anycast address (RFC 4291 section 2.6.1)"},
		{0x02005efffe000000, 0x02005efffeffffff, "identifiers of the IANA Ethernet block (RFC 5453)"},
		{0xfdffffffffffff80, 0xfdffffffffffffff, "subnet anycast addresses (RFC 2526)"},
	}
}

// ReservedAddr tells whether a, in the host prefix host, is one that must never be given to an endpoint, and what it is.
func ReservedAddr(host netip.Prefix, a netip.Addr) (name string, reserved bool) {
	if a == host.Addr() {
		return reservedIdentifiers()[0].name, true
	}
	_, id := prefix.HostPart(a, 64)
	for _, r := range reservedIdentifiers()[1:] {
		if id >= r.first && id <= r.last {
			return r.name, true
		}
	}
	// RFC 2526 section 2: without 64-bit identifiers the anycast block is the top 128 addresses of the prefix, which is kept in a
	// /64 as well. Below 16 bits of host part that would be most of it; such a prefix is routed to its host, never a link.
	if host.Bits() <= 112 {
		_, fromTop := prefix.HostPart(prefix.Last(host), 64)
		if fromTop-id < 128 {
			return reservedIdentifiers()[2].name, true
		}
	}
	return "", false
}

// reservedHost tells whether a host prefix narrower than a /64 holds identifiers that are reserved in its /64. The rack may be
// a link there (a cloud subnet, say), where those addresses belong to routers.
func reservedHost(h netip.Prefix) (name string, reserved bool) {
	if h.Bits() <= 64 {
		return "", false
	}
	_, first := prefix.HostPart(h.Addr(), 64)
	_, last := prefix.HostPart(prefix.Last(h), 64)
	for _, r := range reservedIdentifiers() {
		if first <= r.last && r.first <= last {
			return r.name, true
		}
	}
	return "", false
}

// reservedHosts counts the host prefixes of a rack that reservedHost refuses.
func reservedHosts(rack netip.Prefix, bits int) uint64 {
	if bits <= 64 || prefix.Count(rack, bits) == 0 {
		return 0
	}
	if rack.Bits() < 64 {
		// Every /64 of the rack has the same reserved identifiers.
		one, err := rack.Addr().Prefix(64)
		if err != nil {
			return 0
		}
		return prefix.Count(rack, 64) * reservedHosts(one, bits)
	}
	_, first := prefix.HostPart(rack.Addr(), 64)
	_, last := prefix.HostPart(prefix.Last(rack), 64)
	size := 128 - bits // host bits, below 64 here
	var n, next uint64 // next: the lowest host number not counted yet
	for _, r := range reservedIdentifiers() {
		if r.last < first || r.first > last {
			continue
		}
		lo, hi := (max(r.first, first)-first)>>size, (min(r.last, last)-first)>>size
		if lo = max(lo, next); lo <= hi {
			n, next = n+hi-lo+1, hi+1
		}
	}
	return n
}
