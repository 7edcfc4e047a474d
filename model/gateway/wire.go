package gateway

import (
	"encoding/binary"
	"net/netip"

	"hexapod.dev/model/xlat/nat64"
)

// What gateways send each other goes from translator to translator in IPv6: packets of endpoints as they are (RFC 2473), and words in UDP.
const (
	headerLen = 40
	udpLen    = 8
	protoIPv4 = 4
	protoIPv6 = 41
	protoUDP  = 17
	hops      = 255
	leastHops = hops - 16 // RFC 5082: no router between gateways and a sender that is farther away can say so of itself

	// Port is that of words, at both ends.
	Port = 6464
)

// Overhead is what a packet grows by on its way to another gateway, in bytes.
const Overhead = headerLen

// Wrap writes a packet into one that goes to another gateway.
func Wrap(from, to netip.Addr, packet []byte) []byte {
	return append(header(from, to, familyOf(packet), len(packet)), packet...)
}

// familyOf is the next header of a packet inside another one.
func familyOf(packet []byte) byte {
	if packet[0]>>4 == 4 {
		return protoIPv4
	}
	return protoIPv6
}

func header(from, to netip.Addr, next byte, payload int) []byte {
	b := make([]byte, headerLen, headerLen+payload)
	b[0], b[6], b[7] = 6<<4, next, hops
	binary.BigEndian.PutUint16(b[4:], uint16(payload))
	src, dst := from.As16(), to.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	return b
}

// Received is what another gateway sent: a packet, or a word.
type Received struct {
	From   netip.Addr
	Packet []byte // of an endpoint or for one; nil: a word
	Word   Word
}

// open reads the headers of what came for this gateway's own translator, and leaves what was said as it is; false: it is nothing that gateways send.
func open(b []byte) (r Received, said []byte, ok bool) {
	if len(b) < headerLen || b[0]>>4 != 6 || int(binary.BigEndian.Uint16(b[4:])) != len(b)-headerLen || b[7] < leastHops {
		return r, nil, false
	}
	r.From = netip.AddrFrom16([16]byte(b[8:]))
	body := b[headerLen:]
	switch b[6] {
	case protoIPv4, protoIPv6:
		r.Packet = body
		return r, nil, len(body) > 0 && familyOf(body) == b[6]
	case protoUDP:
		ok = len(body) >= udpLen && binary.BigEndian.Uint16(body) == Port && binary.BigEndian.Uint16(body[2:]) == Port &&
			int(binary.BigEndian.Uint16(body[4:])) == len(body) && sum(b) == 0xffff
		if !ok {
			return r, nil, false
		}
		return r, body[udpLen:], true
	}
	return r, nil, false
}

// Word is what a gateway tells another: that it lives, and bindings.
type Word struct {
	Ready    bool // it translates
	Bindings []Told
}

// Told is a binding that was made, or is gone.
type Told struct {
	nat64.Copy
	Gone bool
}

const (
	textHead   = 2      // flags, number of bindings
	signedHead = 4 + 24 // signedMark, and three numbers
	sumLen     = 16
	toldLen    = 26
	flagReady  = 1
	flagGone   = 1
	// MostTold are the bindings of one word: it fits into the smallest MTU of IPv6.
	MostTold = 45
	mostSaid = signedHead + textHead + MostTold*toldLen + sumLen
)

// Marks end in the version.
var (
	wordMark   = [4]byte{'h', 'x', 'g', 1}
	signedMark = [4]byte{'h', 'x', 'g', 2}
)

// datagram sends what is said to another gateway.
func (v *Voice) datagram(to netip.Addr, said []byte) []byte {
	size := udpLen + len(said)
	b := header(v.at, to, protoUDP, size)
	b = binary.BigEndian.AppendUint16(b, Port)
	b = binary.BigEndian.AppendUint16(b, Port)
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	b = append(append(b, 0, 0), said...)
	check := ^sum(b)
	if check == 0 {
		check = 0xffff // RFC 8200 8.1: zero says that there is none
	}
	binary.BigEndian.PutUint16(b[headerLen+6:], check)
	return b
}

func textOf(w Word) []byte {
	list := w.Bindings[:min(len(w.Bindings), MostTold)]
	b := append(make([]byte, 0, textHead+len(list)*toldLen), flagOf(w.Ready, flagReady), byte(len(list)))
	for _, t := range list {
		six, four := t.Endpoint.Addr().As16(), t.Pool.Addr().As4()
		b = append(b, t.Protocol, flagOf(t.Gone, flagGone))
		b = append(b, six[:]...)
		b = binary.BigEndian.AppendUint16(b, t.Endpoint.Port())
		b = append(b, four[:]...)
		b = binary.BigEndian.AppendUint16(b, t.Pool.Port())
	}
	return b
}

func flagOf(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

func readText(b []byte) (w Word, ok bool) {
	if len(b) < textHead || len(b) != textHead+int(b[1])*toldLen {
		return w, false
	}
	w.Ready = b[0]&flagReady != 0
	for b = b[textHead:]; len(b) > 0; b = b[toldLen:] {
		w.Bindings = append(w.Bindings, Told{Gone: b[1]&flagGone != 0, Copy: nat64.Copy{
			Protocol: b[0],
			Endpoint: netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[2:])), binary.BigEndian.Uint16(b[18:])),
			Pool:     netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[20:])), binary.BigEndian.Uint16(b[24:])),
		}})
	}
	return w, true
}

// sum is the sum of an upper-layer packet with its pseudo-header, folded (RFC 8200 8.1): 0xffff where the checksum is right.
func sum(b []byte) uint16 {
	total := uint32(len(b)-headerLen) + uint32(b[6])
	for at := 8; at < len(b); at += 2 {
		if total += uint32(b[at]) << 8; at+1 < len(b) {
			total += uint32(b[at+1])
		}
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
