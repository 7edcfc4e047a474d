package datapath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// ICMPv6 types (RFC 4443, RFC 4861).
const (
	packetTooBig    = 2
	paramProblem    = 4 // the last kind of error
	echoRequest     = 128
	echoReply       = 129
	routerSolicit   = 133
	routerAdvert    = 134
	neighbourAsk    = 135
	neighbourAnswer = 136
	redirectMessage = 137
)

// isDiscovery tells of messages that never leave their link (RFC 4861).
func isDiscovery(icmpType uint8) bool {
	return icmpType >= routerSolicit && icmpType <= redirectMessage
}

// discoveryLen is the length of a solicitation or an advertisement of a neighbour before its options.
const discoveryLen = 24

// maxOptions is how many options of neighbour discovery are looked at.
const maxOptions = 4

// discovery lets an endpoint speak of itself alone, on its own link (RFC 4861 7.1).
func (p Packet) discovery(h Header, s *State, self Endpoint) Outcome {
	options := h.Upper + 8 // of a router solicitation
	switch {
	case h.Type == routerAdvert:
		return p.end(RouterAdvertisement)
	case h.Type == redirectMessage:
		return p.end(Redirect)
	case h.Fragment || h.Hops != 255 || h.Code != 0: // RFC 6980, RFC 4861 7.1.1
		return p.end(SpoofedNeighbour)
	case !onLink(h.Dst):
		return p.end(SpoofedNeighbour)
	case p.Frame[0]&1 == 0 && p.dstMAC() != self.HostMAC:
		return p.end(ForeignMAC)
	}
	if h.Type != routerSolicit {
		options = h.Upper + discoveryLen
		if options > h.End {
			return p.end(Truncated)
		}
		target := p.target(h)
		if h.Type == neighbourAnswer {
			if t, ok := s.Endpoints[target]; !ok || t.Link != p.Link {
				return p.end(SpoofedNeighbour)
			}
		}
	}
	if !p.ownOptions(options, h.End, self) {
		return p.end(SpoofedNeighbour)
	}
	if h.Type == neighbourAsk && p.gateway(h, self) {
		return p.back(Answered)
	}
	return p.kernel(Neighbour)
}

// onLink tells of destinations on the endpoint's own link.
func onLink(a netip.Addr) bool {
	return !a.Is4In6() && (a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast())
}

func (p Packet) target(h Header) netip.Addr {
	return netip.AddrFrom16([16]byte(p.Frame[h.Upper+8 : h.Upper+24]))
}

// ownOptions tells whether all options between two places of the frame are whole and name no other MAC than the endpoint's.
func (p Packet) ownOptions(at, end int, self Endpoint) bool {
	for range maxOptions {
		if at+8 > end {
			break
		}
		length := int(p.Frame[at+1]) * 8
		if length == 0 {
			return false
		}
		const sourceMAC, targetMAC = 1, 2
		if kind := p.Frame[at]; kind == sourceMAC || kind == targetMAC {
			if length != 8 || !bytes.Equal(p.Frame[at+2:at+8], self.MAC[:]) {
				return false
			}
		}
		at += length
	}
	return at == end
}

// detection lets an endpoint look whether somebody has its own address (RFC 4862 5.4.2); no other packet has no source.
func (p Packet) detection(h Header, s *State) Outcome {
	if h.Proto != protoICMP || h.Type != neighbourAsk || h.Fragment || h.Routing || h.Hops != 255 || h.Code != 0 ||
		!onLink(h.Dst) || h.Upper+discoveryLen != h.End {
		return p.end(SpoofedSource)
	}
	self, ok := s.Endpoints[p.target(h)]
	switch {
	case !ok || self.Link != p.Link:
		return p.end(SpoofedNeighbour)
	case p.srcMAC() != self.MAC:
		return p.end(SpoofedMAC)
	}
	return p.kernel(Neighbour)
}

// icmpError lets an error pass when it is about a packet of a known flow. From outside a packet-too-big passes also when it
// names the endpoint as source: losing it would stop a connection for ever (RFC 4890 4.3.1). Those are rate-limited.
func (s *State) icmpError(p Packet, h Header, uplink uint32) Why {
	if h.Type == 0 || h.Type > paramProblem {
		return ICMPType
	}
	if uplink != 0 {
		if why := s.believed(p, h.Src); why != 0 {
			return why
		}
	}
	inner, ok := Header{}, false
	if h.Src.Is4In6() {
		inner, ok = inner4Of(p.Frame, h)
	} else {
		inner, ok = innerOf(p.Frame, h)
	}
	switch {
	case !ok:
		return UnrelatedError
	case uplink == 0 && inner.Dst != h.Src: // an endpoint tells of what it was sent
		return UnrelatedError
	case uplink != 0 && inner.Src != h.Dst: // and is told of what it sent
		return UnrelatedError
	}
	k, _ := keyOf(inner)
	switch {
	case s.Flows.find(k, p.Now) != nil:
		return 0
	case uplink == 0 || h.Type != packetTooBig:
		return UnrelatedError
	case !s.Errors.take(p.Now):
		return ErrorRate
	}
	return 0
}

// innerOf reads the packet that an error is about, as far as its ports.
func innerOf(frame []byte, h Header) (inner Header, ok bool) {
	at := h.Upper + 8
	if h.Fragment || at+ipv6Len > h.End {
		return inner, false
	}
	b := frame[at:]
	if b[0]>>4 != 6 {
		return inner, false
	}
	inner.Src, inner.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	inner.Upper, inner.End = at+ipv6Len, h.End
	if inner.walk(frame, b[6]) != 0 || inner.Fragment && !inner.First {
		return inner, false
	}
	if !hasPorts(inner.Proto) && inner.Proto != protoICMP {
		return inner, true
	}
	if inner.Upper+8 > inner.End {
		return inner, false
	}
	b = frame[inner.Upper:]
	if inner.Proto == protoICMP {
		if b[0] != echoRequest && b[0] != echoReply {
			return inner, false
		}
		b = b[4:]
		inner.SrcPort = binary.BigEndian.Uint16(b)
		inner.DstPort = inner.SrcPort
		return inner, true
	}
	inner.SrcPort, inner.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	return inner, true
}

// hasPorts tells of protocols whose header begins with two ports.
func hasPorts(proto uint8) bool {
	switch proto {
	case protoTCP, protoUDP, protoLite, protoSCTP, protoDCCP:
		return true
	}
	return false
}
