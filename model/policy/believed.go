package policy

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/ipam"
)

// Form is how the addresses of a region say who has them.
type Form uint32

// The forms. Datapaths have the same numbers.
const (
	Silent Form = iota // inside, and no address says who
	Wide               // the 16 bits behind the first 64
	Mid                // the 16 bits behind the first 80
	Sealed             // as Wide, through the fabric's seal
)

// Region is a prefix whose addresses are inside, with the form in which they say who has them.
type Region struct {
	Prefix netip.Prefix
	Form   Form
}

// Believed says who has an address, as values that a datapath can hold: what its Directory answers.
type Believed struct {
	Trust   identity.Trust
	Exact   map[netip.Addr]identity.Number // stronger than regions
	Regions map[netip.Prefix]Form          // the longest around an address holds
	Seal    *ipam.Seal                     // of the regions that are Sealed
	Known   *Numbers                       // any other number is as good as Unknown; nil: all are known
}

// RegionOf returns the region of a host prefix. It is at least 64 bits long where addresses say who: what lies between a shorter
// host prefix and its host parts belongs to nobody.
func RegionOf(l ipam.Layout) (Region, error) {
	p := l.Prefix()
	switch l.Kind() {
	case ipam.Wide, ipam.Sealed:
		form := Wide
		if l.Kind() == ipam.Sealed {
			form = Sealed
		}
		if p.Bits() < 64 {
			p = netip.PrefixFrom(p.Addr(), 64)
		}
		return Region{p, form}, nil
	case ipam.Mid:
		if p.Bits() < 80 {
			p = netip.PrefixFrom(p.Addr(), 80)
		}
		return Region{p, Mid}, nil
	case ipam.OnLink, ipam.Narrow:
		return Region{p, Silent}, nil
	}
	return Region{}, fmt.Errorf("host prefix %s: addresses of form %s are not known here", p, l.Kind())
}

// Directory returns what answers for b.
func (b Believed) Directory() *identity.Directory {
	d := identity.NewDirectory(b.Trust)
	for a, n := range b.Exact {
		d = d.With(a, b.Known.Seen(n))
	}
	for p, f := range b.Regions {
		d = d.WithBearing(p, func(a netip.Addr) (identity.Number, bool) { return b.Known.Seen(b.Read(f, a)), true })
	}
	return d
}

// With returns b with one more exact entry.
func (b Believed) With(a netip.Addr, n identity.Number) Believed {
	b.Exact = maps.Clone(b.Exact)
	if b.Exact == nil {
		b.Exact = map[netip.Addr]identity.Number{}
	}
	b.Exact[a] = n
	return b
}

// Read returns the number that an address of a region says.
func (b Believed) Read(f Form, a netip.Addr) identity.Number {
	raw := a.As16()
	switch f {
	case Wide:
		return identity.Number(binary.BigEndian.Uint16(raw[8:]))
	case Mid:
		return identity.Number(binary.BigEndian.Uint16(raw[10:]))
	case Sealed:
		return identity.Number(b.open(raw) >> 48)
	}
	return identity.Unknown
}

// open reads a sealed host part; without a seal nobody can.
func (b Believed) open(raw [16]byte) uint64 {
	if b.Seal == nil {
		return 0
	}
	l, err := ipam.NewLayout(netip.PrefixFrom(netip.AddrFrom16(raw), 64).Masked(), b.Seal)
	if err != nil {
		return 0
	}
	f, err := l.Decode(netip.AddrFrom16(raw))
	if err != nil {
		return 0
	}
	return uint64(f.Identity) << 48
}

// Without returns b without the exact entry of an address.
func (b Believed) Without(a netip.Addr) Believed {
	b.Exact = maps.Clone(b.Exact)
	delete(b.Exact, a)
	return b
}
