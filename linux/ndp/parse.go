package ndp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Why a packet is thrown away. The receiver says nothing (RFC 4861 6.1 and 7.1).
var (
	errHeader    = errors.New("not an ICMPv6 message right behind an IPv6 header (RFC 6980 5: fragments are ignored)")
	errHopLimit  = errors.New("the hop limit is not 255: a router forwarded it (RFC 4861 6.1, 7.1)")
	errChecksum  = errors.New("the checksum is wrong (RFC 4861 6.1, 7.1)")
	errCode      = errors.New("the code is not 0 (RFC 4861 6.1, 7.1)")
	errType      = errors.New("not a neighbour discovery message")
	errShort     = errors.New("the message is too short (RFC 4861 6.1, 7.1)")
	errOption    = errors.New("an option has length zero or runs over the end (RFC 4861 4.6)")
	errSource    = errors.New("the source is a multicast address (RFC 4291 2.7)")
	errRASource  = errors.New("a router advertisement does not come from a link-local address (RFC 4861 6.1.2)")
	errTarget    = errors.New("the target is no unicast address (RFC 4861 7.1)")
	errDADGroup  = errors.New("a solicitation from the unspecified address does not go to a solicited-node group (RFC 4861 7.1.1)")
	errDADSource = errors.New("a solicitation from the unspecified address carries a source link-layer address (RFC 4861 6.1.1, 7.1.1)")
	errSolicited = errors.New("an advertisement to a group says that it was solicited (RFC 4861 7.1.2)")
)

