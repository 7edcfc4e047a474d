package datapath

import (
	"encoding/binary"

	"hexapod.dev/model/desired"
)

// longestAsk is how long a solicitation may be that is answered: four options of 8 bytes.
const longestAsk = discoveryLen + 4*8

// gateway turns a solicitation for fe80::1 round, which no link of the host has, as its answer (RFC 4861 7.2.4): from a router, solicited,
// and to be believed before what was known. False leaves the packet as it is: for another address, with a wrong checksum (RFC 4861
// 7.1.1), or with long options.
func (p *Packet) gateway(h Header, self Endpoint) bool {
	message := p.Frame[h.Upper:h.End]
	if p.target(h) != desired.Gateway() || len(message) > longestAsk || messageSum(h.Src, h.Dst, message) != 0 {
		return false
	}
	const routerSolicitedOverride, targetMAC, hops = 0xe0, 2, 255
	answer := []byte{neighbourAnswer, 0, 0, 0, routerSolicitedOverride, 0, 0, 0}
	answer = append(answer, desired.Gateway().AsSlice()...)
	answer = append(append(answer, targetMAC, 1), self.HostMAC[:]...)
	p.turnRound(self.HostMAC, desired.Gateway(), h.Src, hops, answer)
	return true
}

// echo turns an echo request to the gateway round (RFC 4443 4.2). False leaves the packet as it is.
func (p *Packet) echo(h Header) bool {
	if h.Dst != desired.Gateway() || h.Proto != protoICMP || h.Type != echoRequest || h.Fragment || h.Upper != etherLen+ipv6Len {
		return false
	}
	b := p.Frame
	mac := p.dstMAC()
	copy(b, b[6:12])
	copy(b[6:], mac[:])
	b[21] = 64
	put(b[srcAt:], h.Dst)
	put(b[dstAt:], h.Src)
	p.replace(h.Upper, binary.BigEndian.AppendUint16(nil, echoReply<<8|uint16(h.Code)), h.Upper+2, false)
	return true
}
