package ipam

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Kind is how a host part is written.
type Kind uint8

const (
	Wide   Kind = iota // up to /64, readable: identity 16 | twin 1 | born 31 | sequence 16
	Sealed             // up to /64: the same through a keyed permutation
	OnLink             // a /64 of a link, shared with others: twin 1 | born 31 | sequence 8 | group 24
	Mid                // /65 to /80: identity 16 | twin 1 | counter 31
	Narrow             // /81 and longer: counter
)

func (k Kind) String() string {
	return [...]string{"wide", "sealed", "on-link", "mid", "narrow"}[k]
}

// Fields is what a host part says. Wide, sealed and on-link ones have Born and Sequence, mid and narrow ones Counter. On-link and
// narrow ones have no Identity, narrow ones no Twin either.
type Fields struct {
	Identity uint16
	Twin     bool // the CLAT address of the endpoint (RFC 6877 6.3 wants one of its own)
	Born     Seconds
	Sequence uint16
	Counter  uint64
}

// Layout writes and reads the host parts of one host prefix.
type Layout struct {
	prefix  netip.Prefix
	kind    Kind
	seal    *Seal
	mask    uint64 // of seal, for this prefix
	high    uint64 // upper 64 bits of the prefix
	low     uint64 // lower 64 bits of the prefix
	bits    int    // width of the host part
	counter int    // width of the counter, 0 for those with a clock
	group   uint64 // on-link: the low bits of all addresses
}

// NewLayout returns the layout of a host prefix. A seal applies up to /64 only; for longer prefixes it must be nil.
func NewLayout(prefix netip.Prefix, seal *Seal) (Layout, error) {
	if !prefix.IsValid() || !prefix.Addr().Is6() || prefix.Addr().Is4In6() {
		return Layout{}, fmt.Errorf("host prefix %s: want an IPv6 prefix", prefix)
	}
	if prefix != prefix.Masked() {
		return Layout{}, fmt.Errorf("host prefix %s: bits are set behind the length, want %s", prefix, prefix.Masked())
	}
	if prefix.Bits() > 126 {
		return Layout{}, fmt.Errorf("host prefix %s: want at most /126, there is no room for endpoints", prefix)
	}
	if seal != nil && prefix.Bits() > 64 {
		return Layout{}, fmt.Errorf("host prefix %s: sealed host parts need 64 bits, want at most /64", prefix)
	}
	b := prefix.Addr().As16()
	l := Layout{prefix: prefix, seal: seal, high: binary.BigEndian.Uint64(b[:8]), low: binary.BigEndian.Uint64(b[8:])}
	switch {
	case prefix.Bits() <= 64 && seal == nil:
		l.kind, l.bits = Wide, 64
	case prefix.Bits() <= 64:
		l.kind, l.bits, l.mask = Sealed, 64, seal.mask(l.high)
	case prefix.Bits() <= 80:
		l.kind, l.bits, l.counter = Mid, 48, 31
	default:
		l.kind, l.bits = Narrow, 128-prefix.Bits()
		l.counter = l.bits
	}
	return l, nil
}

// Prefix returns the host prefix.
func (l Layout) Prefix() netip.Prefix { return l.prefix }

// Kind returns how host parts are written.
func (l Layout) Kind() Kind { return l.kind }

// IdentityBearing reports whether an address of the prefix says who.
func (l Layout) IdentityBearing() bool { return l.kind != Narrow && l.kind != OnLink }

// Clocked reports whether an address of the prefix says when: then it is never given out again.
func (l Layout) Clocked() bool { return l.counter == 0 }

var errReserved = errors.New("the host part is reserved (RFC 5453, RFC 2526)")

// Encode returns the address that says f. It fails when a field does not fit its bits or the host part is reserved.
func (l Layout) Encode(f Fields) (netip.Addr, error) {
	clear, err := l.pack(f)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("encode an address of %s: %w", l.prefix, err)
	}
	if l.reserved(clear) && !l.hostsOwn(clear) {
		return netip.Addr{}, fmt.Errorf("encode an address of %s: %w", l.prefix, errReserved)
	}
	return l.join(clear), nil
}

