package v1alpha1

import (
	"fmt"
	"math/bits"
	"net/netip"
)

// fieldRange is a range of addresses and the field that names it.
type fieldRange struct {
	field string
	r     netip.Prefix
	// anyScope: a link-local address is right here.
	anyScope bool
	// random: if the range is a ULA, its global ID should be random.
	random bool
}

func (p *AddressPlan) ranges() []fieldRange {
	out := []fieldRange{{field: "spec.prefix", r: p.Spec.Prefix.Prefix, random: true}}
	for i, c := range p.Spec.Clusters {
		out = append(out, fieldRange{field: fmt.Sprintf("spec.clusters[%d].prefix", i), r: c.Prefix.Prefix})
	}
	for i, q := range p.Spec.Peers {
		out = append(out, fieldRange{field: fmt.Sprintf("spec.peers[%d].prefix", i), r: q.Prefix.Prefix})
	}
	return out
}

func (h *Host) ranges() []fieldRange {
	out := []fieldRange{{field: "spec.prefix", r: h.Spec.Prefix.Prefix, random: true}}
	for i, a := range h.Spec.Addresses {
		out = append(out, fieldRange{field: fmt.Sprintf("spec.addresses[%d]", i), r: single(a)})
	}
	for i, u := range h.Spec.Uplinks {
		at := fmt.Sprintf("spec.uplinks[%d].", i)
		out = append(out,
			fieldRange{field: at + "address", r: single(u.Address), anyScope: true},
			fieldRange{field: at + "gateway", r: single(u.Gateway), anyScope: true})
	}
	return out
}

func (p *Pool) ranges() []fieldRange {
	return []fieldRange{{field: "spec.prefix", r: p.Spec.Prefix.Prefix, random: true}}
}

func (i *Identity) ranges() []fieldRange { return nil }

func (a *Address) ranges() []fieldRange {
	return []fieldRange{{field: "spec.address", r: single(a.Spec.Address)}}
}

func (b *BGPPeer) ranges() []fieldRange {
	// What a peer may give need not be ours, nor IPv6 (RFC 8950): spec.accept is not among them.
	return []fieldRange{{field: "spec.address", r: single(b.Spec.Address), anyScope: true}}
}

// single returns the range of one address; of none, the zero prefix.
func single(a Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a.Addr, a.BitLen())
}

// named is a range that the registries know by a name.
type named struct {
	r    netip.Prefix
	name string
}

func namedRange(r, name string) named { return named{netip.MustParsePrefix(r), name} }

var (
	globalUnicast = netip.MustParsePrefix("2000::/3") // RFC 4291 2.4
	uniqueLocal   = netip.MustParsePrefix("fc00::/7") // RFC 4193 3.1

	documentation = []named{
		namedRange("2001:db8::/32", "documentation (RFC 3849)"),
		namedRange("3fff::/20", "documentation (RFC 9637)"),
	}

	// impossible ranges cannot be routed to a host at all.
	impossible = []named{
		namedRange("ff00::/8", "multicast (RFC 4291 2.7)"),
		namedRange("fe80::/10", "link-local (RFC 4291 2.5.6)"),
		namedRange("::1/128", "loopback (RFC 4291 2.5.3)"),
		namedRange("::/128", "unspecified (RFC 4291 2.5.2)"),
		namedRange("::ffff:0:0/96", "IPv4-mapped (RFC 4291 2.5.5.2)"),
	}

	// unusual ranges are used, with a warning that names them. The last one holds what nobody has named.
	unusual = []named{
		namedRange("fec0::/10", "site-local, deprecated (RFC 3879)"),
		namedRange("64:ff9b::/96", "the well-known NAT64 prefix (RFC 6052)"),
		namedRange("64:ff9b:1::/48", "local-use NAT64 (RFC 8215)"),
		namedRange("100::/64", "discard-only (RFC 6666)"),
		namedRange("5f00::/16", "SRv6 SIDs (RFC 9602)"),
		namedRange("200::/7", "deprecated NSAP mapping (RFC 4048)"),
		namedRange("::/8", "reserved by the IETF (RFC 4291 2.4)"),
		namedRange("::/0", "not assigned by IANA"),
	}
)

// within returns the name of the first range that holds or meets r.
func within(r netip.Prefix, list []named) (string, bool) {
	for _, n := range list {
		if n.r.Overlaps(r) {
			return n.name, true
		}
	}
	return "", false
}

// checkRanges reports what is wrong with each range of an object by itself.
func checkRanges(rep *report) {
	for _, f := range rep.object.ranges() {
		if !f.r.IsValid() {
			continue
		}
		if f.r.Addr().Is4() {
			rep.errorf(f.field, "give an IPv6 one; IPv4 is written in spec.ipv4 of the AddressPlan alone", "%s is IPv4", rangeText(f.r))
			continue
		}
		if name, bad := within(f.r, impossible); bad && !(f.anyScope && f.r.Addr().IsLinkLocalUnicast()) {
			rep.errorf(f.field, "take it from a prefix that is yours", "%s is %s", rangeText(f.r), name)
			continue
		}
		warnRange(rep, f)
	}
}

func warnRange(rep *report, f fieldRange) {
	if f.anyScope && f.r.Addr().IsLinkLocalUnicast() {
		return
	}
	if !contains(globalUnicast, f.r) && !contains(uniqueLocal, f.r) {
		name, _ := within(f.r, unusual)
		rep.warnf(f.field, "use a prefix of your own from 2000::/3, or a ULA: hexapod plan new", "%s is outside 2000::/3 and fc00::/7: %s", rangeText(f.r), name)
		return
	}
	if !f.random || !contains(uniqueLocal, f.r) {
		return
	}
	if why := weakGlobalID(f.r); why != "" {
		rep.warnf(f.field, "let hexapod plan new draw one", "%s is a ULA without a random global ID (RFC 4193 3.2.2): %s", rangeText(f.r), why)
	}
}

// weakGlobalID says why the 40 bits after the first octet of a ULA do not look drawn at random; "" if they do. A random one is
// called weak less than once in ten thousand.
func weakGlobalID(r netip.Prefix) string {
	b := r.Addr().As16()
	switch {
	case b[0] != 0xfd:
		return "fc00::/8 has no rule for its global IDs"
	case r.Bits() < 48:
		return fmt.Sprintf("a /%d spans more than one global ID", r.Bits())
	}
	ones, seen := 0, uint16(0)
	for _, octet := range b[1:6] {
		ones += bits.OnesCount8(octet)
		seen |= 1<<(octet>>4) | 1<<(octet&15)
	}
	if ones < 8 || ones > 32 {
		return fmt.Sprintf("%d of its 40 bits are set", ones)
	}
	if n := bits.OnesCount16(seen); n <= 3 {
		return fmt.Sprintf("it is made of %d different digits", n)
	}
	if step := b[2] - b[1]; b[3]-b[2] == step && b[4]-b[3] == step && b[5]-b[4] == step {
		return "its octets count in equal steps"
	}
	return ""
}

// contains reports whether all of inner lies in outer.
func contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// rangeText writes a single address without its length.
func rangeText(r netip.Prefix) string {
	if r.IsSingleIP() {
		return r.Addr().String()
	}
	return r.String()
}
