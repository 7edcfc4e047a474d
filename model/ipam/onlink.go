package ipam

import (
	"fmt"
	"hash/fnv"
	"net/netip"
)

// Widths of an on-link host part: twin 1 | born 31 | sequence 8 | group 24. The group comes last: it is what a solicited-node group
// is made of (RFC 4291 2.7.1), so all addresses of a host cost one.
const (
	groupBits          = 24
	onLinkSequenceBits = 8
	onLinkBornAt       = groupBits + onLinkSequenceBits
	onLinkTwinAt       = onLinkBornAt + 31
)

// GroupOf returns the low 24 bits of every address that the host of that name has in prefixes it shares with others. Two names may
// have the same ones, about once in 2^24 pairs: a plan looks for that.
func GroupOf(host string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(host)) // never fails
	sum := h.Sum32()
	return sum>>groupBits ^ sum&(1<<groupBits-1) // folded, as its authors advise for widths under 32
}

// NewOnLink returns the layout of one host's addresses in a prefix that lies on a link and that others have addresses in: other
// hosts, each with a group of its own (see [GroupOf]), and nodes that number themselves. It says when and which, and by the group
// whose, but not who: anybody on the link may take any address.
func NewOnLink(prefix netip.Prefix, group uint32) (Layout, error) {
	l, err := NewLayout(prefix, nil)
	switch {
	case err != nil:
		return Layout{}, err
	case prefix.Bits() != 64: // RFC 4291 2.5.1: interface identifiers have 64 bits
		return Layout{}, fmt.Errorf("shared prefix %s: want the /64 of the link", prefix)
	case group >= 1<<groupBits:
		return Layout{}, fmt.Errorf("shared prefix %s: group %x does not fit %d bits", prefix, group, groupBits)
	}
	l.kind, l.group = OnLink, uint64(group)
	return l, nil
}

// fits returns the first stamp from s on that the layout has room for: an on-link one has 256 in each second.
func (l Layout) fits(s Stamp) Stamp {
	if l.kind == OnLink && s.Sequence() >= 1<<onLinkSequenceBits {
		return StampAt(s.Born() + 1)
	}
	return s
}

// selfNumbered reports whether a host part looks like one that a node made of its MAC (RFC 4291 2.5.1, appendix A: ff:fe in its
// middle). They are left to those nodes.
func selfNumbered(host uint64) bool { return host>>groupBits&0xffff == 0xfffe }
