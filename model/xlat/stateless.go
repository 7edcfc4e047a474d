package xlat

import (
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"
)

// EAM maps addresses explicitly (RFC 7757). The zero value is empty.
type EAM struct {
	by4, by6 bart.Table[pair]
}

type pair struct{ four, six netip.Prefix }

// Add adds an entry. An IPv4 suffix may not be longer than the IPv6 one (RFC 7757 3.1); what the IPv6 suffix has more is zero.
func (e *EAM) Add(four, six netip.Prefix) error {
	switch {
	case !four.IsValid() || !four.Addr().Is4() || !six.IsValid() || !six.Addr().Is6() || six.Addr().Is4In6():
		return fmt.Errorf("EAM %s - %s: want an IPv4 and an IPv6 prefix", four, six)
	case four != four.Masked() || six != six.Masked():
		return fmt.Errorf("EAM %s - %s: bits are set behind a length, want %s - %s", four, six, four.Masked(), six.Masked())
	case 32-four.Bits() > 128-six.Bits():
		return fmt.Errorf("EAM %s - %s: the IPv4 suffix has %d bits and the IPv6 one only %d (RFC 7757 3.1)", four, six, 32-four.Bits(), 128-six.Bits())
	}
	e.by4.Insert(four, pair{four, six})
	e.by6.Insert(six, pair{four, six})
	return nil
}

// To6 returns the address of the longest entry that holds an IPv4 address (RFC 7757 3.3.1).
func (e *EAM) To6(a netip.Addr) (netip.Addr, bool) {
	p, ok := e.by4.Lookup(a)
	if !ok {
		return netip.Addr{}, false
	}
	from, to := a.As4(), p.six.Addr().As16()
	for i := range 32 - p.four.Bits() {
		moveBit(from[:], p.four.Bits()+i, to[:], p.six.Bits()+i)
	}
	return netip.AddrFrom16(to), true
}

// To4 is the way back (RFC 7757 3.3.2). Bits behind the IPv4 suffix are ignored.
func (e *EAM) To4(a netip.Addr) (netip.Addr, bool) {
	p, ok := e.by6.Lookup(a)
	if !ok {
		return netip.Addr{}, false
	}
	from, to := a.As16(), p.four.Addr().As4()
	for i := range 32 - p.four.Bits() {
		moveBit(from[:], p.six.Bits()+i, to[:], p.four.Bits()+i)
	}
	return netip.AddrFrom4(to), true
}

// moveBit copies a bit, counted from the left, into a place that is zero.
func moveBit(from []byte, i int, to []byte, k int) {
	bit := from[i/8] >> (7 - i%8) & 1
	to[k/8] |= bit << (7 - k%8)
}

// Stateless maps by address alone: explicit entries first, then prefixes (RFC 7757 3.2, RFC 7915 6). Ports stay.
type Stateless struct {
	EAM      EAM
	Prefixes []Pref64 // the first holds for addresses that come from IPv4
	// Router4 stands for the source of an ICMPv6 error that has no IPv4 address (RFC 7915 6, RFC 6791). The zero value drops such errors.
	Router4 netip.Addr
}

// To4 maps the ends of an IPv6 packet.
func (s *Stateless) To4(q Query) (Ends, Why) {
	src, why := s.addr4(q.Ends.Src)
	if why == NoMapping && q.Error && s.Router4.IsValid() {
		src, why = s.Router4, Translated
	}
	if why != Translated {
		return Ends{}, why
	}
	dst, why := s.addr4(q.Ends.Dst)
	return Ends{src, dst, q.Ends.SrcPort, q.Ends.DstPort}, why
}

// To6 maps the ends of an IPv4 packet.
func (s *Stateless) To6(q Query) (Ends, Why) {
	src, why := s.addr6(q.Ends.Src)
	if why != Translated {
		return Ends{}, why
	}
	dst, why := s.addr6(q.Ends.Dst)
	return Ends{src, dst, q.Ends.SrcPort, q.Ends.DstPort}, why
}

func (s *Stateless) addr4(a netip.Addr) (netip.Addr, Why) {
	if four, ok := s.EAM.To4(a); ok {
		return four, Translated
	}
	for _, p := range s.Prefixes {
		if four, ok := p.Extract(a); ok {
			if !p.May(four) {
				return netip.Addr{}, Forbidden
			}
			return four, Translated
		}
	}
	return netip.Addr{}, NoMapping
}

func (s *Stateless) addr6(a netip.Addr) (netip.Addr, Why) {
	if six, ok := s.EAM.To6(a); ok {
		return six, Translated
	}
	if len(s.Prefixes) == 0 {
		return netip.Addr{}, NoMapping
	}
	if !s.Prefixes[0].May(a) {
		return netip.Addr{}, Forbidden
	}
	return s.Prefixes[0].Embed(a), Translated
}
