package datapath

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// generator makes packets: mostly well-formed ones of a few flows, so that every path is met, then spoiled in one way or another.
type generator struct {
	*rand.Rand
	w     *world
	past  []tuple // of packets that were made lately, to be answered
	past4 []tuple4
	aim   aim // what the packet is made for, so that rare paths are met often
}

type aim int

const (
	anything   aim = iota
	discovery      // what neighbour discovery may look like
	fragments      // parts of few packets
	errorStorm     // packet-too-big messages from outside
)

type tuple struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16
	proto            uint8
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

var (
	generatorEndpoints = []netip.Addr{
		netip.MustParseAddr("2001:db8:a000:c12:1a7:38b:8d98:3"), netip.MustParseAddr("2001:db8:a000:c12:1a7:38b:8d98:4"),
		netip.MustParseAddr("2001:db8:a000:c12:1a8:38b:8d98:5"), netip.MustParseAddr("2001:db8:a000:c12:1a9:38b:8d98:6"),
		netip.MustParseAddr("2001:db8:a000:c12:200::"), netip.MustParseAddr("2001:db8:a000:c12:200::1"), netip.MustParseAddr("2001:db8:a000:c12:200::2"),
		netip.MustParseAddr("2001:db8:a000:c12:200::3"), netip.MustParseAddr("2001:db8:a000:c12:200::4"), netip.MustParseAddr("2001:db8:a000:c12:200::5"),
	}
	generatorOthers = []netip.Addr{
		netip.MustParseAddr("2001:db8:a000:c13:1a7::1"), netip.MustParseAddr("2001:db8:a000:c13:2::1"), netip.MustParseAddr("2001:db8:a000:d00::7"),
		netip.MustParseAddr("3fff:7::1"), netip.MustParseAddr("3fff:7::bad"), netip.MustParseAddr("3fff:8::1"), netip.MustParseAddr("3fff:a::1"),
		netip.MustParseAddr("3fff:7:0:0:2::1"),
	}
	generatorOdd = []netip.Addr{
		netip.MustParseAddr("::"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("fe80::1"),
		netip.MustParseAddr("ff02::1"), netip.MustParseAddr("ff02::1:ff98:3"), netip.MustParseAddr("ff05::2"), netip.MustParseAddr("3fff:9::2"),
		netip.MustParseAddr("2001:db8:a000:c12:2::9"), netip.MustParseAddr("2001:db8:a000:c12:1::1"), netip.MustParseAddr("::ffff:224.0.0.1"),
		netip.MustParseAddr("::ffff:169.254.0.1"), netip.MustParseAddr("::2"), netip.MustParseAddr("febf::1"), netip.MustParseAddr("fec0::1"),
	}
)

func (g *generator) address(local int) netip.Addr {
	switch n := g.IntN(100); {
	case n < local:
		return pick(g, generatorEndpoints...)
	case n < 92:
		return pick(g, generatorOthers...)
	}
	return pick(g, generatorOdd...)
}

// packet makes the next one.
func (g *generator) packet() datapath.Packet {
	if p, ok := g.w.services.packet(g); ok {
		return p
	}
	p := datapath.Packet{Place: datapath.Place(g.IntN(datapath.Places))}
	g.aim = pick(g, anything, anything, anything, anything, anything, anything, discovery, fragments, errorStorm, errorStorm)
	t := g.tuple(p.Place)
	switch g.aim {
	case discovery:
		p.Place = datapath.FromEndpoint
		t = tuple{src: pick(g, generatorEndpoints...), dst: pick(g, generatorOdd[3:6]...), proto: 58}
		if g.chance(20) {
			t.src = generatorOdd[0]
		}
	case errorStorm:
		p.Place = datapath.FromUplink
		t.src, t.dst, t.proto = pick(g, generatorOthers[3:]...), pick(g, generatorEndpoints...), 58
	}
	g.place(&p, t)
	if g.chance(10) {
		p.Segment = pick(g, 536, 1208, 1240, 1300, 1428, 1436, 1440, 1500)
	}
	p.Frame = g.frame(&p, t)
	if g.chance(max(3, g.w.legacy)) {
		p.Frame = g.legacy(&p)
	} else {
		g.spoil(&p)
	}
	if g.chance(10) {
		p.Mark = pick(g, uint32(datapath.MarkSet), datapath.MarkMask, 0x4000, datapath.MarkSet|0x4000, datapath.MarkBelieved, datapath.MarkBelieved|0x4000, 0xffffffff)
	}
	return p
}

func (g *generator) tuple(place datapath.Place) tuple {
	if len(g.past) > 0 && g.chance(50) {
		t := g.past[g.IntN(len(g.past))]
		if g.chance(60) {
			t.src, t.dst, t.srcPort, t.dstPort = t.dst, t.src, t.dstPort, t.srcPort
		}
		return t
	}
	if t, ok := g.w.services.tuple(g, place); ok {
		return t
	}
	local := 30
	if place == datapath.FromEndpoint {
		local = 90
	}
	t := tuple{
		src: g.address(local), dst: g.address(120 - local), srcPort: uint16(g.IntN(12)), dstPort: pick(g, uint16(80), 53, 0xffff, 0x00ff, 0xff00),
		proto: pick(g, uint8(6), 6, 6, 17, 17, 58, 58, 58, 132, 33, 136, 41, 50, 59, uint8(g.IntN(256))),
	}
	if len(g.past) < 40 {
		g.past = append(g.past, t)
	} else {
		g.past[g.IntN(40)] = t
	}
	return t
}

// place chooses links that fit the addresses, mostly.
func (g *generator) place(p *datapath.Packet, t tuple) {
	uplinks := []uint32{g.w.links["up0"], g.w.links["up0"], g.w.links["up0"], g.w.links["up1"], g.w.links["up2"]}
	hooks := []uint32{g.w.links["hxa"], g.w.links["hxb"], g.w.links["hxc"]}
	switch p.Place {
	case datapath.FromEndpoint:
		p.Link = g.w.state.Endpoints[t.src].Link
		p.Came = p.Link
	case datapath.FromUplink:
		p.Link = pick(g, uplinks...)
		p.Came = p.Link
	default:
		p.Link = g.w.state.Endpoints[t.dst].Link
		p.Came = pick(g, 0, g.w.links["up0"], g.w.links["dock"], g.w.links["hxa"])
	}
	if p.Link == 0 || g.chance(3) {
		p.Link = pick(g, hooks...)
	}
}

// frame writes the packet.
func (g *generator) frame(p *datapath.Packet, t tuple) []byte {
	b := make([]byte, 54, 256)
	mac := func(at int, m desired.MAC) { copy(b[at:], m[:]) }
	mac(0, desired.MAC{2, 0, 0, 0, byte(p.Link), 1})
	mac(6, desired.MAC{2, 0, 0, 0, byte(p.Link), 2})
	if p.Place == datapath.FromUplink {
		mac(6, pick(g, worldPeerMAC, worldPeerMAC, worldPeerMAC, worldPeerMAC, worldPeerMAC, worldPeerMAC, worldOtherMAC, worldHalfMAC))
	}
	if g.aim == discovery && g.chance(90) {
		p.Link = g.w.state.Endpoints[t.src].Link
		if p.Link == 0 {
			p.Link = g.w.links["hxa"]
		}
		mac(0, desired.MAC{2, 0, 0, 0, byte(p.Link), 1})
		mac(6, desired.MAC{2, 0, 0, 0, byte(p.Link), 2})
	}
	if t.dst.IsMulticast() {
		mac(0, desired.MAC{0x33, 0x33, 0, 0, 0, 1})
	}
	if g.chance(3) {
		b[g.IntN(12)] ^= byte(1 << g.IntN(8))
	}
	put16(b[12:], 0x86dd)
	b[14] = 0x60
	b[21] = pick(g, byte(64), 64, 64, 64, 255, 255, 2, 1, 0)
	if g.aim == discovery && g.chance(90) {
		b[21] = 255
	}
	src, dst := t.src.As16(), t.dst.As16()
	copy(b[22:], src[:])
	copy(b[38:], dst[:])
	upper := g.upper(p, t)
	next := t.proto
	chain := g.chain()
	at := 20
	var ext []byte
	for _, kind := range chain {
		if at == 20 {
			b[20] = kind
		} else {
			ext[at] = kind
		}
		at = len(ext)
		ext = append(ext, g.extension(kind)...)
	}
	if at == 20 {
		b[20] = next
	} else {
		ext[at] = next
	}
	b = append(append(b, ext...), upper...)
	put16(b[18:], uint16(len(b)-54))
	return b
}

// chain is the kinds of extension headers in front of the upper-layer header.
func (g *generator) chain() []uint8 {
	switch n := g.IntN(100); {
	case g.aim == fragments && n < 90:
		return []uint8{44}
	case n < 65 || g.aim != anything:
		return nil
	case n < 75:
		return []uint8{44}
	case n < 80:
		return []uint8{0}
	}
	chain := make([]uint8, pick(g, 1, 1, 2, 2, 3, 7, 8, 9))
	for i := range chain {
		chain[i] = pick(g, uint8(60), 60, 60, 51, 44, 43, 0)
	}
	return chain
}

func (g *generator) extension(kind uint8) []byte {
	n := pick(g, 0, 0, 0, 1, 2)
	b := make([]byte, 8+8*n)
	b[1] = byte(n)
	switch kind {
	case 51:
		b[1] = byte(2 * n) // (2n+2)*4
	case 44:
		b = b[:8]
		put16(b[2:], pick(g, uint16(1), 1, 1, 0, 8, 32, 32, 40, 64, 1248, 1312, 1512, 16|1, 24, 64, 128|1, 0xfff8)|uint16(g.IntN(2)))
		b[7] = byte(g.IntN(3))
	case 0:
		copy(b[2:], []byte{0xc2, 4, 0, 1, 0, 0}) // jumbo payload, RFC 2675
	}
	return b
}

// upper is the upper-layer header and some data.
func (g *generator) upper(p *datapath.Packet, t tuple) []byte {
	data := make([]byte, pick(g, 0, 1, 8, 20, 40, 1240, 1300, 1440, 1460, 1461, 1500))
	switch t.proto {
	case 6:
		h := make([]byte, 20)
		put16(h, t.srcPort)
		put16(h[2:], t.dstPort)
		h[12] = pick(g, byte(5), 5, 5, 6, 15, 4, 0) << 4
		put16(h[16:], g.checksum())
		h[13] = pick(g, byte(2), 18, 16, 16, 16, 17, 17, 4, 20, 0, byte(g.IntN(256)))
		return append(h, data...)
	case 17, 33, 132, 136:
		h := make([]byte, 12)
		put16(h, t.srcPort)
		put16(h[2:], t.dstPort)
		put16(h[6:], g.checksum())
		return append(h, data...)
	case 58:
		return g.icmp(p, t, data)
	}
	return data
}

func (g *generator) checksum() uint16 { return pick(g, uint16(g.IntN(1<<16)), 0, 0xffff) }

func (g *generator) icmp(p *datapath.Packet, t tuple, data []byte) []byte {
	h := make([]byte, 8)
	switch n := g.IntN(100); {
	case g.aim == discovery && n < 97:
	case g.aim == errorStorm:
		h[0] = 2
		return append(h, g.packetOf(tuple{src: t.dst, dst: pick(g, generatorOthers...), proto: 17, srcPort: uint16(g.IntN(1 << 16))})...)
	case n < 35:
		h[0] = pick(g, byte(128), 129)
		h[5] = byte(t.srcPort)
		return append(h, data...)
	case n < 60:
		h[0] = pick(g, byte(1), 2, 2, 2, 3, 4, 0, 5, 127)
		return append(h, g.inner(t)...)
	case n < 65:
		h[0] = byte(g.IntN(256))
		return append(h, data...)
	}
	h[0] = pick(g, byte(133), 134, 135, 135, 135, 136, 136, 137)
	h[1] = byte(g.IntN(20) / 19)
	target := pick(g, t.src, t.src, t.dst, desired.Gateway(), desired.Gateway(), pick(g, generatorEndpoints...), pick(g, generatorEndpoints...)).As16()
	if h[0] != 133 {
		h = append(h, target[:]...)
	}
	for range pick(g, 0, 0, 1, 1, 1, 2, 4, 5) {
		h = append(h, pick(g, byte(1), 2, 2, 14), pick(g, byte(1), 1, 1, 1, 1, 1, 2, 0), 2, 0, 0, 0, byte(p.Link), pick(g, byte(2), 2, 2, 2, 3))
	}
	if g.chance(5) {
		h = append(h, 0)
	}
	if g.chance(90) && len(h)%2 == 0 {
		put16(h[2:], sumOf(t.src, t.dst, h))
	}
	return h
}

// sumOf is the checksum of an ICMPv6 message of even length in whose field there is none yet (RFC 8200 8.1).
func sumOf(src, dst netip.Addr, message []byte) uint16 {
	sum := uint32(len(message)) + 58
	for _, part := range [][]byte{src.AsSlice(), dst.AsSlice(), message} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// inner is the packet that an error is about: of a flow that was seen, or of none.
func (g *generator) inner(t tuple) []byte {
	in := t
	if len(g.past) > 0 && g.chance(70) {
		in = g.past[g.IntN(len(g.past))]
	}
	if g.chance(80) { // it was sent to, or by, who is told of it
		in.src = t.dst
	}
	if g.chance(50) {
		in.dst = t.src
	}
	return g.packetOf(in)
}

// packetOf is the first bytes of a packet of a flow.
func (g *generator) packetOf(in tuple) []byte {
	b := make([]byte, 40)
	b[0] = pick(g, byte(0x60), 0x60, 0x60, 0x60, 0x60, 0x60, 0x40)
	b[6] = in.proto
	src, dst := in.src.As16(), in.dst.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	if g.chance(15) {
		b[6] = pick(g, uint8(60), 44, 43)
		ext := g.extension(b[6])
		ext[0] = in.proto
		b = append(b, ext...)
	}
	h := make([]byte, 8)
	put16(h, in.srcPort)
	put16(h[2:], in.dstPort)
	if in.proto == 58 {
		h = []byte{pick(g, byte(128), 129, 128, 1), 0, 0, 0, 0, byte(in.srcPort), 0, 0}
	}
	return append(b, h[:pick(g, 8, 8, 8, 8, 8, 7, 0)]...)
}

// spoil breaks a part of the packets.
func (g *generator) spoil(p *datapath.Packet) {
	b := p.Frame
	switch n := g.IntN(100); {
	case n < 4: // a wrong length
		put16(b[18:], pick(g, uint16(0), 0, 1, uint16(len(b)-55), uint16(len(b)-53), uint16(len(b)), 0xffff))
	case n < 9: // cut off
		p.Frame = b[:54+g.IntN(len(b)-53)] // a test run takes no IPv6 packet that is shorter than its fixed header
	case n < 11: // cut off, and the length says so
		p.Frame = b[:min(len(b), 54+g.IntN(60))]
		put16(p.Frame[18:], uint16(len(p.Frame)-54))
	case n < 15: // any bit
		b[g.IntN(len(b))] ^= byte(1 << g.IntN(8))
	case n < 16: // any byte of the headers at a limit
		b[g.IntN(min(len(b), 90))] = pick(g, byte(0), 1, 0x7f, 0x80, 0xff)
	case n < 17:
		put16(b[12:], pick(g, uint16(0x0800), 0x0806, 0x8100))
	}
}

// plain is a small UDP packet without any fault, of the endpoint behind link or to it.
func (g *generator) plain(t tuple, link uint32) []byte {
	b := make([]byte, 54+16)
	copy(b, []byte{2, 0, 0, 0, byte(link), 1, 2, 0, 0, 0, byte(link), 2})
	put16(b[12:], 0x86dd)
	b[14], b[20], b[21] = 0x60, t.proto, 64
	put16(b[18:], 16)
	src, dst := t.src.As16(), t.dst.As16()
	copy(b[22:], src[:])
	copy(b[38:], dst[:])
	put16(b[54:], t.srcPort)
	put16(b[56:], t.dstPort)
	return b
}

// legacy is IPv4 or ARP.
func (g *generator) legacy(p *datapath.Packet) []byte {
	if g.chance(70) && p.Place != datapath.FromUplink {
		p.Link = g.w.links["hxa"]
	}
	b := make([]byte, 14+pick(g, 20, 28, 28, 40, 54, 74, 100))
	copy(b, []byte{2, 0, 0, 0, byte(p.Link), 1, 2, 0, 0, 0, byte(p.Link), pick(g, byte(2), 2, 2, 2, 2, 3)})
	local, far := []byte{192, 0, 2, 3}, pick(g, []byte{198, 51, 100, 1}, []byte{198, 51, 100, 1}, []byte{198, 51, 100, 2}, []byte{192, 0, 2, 3})
	if g.chance(30) {
		local, far = far, local
	}
	if g.chance(30) {
		put16(b[12:], 0x0806)
		copy(b[14:], []byte{0, 1, 8, 0, 6, 4, 0, 1})
		if g.chance(10) {
			b[14+g.IntN(8)]++
		}
		copy(b[22:], b[6:12])
		if len(b) >= 42 {
			copy(b[28:], local)
		}
		return b
	}
	put16(b[12:], 0x0800)
	head := pick(g, 5, 5, 5, 5, 5, 5, 6, 7, 4, 15)
	b[14] = 0x40 | byte(head)
	if g.chance(3) {
		b[14] = 0x65
	}
	put16(b[16:], pick(g, uint16(len(b)-14), uint16(len(b)-14), uint16(len(b)-14), uint16(len(b)-14), 0, uint16(len(b)-13), uint16(g.IntN(60))))
	put16(b[18:], uint16(g.IntN(3)))
	if g.chance(20) {
		put16(b[20:], pick(g, uint16(0x2000), 0x2000, 0x4000, 1, 2, 3, 0x2003, 4, 8))
	}
	b[22], b[23] = 64, pick(g, byte(6), 6, 17, 17, 17, 1, 1, 1, 132, 58, 47)
	copy(b[26:], local)
	copy(b[30:], far)
	g.upper4(b[min(len(b), 14+4*head):], b[23], local, far)
	return b
}

// tuple4 is a flow of IPv4 as one of its packets showed it.
type tuple4 struct {
	src, dst, ports [4]byte
	proto           byte
}

// sentBy is the packet of the flow in the direction of who sent it.
func (t tuple4) sentBy(a []byte) tuple4 {
	if t.src == [4]byte(a) {
		return t
	}
	p := t.ports
	return tuple4{t.dst, t.src, [4]byte{p[2], p[3], p[0], p[1]}, t.proto}
}

// upper4 is the upper-layer header of an IPv4 packet, as far as there is room.
func (g *generator) upper4(b []byte, proto byte, local, far []byte) {
	ports := []byte{0, byte(g.IntN(4)), 0, byte(g.IntN(2))}
	if g.chance(50) {
		ports[1], ports[3] = ports[3], ports[1]
	}
	if proto != 1 {
		g.past4 = append(g.past4[max(0, len(g.past4)-31):], tuple4{[4]byte(local), [4]byte(far), [4]byte(ports), proto})
		upper := append(append(ports, make([]byte, 8)...), 0x50, pick(g, byte(2), 16, 16, 17, 18, 4), 0, 0)
		copy(b, upper)
		return
	}
	echo := []byte{pick(g, byte(8), 8, 0, 13), 0, 0, 0, 0, byte(g.IntN(3))}
	if g.chance(50) {
		copy(b, echo)
		return
	}
	inner := make([]byte, 28)
	inner[0], inner[9] = pick(g, byte(0x45), 0x45, 0x45, 0x46, 0x65), pick(g, byte(17), 17, 6, 1, 47)
	if g.chance(10) {
		inner[7] = 1
	}
	copy(inner[12:], pick(g, local, far))
	copy(inner[16:], pick(g, far, local))
	copy(inner[20:], ports)
	if inner[9] == 1 {
		copy(inner[20:], echo)
	}
	for _, f := range g.past4 { // most are about a flow that was seen, and reach who sent that packet
		if t := f.sentBy(far); t.src == [4]byte(far) && t.dst == [4]byte(local) && g.chance(70) {
			inner[0], inner[7], inner[9] = 0x45, 0, t.proto
			copy(inner[12:], far)
			copy(inner[16:], local)
			copy(inner[20:], t.ports[:])
			break
		}
	}
	copy(b, append([]byte{pick(g, byte(3), 3, 11, 12, 4, 5), pick(g, byte(0), 4), 0, 0, 0, 0, 0, 0}, inner...))
}
