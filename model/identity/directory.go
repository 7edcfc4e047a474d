package identity

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// Trust says what proves an identity besides known entries.
type Trust string

// The rules of trust.
const (
	// TrustBits believes the address itself where its prefix is identity-bearing.
	TrustBits Trust = "bits"
	// TrustExact believes entries alone, where the edge is not known to drop inside sources from outside.
	TrustExact Trust = "exact"
)

// Decode reads the identity an address carries. It is called only with addresses of the prefix it stands beside, and returns
// false where the address carries none.
type Decode func(netip.Addr) (Number, bool)

// Proof says why an answer is believed.
type Proof string

// The proofs, strongest first.
const (
	ByEntry  Proof = "exact entry"
	ByPrefix Proof = "prefix entry"
	ByBits   Proof = "address bits"
	Outside  Proof = "outside" // nobody the fabric knows
)

// Answer is who has an address. Number is Unknown when By is Outside, and also for an inside endpoint that has no number yet.
type Answer struct {
	Number Number
	By     Proof
}

// Directory answers who has an address. It never changes: With and Without return another one that shares what is equal, so
// readers need no lock. The zero value is not valid; NewDirectory makes one.
type Directory struct {
	trust    Trust
	exact    *bart.Table[Number]
	prefixes *bart.Table[Number]
	bearing  *bart.Table[Decode]
}

// NewDirectory makes an empty directory.
func NewDirectory(trust Trust) *Directory {
	return &Directory{trust, new(bart.Table[Number]), new(bart.Table[Number]), new(bart.Table[Decode])}
}

// Who says who has an address: its exact entry, else the longest prefix entry around it, else its own bits if its prefix is
// identity-bearing and bits are trusted, else it is outside. An entry always wins over bits, however long the prefix.
func (d *Directory) Who(a netip.Addr) Answer {
	a = plain(a)
	if n, ok := d.exact.Lookup(a); ok {
		return Answer{n, ByEntry}
	}
	if n, ok := d.prefixes.Lookup(a); ok {
		return Answer{n, ByPrefix}
	}
	if d.trust == TrustBits {
		if decode, ok := d.bearing.Lookup(a); ok {
			if n, carried := decode(a); carried {
				return Answer{n, ByBits}
			}
		}
	}
	return Answer{Unknown, Outside}
}

// With returns a directory that also has an exact entry.
func (d *Directory) With(a netip.Addr, n Number) *Directory {
	e := *d
	e.exact = d.exact.InsertPersist(single(a), n)
	return &e
}

// Without returns a directory that has no exact entry for an address.
func (d *Directory) Without(a netip.Addr) *Directory {
	e := *d
	e.exact = d.exact.DeletePersist(single(a))
	return &e
}

// WithPrefix returns a directory that also has an entry for a whole prefix.
func (d *Directory) WithPrefix(p netip.Prefix, n Number) *Directory {
	e := *d
	e.prefixes = d.prefixes.InsertPersist(p, n)
	return &e
}

// WithBearing returns a directory that also believes the bits of addresses of p: a host prefix of the fabric's own, or the
// prefix of a peer that the configuration names.
func (d *Directory) WithBearing(p netip.Prefix, decode Decode) *Directory {
	e := *d
	e.bearing = d.bearing.InsertPersist(p, decode)
	return &e
}

// plain takes off what does not belong to the address itself: a zone, and the IPv6 coat of an IPv4 address.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func single(a netip.Addr) netip.Prefix {
	a = plain(a)
	return netip.PrefixFrom(a, a.BitLen())
}
