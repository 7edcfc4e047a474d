package policy

import (
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/model/transport"
)

// Image is the part of a Table that does not depend on the other end or the port, as sets of rows: what a datapath reads first.
type Image struct {
	Anyone, Outside, AnyPort, Deny Bits

	// Rows that pass, by the tier that they are in, and the rows behind that tier. At most two tiers have such rows.
	Pass, Behind [2]Bits
}

// Image returns the sets of a table.
func (t *Table) Image() (Image, error) {
	im := Image{Anyone: t.Anyone, Outside: t.Outside, AnyPort: t.AnyPort}
	var nexts []int
	for i, r := range t.Rows {
		switch r.Action {
		case Deny:
			im.Deny.set(i)
		case Pass:
			k := slices.Index(nexts, r.Next)
			if k < 0 {
				k, nexts = len(nexts), append(nexts, r.Next)
			}
			if k == len(im.Pass) {
				return Image{}, fmt.Errorf("rows of more than %d tiers pass: %q is too many", len(im.Pass), r.Rule)
			}
			im.Pass[k].set(i)
		}
	}
	for k, next := range nexts {
		for i := next; i < len(t.Rows); i++ {
			im.Behind[k].set(i)
		}
	}
	return im, nil
}

// PortPrefix is a range of ports that has the same leading bits: the form a longest-prefix table takes.
type PortPrefix struct {
	Protocol transport.Protocol
	Port     uint16
	Bits     int // of Port that count
}

// Cut returns a range as the fewest prefixes.
func (r PortRange) Cut() (out []PortPrefix) {
	for first, last := uint32(r.First), uint32(r.Last); first <= last; {
		size := uint32(1)
		for first%(2*size) == 0 && first+2*size-1 <= last && size < 1<<16 {
			size *= 2
		}
		length := 16
		for s := size; s > 1; s /= 2 {
			length--
		}
		out = append(out, PortPrefix{r.Protocol, uint16(first), length})
		first += size
	}
	return out
}

// MappedPrefixes returns Prefixes as a table of IPv6 alone has them, IPv4 as ::ffff:0:0/96 (RFC 4291 2.5.5.2). ::/0 does not speak of
// IPv4, so there is an entry between.
func (t *Table) MappedPrefixes() []PrefixRows {
	mapped := netip.PrefixFrom(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff}), 96)
	var out []PrefixRows
	between := false
	for _, p := range t.Prefixes {
		if p.Prefix.Addr().Is4() {
			p.Prefix = netip.PrefixFrom(netip.AddrFrom16(p.Prefix.Addr().As16()), 96+p.Prefix.Bits())
		}
		between = between || p.Prefix == mapped
		out = append(out, p)
	}
	if !between && len(out) > 0 {
		out = append(out, PrefixRows{Prefix: mapped})
	}
	return out
}

// Decide returns the row that decides, for the rows that match the other end and those that match the port; -1 and Deny where none
// does, which no table is made for.
func (im *Image) Decide(peers, ports Bits) (row int, a Action) {
	for i := range peers {
		peers[i] &= ports[i]
	}
	for {
		row = peers.firstOfBoth(&peers, 0)
		switch {
		case row < 0:
			return -1, Deny
		case im.Deny.has(row):
			return row, Deny
		}
		behind := -1
		for k := range im.Pass {
			if im.Pass[k].has(row) {
				behind = k
			}
		}
		if behind < 0 {
			return row, Accept
		}
		for i := range peers {
			peers[i] &= im.Behind[behind][i]
		}
	}
}
