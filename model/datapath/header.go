package datapath

import (
	"encoding/binary"
	"net/netip"
)

// Header is what the programs read of a packet.
type Header struct {
	Src, Dst netip.Addr
	Hops     uint8 // hop limit
	Proto    uint8 // upper-layer protocol; of a later fragment: what its fragment header names
	Routing  bool  // there is a routing header
	Fragment bool  // it is one of several fragments
	First    bool  // with Fragment: the first one
	ID       uint32
	Offset   int // of a fragment, in bytes
	Data     int // of a fragment: where its part of the packet begins, in the frame
	Upper    int // where the upper-layer header begins, in the frame
	UpperLen int // its length, where it is known
	End      int // where the packet ends, in the frame

	SrcPort, DstPort uint16 // of TCP, UDP, UDP-Lite, SCTP and DCCP; the identifier of an echo as both
	Flags            uint8  // of TCP
	Type, Code       uint8  // of ICMPv6
}

// Lengths and places in headers (RFC 8200, RFC 8504).
const (
	etherLen   = 14
	ipv6Len    = 40
	maxHeaders = 8 // extension headers that are looked at
)

// Protocol numbers (IANA).
const (
	hopByHop   = 0
	protoTCP   = 6
	protoUDP   = 17
	routing    = 43
	fragment   = 44
	authHeader = 51
	protoICMP  = 58
	noNext     = 59
	destOpts   = 60
	protoDCCP  = 33
	protoSCTP  = 132
	protoLite  = 136
)

// TCP flags.
const (
	tcpFIN = 1
	tcpSYN = 2
	tcpRST = 4
	tcpACK = 16
)

const etherTypeIPv6 = 0x86dd

// isIPv6 tells whether a frame claims to hold IPv6.
func isIPv6(frame []byte) bool {
	return len(frame) >= etherLen && binary.BigEndian.Uint16(frame[12:]) == etherTypeIPv6
}

// base reads the fixed header; why is 0 or the reason to drop.
func base(frame []byte) (h Header, next uint8, why Why) {
	if len(frame) < etherLen+ipv6Len {
		return h, 0, Truncated
	}
	b := frame[etherLen:]
	h.Src, h.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	h.Hops = b[7]
	if b[0]>>4 != 6 {
		return h, 0, Malformed
	}
	// A length of 0 is that of a super-packet, which has the jumbo option (RFC 2675) from older kernels and none from newer ones.
	h.End = len(frame)
	if n := int(binary.BigEndian.Uint16(b[4:])); n != 0 {
		h.End = etherLen + ipv6Len + n
	}
	if h.End > len(frame) {
		return h, 0, Truncated
	}
	return h, b[6], 0
}

// parse reads all headers of a frame up to the ports.
func parse(frame []byte) (Header, Why) {
	h, next, why := base(frame)
	if why != 0 {
		return h, why
	}
	h.Upper = etherLen + ipv6Len
	if why := h.walk(frame, next); why != 0 {
		return h, why
	}
	if h.Fragment && !h.First {
		return h, 0
	}
	return h, h.upper(frame)
}

// short is the reason to drop what ends inside its headers.
func (h *Header) short() Why {
	if h.Fragment && h.First {
		return FragmentTiny // RFC 7112, section 5
	}
	return Truncated
}

// walk goes over the extension headers (RFC 8200, section 4).
func (h *Header) walk(frame []byte, next uint8) Why {
	seen := false // a fragment header
	for i := range maxHeaders {
		var length int
		switch next {
		case hopByHop, routing, destOpts, fragment, authHeader:
		default:
			h.Proto = next
			return 0
		}
		if h.Upper+8 > h.End {
			return h.short()
		}
		b := frame[h.Upper:]
		switch next {
		case hopByHop:
			if i != 0 { // RFC 8200, section 4.1
				return Malformed
			}
			length = (int(b[1]) + 1) * 8
		case routing:
			h.Routing = true
			length = (int(b[1]) + 1) * 8
		case destOpts:
			length = (int(b[1]) + 1) * 8
		case authHeader:
			length = (int(b[1]) + 2) * 4 // RFC 4302, section 2.2
		case fragment:
			if seen {
				return Malformed
			}
			seen = true
			length = 8
			word := binary.BigEndian.Uint16(b[2:])
			h.Offset, h.ID = int(word&0xfff8), binary.BigEndian.Uint32(b[4:])
			h.First = h.Offset == 0
			h.Fragment = h.Offset != 0 || word&1 != 0 // RFC 6946: one alone is no fragment
		}
		next = b[0]
		h.Upper += length
		if h.Upper > h.End {
			return h.short()
		}
		if seen && h.Data == 0 {
			h.Data = h.Upper
		}
		if h.Fragment && !h.First {
			h.Proto = next
			return 0
		}
	}
	h.Proto = next
	switch next {
	case hopByHop, routing, destOpts, fragment, authHeader:
		return TooManyHeaders
	}
	return 0
}

// upper reads ports, flags and types.
func (h *Header) upper(frame []byte) Why {
	need := map[uint8]int{protoTCP: 20, protoUDP: 8, protoLite: 8, protoSCTP: 12, protoDCCP: 12, protoICMP: 8}[h.Proto]
	if need == 0 {
		return 0
	}
	if h.Upper+need > h.End {
		return h.short()
	}
	b := frame[h.Upper:]
	if h.Proto == protoICMP {
		h.Type, h.Code = b[0], b[1]
		if h.Type == echoRequest || h.Type == echoReply {
			h.SrcPort = binary.BigEndian.Uint16(b[4:])
			h.DstPort = h.SrcPort
		}
		return 0
	}
	h.SrcPort, h.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	h.UpperLen = need
	if h.Proto == protoTCP {
		h.Flags = b[13]
		h.UpperLen = int(b[12]>>4) * 4
		if b[12]>>4 < 5 {
			return Malformed
		}
	}
	return 0
}
