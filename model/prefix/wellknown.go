package prefix

import "net/netip"

// Range is a part of the address space with a meaning that standards gave it.
type Range struct {
	Prefix netip.Prefix
	Name   string // what it is, to stand after "is": `a documentation prefix`
	Source string // the standard
	Plan   Use    // may a plan lie in it
}

// Use says what an address plan may do with a range.
type Use int

const (
	// Fit is made for hosts and their endpoints.
	Fit Use = iota
	// LabOnly must never be deployed: documentation and benchmarking prefixes.
	LabOnly
	// Unfit has another purpose; a plan in it does not work or hurts others.
	Unfit
)

// Well-known ranges that are named in more than one place.
var (
	GlobalUnicast   = netip.MustParsePrefix("2000::/3")      // RFC 4291 section 2.4
	UniqueLocal     = netip.MustParsePrefix("fc00::/7")      // RFC 4193 section 3.1
	LocallyChosen   = netip.MustParsePrefix("fd00::/8")      // RFC 4193 section 3.1: L = 1
	Documentation   = netip.MustParsePrefix("2001:db8::/32") // RFC 3849
	Documentation20 = netip.MustParsePrefix("3fff::/20")     // RFC 9637
	WellKnownPref64 = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052 section 2.1
)

// WellKnown returns all known ranges, in order of address.
func WellKnown() []Range {
	at := netip.MustParsePrefix
	return []Range{
		{at("::/128"), "the unspecified address", "RFC 4291 section 2.5.2", Unfit},
		{at("::1/128"), "the loopback address", "RFC 4291 section 2.5.3", Unfit},
		{at("::ffff:0:0/96"), "the range of IPv4-mapped addresses", "RFC 4291 section 2.5.5.2", Unfit},
		{WellKnownPref64, "the well-known NAT64 prefix", "RFC 6052 section 2.1", Unfit},
		{at("64:ff9b:1::/48"), "the local-use NAT64 range", "RFC 8215", Unfit},
		{at("100::/64"), "the discard-only range", "RFC 6666", Unfit},
		{GlobalUnicast, "global unicast space", "RFC 4291 section 2.4", Fit},
		{at("2001::/32"), "the Teredo range", "RFC 4380", Unfit},
		{at("2001:2::/48"), "the benchmarking range", "RFC 5180", LabOnly},
		{Documentation, "a documentation prefix", "RFC 3849", LabOnly},
		{at("2002::/16"), "the 6to4 range", "RFC 3056", Unfit},
		{Documentation20, "a documentation prefix", "RFC 9637", LabOnly},
		{at("5f00::/16"), "the SRv6 SID range", "RFC 9602", Unfit},
		{UniqueLocal, "unique local space", "RFC 4193", Fit},
		{at("fe80::/10"), "the link-local range", "RFC 4291 section 2.5.6", Unfit},
		{at("fec0::/10"), "the deprecated site-local range", "RFC 3879", Unfit},
		{at("ff00::/8"), "the multicast range", "RFC 4291 section 2.7", Unfit},
	}
}
