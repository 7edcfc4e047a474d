package prefix

import (
	"fmt"
	"net/netip"
	"strings"
)

// ReverseZones returns the prefixes that need a reverse zone each so that all of p is served: DNS cuts IPv6 at every four
// bits (RFC 3596 section 2.5) and IPv4 at every eight, so a /37 needs the eight /40 in it. What is aligned already is
// returned as it is; the root (a /0) has no zone of its own and is an error.
func ReverseZones(p netip.Prefix) ([]netip.Prefix, error) {
	if err := Valid(p); err != nil {
		return nil, err
	}
	step := labelBits(p.Addr())
	bits := (p.Bits() + step - 1) / step * step
	if bits == 0 {
		return nil, fmt.Errorf("%s is the whole tree: no reverse zone belongs to it", p)
	}
	zones := make([]netip.Prefix, Count(p, bits))
	for i := range zones {
		var err error
		if zones[i], err = Child(p, bits, uint64(i)); err != nil {
			return nil, err
		}
	}
	return zones, nil
}

// ReverseName returns the DNS name of p's reverse zone, with its final dot: RFC 3596 section 2.5 for IPv6, RFC 1035
// section 3.5 for IPv4. A length between two labels is an error; see [ReverseZones].
func ReverseName(p netip.Prefix) (string, error) {
	if err := Valid(p); err != nil {
		return "", err
	}
	step := labelBits(p.Addr())
	if p.Bits()%step != 0 {
		return "", fmt.Errorf("%s ends between two labels of the reverse tree: its zones are at /%d", p, (p.Bits()/step+1)*step)
	}
	var b strings.Builder
	raw := p.Addr().AsSlice()
	for i := p.Bits()/step - 1; i >= 0; i-- {
		if step == 8 {
			fmt.Fprintf(&b, "%d.", raw[i])
			continue
		}
		fmt.Fprintf(&b, "%x.", raw[i/2]>>(4*(1-i%2))&0xf)
	}
	if step == 8 {
		return b.String() + "in-addr.arpa.", nil
	}
	return b.String() + "ip6.arpa.", nil
}

func labelBits(a netip.Addr) int {
	if a.Is4() {
		return 8
	}
	return 4
}