// Parse reads an IPv6 packet and checks all that RFC 4861 6.1 and 7.1 ask for. checked says that somebody looked at the checksum,
// or that the packet has never been on a wire. Unknown options, and known ones of a wrong size, are passed over: their message
// still counts (RFC 4861 4.6, RFC 8106 5.3.1).
func Parse(b []byte, checked bool) (Packet, error) {
	if len(b) < headerLen+8 || b[0]>>4 != 6 || b[6] != nextICMPv6 {
		return Packet{}, errHeader
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length < 8 || length > len(b)-headerLen {
		return Packet{}, errHeader
	}
	p := Packet{Src: netip.AddrFrom16([16]byte(b[8:])), Dst: netip.AddrFrom16([16]byte(b[24:]))}
	body := b[headerLen : headerLen+length]
	switch {
	case b[7] != hopLimit:
		return Packet{}, errHopLimit
	case isGroup(p.Src):
		return Packet{}, errSource
	case !checked && checksum(p.Src, p.Dst, body) != 0:
		return Packet{}, errChecksum
	case body[1] != 0:
		return Packet{}, errCode
	}
	read := map[byte]func(*Packet, []byte) error{
		typeSolicitation: readSolicitation, typeAdvertisement: readAdvertisement,
		typeRouterSolicitation: readRouterSolicitation, typeRouterAdvertisement: readRouterAdvertisement,
	}[body[0]]
	if read == nil {
		return Packet{}, errType
	}
	return p, read(&p, body)
}

func readSolicitation(p *Packet, b []byte) error {
	if len(b) < 24 {
		return errShort
	}
	m := &Solicitation{Target: netip.AddrFrom16([16]byte(b[8:]))}
	p.Message = m
	err := options(b[24:], func(typ byte, v []byte) {
		switch typ {
		case optionSourceMAC:
			readMAC(&m.MAC, v)
		case optionNonce:
			m.Nonce = slices.Clone(v)
		}
	})
	fromNobody := p.Src == anywhere
	switch {
	case err != nil:
		return err
	case !unicast(m.Target):
		return errTarget
	case fromNobody && !isSolicitedNode(p.Dst):
		return errDADGroup
	case fromNobody && m.MAC != MAC{}:
		return errDADSource
	}
	return nil
}

func readAdvertisement(p *Packet, b []byte) error {
	if len(b) < 24 {
		return errShort
	}
	m := &Advertisement{
		Target: netip.AddrFrom16([16]byte(b[8:])),
		Router: b[4]&naRouter != 0, Solicited: b[4]&naSolicit != 0, Override: b[4]&naOverride != 0,
	}
	p.Message = m
	err := options(b[24:], func(typ byte, v []byte) {
		if typ == optionTargetMAC {
			readMAC(&m.MAC, v)
		}
	})
	switch {
	case err != nil:
		return err
	case !unicast(m.Target):
		return errTarget
	case isGroup(p.Dst) && m.Solicited:
		return errSolicited
	}
	return nil
}

func readRouterSolicitation(p *Packet, b []byte) error {
	m := &RouterSolicitation{}
	p.Message = m
	err := options(b[8:], func(typ byte, v []byte) {
		if typ == optionSourceMAC {
			readMAC(&m.MAC, v)
		}
	})
	if err == nil && p.Src == anywhere && m.MAC != (MAC{}) {
		return errDADSource
	}
	return err
}

func readRouterAdvertisement(p *Packet, b []byte) error {
	if len(b) < 16 {
		return errShort
	}
	if !isLinkLocal(p.Src) {
		return errRASource
	}
	m := &RouterAdvertisement{
		Managed: b[5]&0x80 != 0, Other: b[5]&0x40 != 0,
		Lifetime: time.Duration(binary.BigEndian.Uint16(b[6:])) * time.Second,
	}
	p.Message = m
	return options(b[16:], m.option)
}

// option reads one option of a router advertisement.
func (m *RouterAdvertisement) option(typ byte, v []byte) {
	switch {
	case typ == optionSourceMAC:
		readMAC(&m.MAC, v)
	case typ == optionMTU && len(v) == 6:
		m.MTU = binary.BigEndian.Uint32(v[2:])
	case typ == optionPrefix && len(v) == 30 && v[0] <= 128:
		m.Prefixes = append(m.Prefixes, PrefixInformation{
			Prefix:     netip.PrefixFrom(netip.AddrFrom16([16]byte(v[14:])), int(v[0])).Masked(),
			OnLink:     v[1]&0x80 != 0,
			Autonomous: v[1]&0x40 != 0,
			Delegate:   v[1]&0x10 != 0,
			Valid:      time.Duration(binary.BigEndian.Uint32(v[2:])) * time.Second,
			Preferred:  time.Duration(binary.BigEndian.Uint32(v[6:])) * time.Second,
		})
	case typ == optionPref64 && len(v) == 14:
		scaled := binary.BigEndian.Uint16(v)
		addr, bits, code := [16]byte{}, 96, int(scaled&7)
		copy(addr[:], v[2:])
		reserved := code >= len(pref64Lengths) // RFC 8781 4: to be ignored, and told of
		if !reserved {
			bits = pref64Lengths[code]
		}
		m.Pref64 = append(m.Pref64, Pref64{
			Prefix:   netip.PrefixFrom(netip.AddrFrom16(addr), bits).Masked(),
			Lifetime: time.Duration(scaled>>3) * pref64Step,
			Reserved: reserved,
		})
	}
}

// Lifetimes of prefixes for NAT64 (RFC 8781 4).
const (
	pref64Step     = 8 * time.Second
	maxPref64Steps = 1<<13 - 1
)

// pref64Lengths are the prefix lengths by their code (RFC 8781 4).
var pref64Lengths = [...]int{96, 64, 56, 48, 40, 32}

// options calls each for every option with its value, type and length cut off.
func options(b []byte, each func(typ byte, v []byte)) error {
	for len(b) > 0 {
		if len(b) < 2 {
			return errOption
		}
		n := int(b[1]) * 8
		if n == 0 || n > len(b) {
			return errOption
		}
		each(b[0], b[2:n])
		b = b[n:]
	}
	return nil
}

// readMAC takes the first Ethernet address of a message; an option of another size is one of another kind of link.
func readMAC(into *MAC, v []byte) {
	if len(v) == len(into) && *into == (MAC{}) {
		*into = MAC(v)
	}
}

func unicast(a netip.Addr) bool { return !isGroup(a) && a != anywhere }

// isGroup and isLinkLocal look at the bits alone; netip would look through an IPv4-mapped address.
func isGroup(a netip.Addr) bool     { return a.As16()[0] == 0xff }
func isLinkLocal(a netip.Addr) bool { b := a.As16(); return b[0] == 0xfe && b[1]&0xc0 == 0x80 }

// checksum is the Internet checksum over pseudo header and message (RFC 4443 2.3); 0 for a message whose checksum is right.
func checksum(src, dst netip.Addr, body []byte) uint16 {
	sum := uint32(len(body)) + nextICMPv6
	add := func(b []byte) {
		for ; len(b) >= 2; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	s, d := src.As16(), dst.As16()
	add(s[:])
	add(d[:])
	add(body)
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
