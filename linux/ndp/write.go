package ndp

import (
	"encoding/binary"
	"slices"
)

// Bytes writes the IPv6 packet with hop limit 255 and the right checksum. A router advertisement is written as the one kind that
// this package sends: no default router, no prefix, no MTU, only its source MAC and prefixes for NAT64.
func (p Packet) Bytes() []byte {
	b := make([]byte, headerLen, headerLen+40)
	b = append(b, p.Message.icmpType(), 0, 0, 0)
	b = appendMessage(b, p.Message)
	b[0], b[6], b[7] = 6<<4, nextICMPv6, hopLimit
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-headerLen))
	src, dst := p.Src.As16(), p.Dst.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	binary.BigEndian.PutUint16(b[headerLen+2:], checksum(p.Src, p.Dst, b[headerLen:]))
	return b
}

// appendMessage writes a message behind type, code and checksum.
func appendMessage(b []byte, m Message) []byte {
	switch m := m.(type) {
	case *Solicitation:
		b = append(b, 0, 0, 0, 0)
		b = append(b, m.Target.AsSlice()...)
		b = appendMAC(b, optionSourceMAC, m.MAC)
		if m.Nonce != nil { // RFC 3971 5.3.2: six bytes and every eight more fill the option
			b = append(b, optionNonce, byte((len(m.Nonce)+2)/8))
			b = append(b, m.Nonce...)
		}
	case *Advertisement:
		var flags byte
		for _, f := range []struct {
			set bool
			bit byte
		}{{m.Router, naRouter}, {m.Solicited, naSolicit}, {m.Override, naOverride}} {
			if f.set {
				flags |= f.bit
			}
		}
		b = append(b, flags, 0, 0, 0)
		b = append(b, m.Target.AsSlice()...)
		b = appendMAC(b, optionTargetMAC, m.MAC)
	case *RouterSolicitation:
		b = append(b, 0, 0, 0, 0)
		b = appendMAC(b, optionSourceMAC, m.MAC)
	case *RouterAdvertisement:
		b = append(b, make([]byte, 12)...) // RFC 4861 4.2: 0 is "unspecified" in every field
		b = appendMAC(b, optionSourceMAC, m.MAC)
		for _, p := range m.Pref64 {
			b = appendPref64(b, p)
		}
	}
	return b
}

// appendPref64 writes a prefix for NAT64, whose lifetime counts in steps of 8 seconds (RFC 8781 4). One of another length than those of
// RFC 6052 has no form and is left out.
func appendPref64(b []byte, p Pref64) []byte {
	code := slices.Index(pref64Lengths[:], p.Prefix.Bits())
	if code < 0 {
		return b
	}
	steps := min((p.Lifetime+pref64Step-1)/pref64Step, maxPref64Steps)
	b = append(b, optionPref64, 2)
	b = binary.BigEndian.AppendUint16(b, uint16(steps)<<3|uint16(code))
	addr := p.Prefix.Addr().As16()
	return append(b, addr[:12]...)
}

func appendMAC(b []byte, option byte, mac MAC) []byte {
	if mac == (MAC{}) {
		return b
	}
	return append(append(b, option, 1), mac[:]...)
}
