// Package xlat translates packets between IPv6 and IPv4, statelessly and on byte slices: RFC 7915, with the addresses of RFC 6052 and RFC 7757.
//
// A Translator turns one packet into the packets of the other family, or into an answer to its sender, in a buffer the caller keeps; it
// allocates nothing. Who the ends of a packet are on the other side is a Mapper's word: Stateless here, NAT64 in model/xlat/nat64.
package xlat

import (
	"fmt"
	"net/netip"
	"slices"
)

// WellKnown is the well-known prefix (RFC 6052 2.1). It must not carry IPv4 addresses that are not global (3.1).
var WellKnown = Pref64{netip.MustParsePrefix("64:ff9b::/96")}

// Pref64 is a prefix whose addresses carry IPv4 addresses (RFC 6052 2.2). The zero value carries none.
type Pref64 struct{ prefix netip.Prefix }

// NewPref64 checks a prefix: its length is 32, 40, 48, 56, 64 or 96, and bits 64 to 71 are zero (RFC 6052 2.2).
func NewPref64(p netip.Prefix) (Pref64, error) {
	switch {
	case !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6():
		return Pref64{}, fmt.Errorf("NAT64 prefix %s: want an IPv6 prefix", p)
	case p != p.Masked():
		return Pref64{}, fmt.Errorf("NAT64 prefix %s: bits are set behind the length, want %s", p, p.Masked())
	case p.Bits() != 96 && (p.Bits() < 32 || p.Bits() > 64 || p.Bits()%8 != 0):
		return Pref64{}, fmt.Errorf("NAT64 prefix %s: the length must be 32, 40, 48, 56, 64 or 96 (RFC 6052 2.2)", p)
	case p.Addr().As16()[8] != 0:
		return Pref64{}, fmt.Errorf("NAT64 prefix %s: bits 64 to 71 must be zero (RFC 6052 2.2)", p)
	}
	return Pref64{p}, nil
}

// Prefix returns the prefix itself.
func (p Pref64) Prefix() netip.Prefix { return p.prefix }

// Embed returns the address that carries an IPv4 address. Bits 64 to 71 and the suffix are zero (RFC 6052 2.2).
func (p Pref64) Embed(a netip.Addr) netip.Addr {
	b, four := p.prefix.Addr().As16(), a.As4()
	at := p.prefix.Bits() / 8
	for _, x := range four {
		if at == 8 {
			at++ // the octet that is zero
		}
		b[at] = x
		at++
	}
	return netip.AddrFrom16(b)
}

// EmbedPrefix returns the prefix of the addresses that carry those of an IPv4 prefix.
func (p Pref64) EmbedPrefix(q netip.Prefix) netip.Prefix {
	bits := p.prefix.Bits() + q.Bits()
	if p.prefix.Bits() <= 64 && bits > 64 {
		bits += 8 // the octet that is zero (RFC 6052 2.2)
	}
	return netip.PrefixFrom(p.Embed(q.Masked().Addr()), bits)
}

// Extract returns the IPv4 address that an address carries; false if it lies outside the prefix. The suffix is ignored
// (RFC 6052 2.2: "SHOULD be ignored").
func (p Pref64) Extract(a netip.Addr) (netip.Addr, bool) {
	if !p.prefix.Contains(a) {
		return netip.Addr{}, false
	}
	b, at := a.As16(), p.prefix.Bits()/8
	var four [4]byte
	for i := range four {
		if at == 8 {
			at++
		}
		four[i] = b[at]
		at++
	}
	return netip.AddrFrom4(four), true
}

// May reports whether the prefix may carry an IPv4 address: the well-known one only global addresses (RFC 6052 3.1), and none
// carries "this network", loopback, link-local or multicast addresses.
func (p Pref64) May(a netip.Addr) bool {
	if within(a, never) {
		return false
	}
	return p != WellKnown || !within(a, notGlobal)
}

// Never reports whether an IPv4 address is never translated: "this network", loopback, link-local (where clouds keep their metadata) and
// multicast.
func Never(a netip.Addr) bool { return within(a, never) }

// Global reports whether an IPv4 address is globally reachable by the registry of RFC 6890.
func Global(a netip.Addr) bool { return !within(a, never) && !within(a, notGlobal) }

// NotGlobal returns the IPv4 networks whose addresses are not globally reachable by the registry of RFC 6890.
func NotGlobal() []netip.Prefix { return append(slices.Clone(never), notGlobal...) }

func within(a netip.Addr, of []netip.Prefix) bool {
	for _, p := range of {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

var never = prefixes("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32")

// notGlobal are the other blocks that the registry of RFC 6890 calls not globally reachable.
var notGlobal = prefixes("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4")

func prefixes(text ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range text {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}