// Decode returns what addr says. It fails when addr lies outside the prefix. With a seal the answer is noise when the key is
// another one than the writer's.
func (l Layout) Decode(addr netip.Addr) (Fields, error) {
	if !l.prefix.Contains(addr) {
		return Fields{}, fmt.Errorf("decode %s: not an address of host prefix %s", addr, l.prefix)
	}
	b := addr.As16()
	if l.prefix.Bits() < 64 && binary.BigEndian.Uint64(b[:8]) != l.high {
		return Fields{}, fmt.Errorf("decode %s: bits are set between host prefix %s and its 64-bit host part", addr, l.prefix)
	}
	host := binary.BigEndian.Uint64(b[8:]) ^ l.low
	if l.kind == Sealed && !l.reserved(host) {
		host = l.seal.open(l.mask, host, l.reserved)
	}
	if l.kind == OnLink && host&(1<<groupBits-1) != l.group {
		return Fields{}, fmt.Errorf("decode %s: not an address of this host, whose end in %06x; others have addresses in %s too", addr, l.group, l.prefix)
	}
	return l.unpack(host), nil
}

// Twin returns the CLAT address that belongs to addr, and whether the layout has one.
func (l Layout) Twin(addr netip.Addr) (netip.Addr, bool) {
	if l.kind == Narrow {
		return netip.Addr{}, false
	}
	f, err := l.Decode(addr)
	if err != nil {
		return netip.Addr{}, false
	}
	f.Twin = true
	twin, err := l.Encode(f)
	return twin, err == nil
}

// pack writes f into the clear host part.
func (l Layout) pack(f Fields) (uint64, error) {
	var twin uint64
	if f.Twin {
		twin = 1
	}
	if l.Clocked() && (f.Born < 0 || f.Born > maxBorn) {
		return 0, fmt.Errorf("born %s does not fit 31 bits of seconds", f.Born)
	}
	switch l.kind {
	case OnLink:
		if f.Sequence >= 1<<onLinkSequenceBits {
			return 0, fmt.Errorf("sequence %d does not fit %d bits", f.Sequence, onLinkSequenceBits)
		}
		return twin<<onLinkTwinAt | uint64(f.Born)<<onLinkBornAt | uint64(f.Sequence)<<groupBits | l.group, nil
	case Wide, Sealed:
		return uint64(f.Identity)<<48 | twin<<47 | uint64(f.Born)<<16 | uint64(f.Sequence), nil
	case Mid:
		if f.Counter >= 1<<31 {
			return 0, fmt.Errorf("counter %d does not fit 31 bits", f.Counter)
		}
		return uint64(f.Identity)<<32 | twin<<31 | f.Counter, nil
	default:
		if f.Counter >= 1<<l.bits {
			return 0, fmt.Errorf("counter %d does not fit %d bits", f.Counter, l.bits)
		}
		return f.Counter, nil
	}
}

func (l Layout) unpack(host uint64) Fields {
	switch l.kind {
	case OnLink:
		return Fields{
			Twin:     host>>onLinkTwinAt == 1,
			Born:     Seconds(host >> onLinkBornAt & maxBorn),
			Sequence: uint16(host >> groupBits & (1<<onLinkSequenceBits - 1)),
		}
	case Wide, Sealed:
		return Fields{
			Identity: uint16(host >> 48),
			Twin:     host>>47&1 == 1,
			Born:     Seconds(host >> 16 & maxBorn),
			Sequence: uint16(host),
		}
	case Mid:
		return Fields{Identity: uint16(host >> 32), Twin: host>>31&1 == 1, Counter: host & (1<<31 - 1)}
	default:
		return Fields{Counter: host}
	}
}

// join seals a clear host part if the layout does and puts it behind the prefix. A reserved one stays clear.
func (l Layout) join(host uint64) netip.Addr {
	if l.kind == Sealed && !l.reserved(host) {
		host = l.seal.close(l.mask, host, l.reserved)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], l.high)
	binary.BigEndian.PutUint64(b[8:], l.low|host)
	return netip.AddrFrom16(b)
}

// reserved reports whether a host part is not for endpoints. Sealed prefixes keep the clear values of the host's own
// identities out of the permutation, so that no sealed address falls on the router address or into the locator.
func (l Layout) reserved(host uint64) bool {
	switch l.kind {
	case OnLink:
		return reservedInterfaceID(host) || selfNumbered(host)
	case Sealed, Narrow:
		return reservedHostPart(l.low, host, l.bits) || l.hostsOwn(host)
	}
	return reservedHostPart(l.low, host, l.bits)
}

// hostsOwn reports whether a clear host part belongs to the host itself: it carries one of its identities, or where there is no
// identity it is 1, the router address. In a prefix that others share the host has none of its own.
func (l Layout) hostsOwn(host uint64) bool {
	switch l.kind {
	case OnLink:
		return false
	case Narrow:
		return host == 1
	}
	return !Workload(uint16(host >> (l.bits - 16)))
}
