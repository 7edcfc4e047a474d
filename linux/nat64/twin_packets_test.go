package nat64

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"

	"hexapod.dev/model/xlat"
)

// flow is one that an endpoint began, and what the pool made of its end.
type flow struct {
	protocol     byte // as IPv4 numbers it
	client       netip.Addr
	server       netip.Addr
	prefix       xlat.Pref64
	port, remote uint16
	mapped       uint16 // 0: not known yet
}

// packet is one packet of a test.
type packet struct {
	bytes   []byte
	segment int
	plain   bool // the fast path is made for it, once its flow is known
	flow    *flow
	back    bool
}

// packets makes packets of flows, most of them plain.
type packets struct {
	*rand.Rand
	w     *twin
	flows []*flow
}

func pick[T any](g *packets, of ...T) T { return of[g.IntN(len(of))] }

func (g *packets) next() packet {
	if len(g.flows) < 40 || g.IntN(60) == 0 {
		f := &flow{protocol: pick[byte](g, 6, 6, 17, 17, 1), client: pick(g, twinClients...), server: pick(g, twinServers...),
			prefix: pick(g, xlat.WellKnown, xlat.WellKnown, xlat.WellKnown, twinOwn), port: uint16(1024 + g.IntN(60000)), remote: pick[uint16](g, 80, 443, 53)}
		if f.protocol == 1 {
			f.remote = f.port
		}
		if g.IntN(20) == 0 {
			f.server = pick(g, twinNowhere...)
		}
		if len(g.flows) >= 40 {
			g.flows[g.IntN(len(g.flows))] = f
		} else {
			g.flows = append(g.flows, f)
		}
		return g.of(f, false, 2)
	}
	f := pick(g, g.flows...)
	if f.mapped == 0 {
		return g.of(f, false, 2)
	}
	return g.of(f, g.IntN(2) == 0, pick[byte](g, 0x10, 0x10, 0x10, 0x18, 0x10, 0x12, 0x11, 0x04, 0x02))
}

// of makes a packet of a flow.
func (g *packets) of(f *flow, back bool, flags byte) packet {
	p := packet{plain: true, flow: f, back: back}
	size := pick(g, 0, 1, 7, 100, 1200, 1201, 1300, 1400, g.IntN(1400))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(g.Uint32())
	}
	src, dst, from, to := f.client, f.prefix.Embed(f.server), f.port, f.remote
	if back {
		src, dst, from, to = f.server, twinPool, f.remote, f.mapped
	}
	var l4 []byte
	at := 0
	switch f.protocol {
	case 6:
		l4 = make([]byte, pick(g, 20, 20, 32, 60))
		l4[12], l4[13] = byte(len(l4)/4)<<4, flags
		at = 16
		if size > 1300 && g.IntN(3) == 0 {
			p.segment = 1300
			data = append(data, data...)
		}
	case 17:
		l4 = make([]byte, 8)
		binary.BigEndian.PutUint16(l4[4:], uint16(8+len(data)))
		at = 6
	case 1:
		l4 = make([]byte, 8)
		l4[0] = map[bool]byte{false: 128, true: 0}[back]
		if g.IntN(4) == 0 {
			l4[0] = map[bool]byte{false: 129, true: 8}[back]
		}
		at = 2
		if back {
			from = f.mapped
		}
		binary.BigEndian.PutUint16(l4[4:], from)
	}
	if f.protocol != 1 {
		binary.BigEndian.PutUint16(l4, from)
		binary.BigEndian.PutUint16(l4[2:], to)
	}
	l4 = append(l4, data...)
	proto := f.protocol
	if !back && proto == 1 {
		proto = 58
	}
	if g.IntN(16) == 0 {
		g.sumToZero(f, back, l4, at)
	}
	check := ^fold(pseudo(src, dst, len(l4), proto), l4)
	if proto == 17 && check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(l4[at:], check)
	switch {
	case g.IntN(10) == 0: // a wrong checksum stays wrong
		binary.BigEndian.PutUint16(l4[at:], max(1, uint16(g.Uint32())))
	case proto == 17 && g.IntN(16) == 0: // none at all: the translator computes one, or drops the packet (RFC 7915 4.5)
		binary.BigEndian.PutUint16(l4[at:], 0)
		p.plain = false
	}
	hops := pick[byte](g, 64, 64, 64, 1, 2, 254, 255)
	if back {
		p.bytes = head4(src, dst, proto, hops, byte(g.Uint32()), uint16(g.Uint32()), pick[uint16](g, 0, 0x4000), l4)
		if p.segment == 0 && len(p.bytes) > 1480 {
			p.plain = false // too big for the IPv6 side
		}
	} else {
		p.bytes = head6(src, dst, proto, hops, g.Uint32(), l4)
	}
	if g.IntN(8) == 0 {
		g.mutate(&p)
	}
	return p
}

// sumToZero sets the first word of a packet's data so that its checksum is zero, before or after it is translated. UDP sends that as ffff
// (RFC 768; RFC 7915 5.5), since zero means that there is none.
func (g *packets) sumToZero(f *flow, back bool, l4 []byte, at int) {
	first := len(l4) - len(l4)%2 - 2 // an even place behind the header
	if f.protocol == 1 || first < at+2 || f.mapped == 0 {
		return
	}
	inside := pseudo(f.client, f.prefix.Embed(f.server), len(l4), f.protocol)
	outside := pseudo(twinPool, f.server, len(l4), f.protocol)
	from, to, sums := f.port, f.remote, inside
	if g.IntN(2) == 0 {
		from, sums = f.mapped, outside
	}
	if back {
		from, to = to, from
	}
	copied := slices.Clone(l4)
	binary.BigEndian.PutUint16(copied, from)
	binary.BigEndian.PutUint16(copied[2:], to)
	binary.BigEndian.PutUint16(copied[first:], 0)
	binary.BigEndian.PutUint16(l4[first:], ^fold(sums, copied))
}

// mutate makes a packet unlike those that the fast path is made for, or leaves it.
func (g *packets) mutate(p *packet) {
	p.plain = false
	b := p.bytes
	if b[0]>>4 == 6 {
		switch g.IntN(9) {
		case 0:
			b[6] = pick[byte](g, 0, 43, 44, 60, 132)
		case 1:
			b[7] = 0
		case 2:
			binary.BigEndian.PutUint16(b[4:], uint16(g.IntN(len(b))))
		case 3: // a fragment header, most of them of an atomic fragment or a first one
			h := []byte{b[6], 0, 0, pick[byte](g, 0, 1, 8), 0, 0, 0, byte(g.Uint32())}
			p.bytes = append(append(append([]byte{}, b[:40]...), h...), b[40:]...)
			p.bytes[6], p.segment = 44, 0
			binary.BigEndian.PutUint16(p.bytes[4:], uint16(len(p.bytes)-40))
		case 4:
			b[24+g.IntN(16)] ^= byte(1 << g.IntN(8))
		case 5:
			b[8+g.IntN(16)] ^= byte(1 << g.IntN(8))
		case 6:
			b[40+g.IntN(min(8, len(b)-40))] ^= byte(1 << g.IntN(8))
		case 7: // cut within the transport header
			p.bytes, p.segment = b[:40+g.IntN(min(20, len(b)-40))], 0
			binary.BigEndian.PutUint16(p.bytes[4:], uint16(len(p.bytes)-40))
		case 8: // trailing bytes
			p.bytes = append(b, 1, 2, 3)
		}
		return
	}
	switch g.IntN(9) {
	case 0:
		b[9] = pick[byte](g, 2, 47, 132)
	case 1:
		b[8] = 0
	case 2:
		binary.BigEndian.PutUint16(b[2:], uint16(g.IntN(len(b))))
	case 3:
		binary.BigEndian.PutUint16(b[6:], pick[uint16](g, 0x2000, 1, 0x2001, 0x8000))
		p.segment = 0
	case 4:
		b[12+g.IntN(8)] ^= byte(1 << g.IntN(8))
	case 5: // options
		p.bytes = append(append(append([]byte{}, b[:20]...), 1, 1, 1, 0), b[20:]...)
		p.bytes[0] = 0x46
		binary.BigEndian.PutUint16(p.bytes[2:], uint16(len(p.bytes)))
	case 6:
		b[20+g.IntN(min(8, len(b)-20))] ^= byte(1 << g.IntN(8))
	case 7: // cut within the transport header
		p.bytes, p.segment = b[:20+g.IntN(min(20, len(b)-20))], 0
		binary.BigEndian.PutUint16(p.bytes[2:], uint16(len(p.bytes)))
	case 8:
		b[10]++ // the header's checksum is wrong
		return
	}
	b = p.bytes
	if n := int(b[0]&15) * 4; len(b) >= n {
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^fold(b[:n]))
	}
}

// isKnown reports whether the fast path has the flow of a packet now.
func (g *packets) isKnown(p packet) bool {
	f := p.flow
	return g.w.with.table.IsFast(xlat.Ends{Src: f.client, Dst: f.prefix.Embed(f.server), SrcPort: f.port, DstPort: f.remote}, f.protocol)
}

// learn notes the port of the pool from what became of a packet.
func (g *packets) learn(p packet, out []byte) {
	if p.back || !p.plain || len(out) < 28 {
		return
	}
	p.flow.mapped = binary.BigEndian.Uint16(out[20:])
	if p.flow.protocol == 1 {
		p.flow.mapped = binary.BigEndian.Uint16(out[24:])
	}
}

// forget asks the flows anew for their ports: bindings may have ended.
func (g *packets) forget() {
	for _, f := range g.flows {
		if g.IntN(4) == 0 {
			f.mapped = 0
		}
	}
}

func pseudo(src, dst netip.Addr, length int, proto byte) []byte {
	if proto == 1 {
		return nil // ICMPv4 has none
	}
	b := append(src.AsSlice(), dst.AsSlice()...)
	return append(b, 0, 0, byte(length>>8), byte(length), 0, 0, 0, proto)
}

func head6(src, dst netip.Addr, proto, hops byte, class uint32, l4 []byte) []byte {
	b := make([]byte, 40, 40+len(l4))
	binary.BigEndian.PutUint32(b, 6<<28|class&0xfffffff)
	binary.BigEndian.PutUint16(b[4:], uint16(len(l4)))
	b[6], b[7] = proto, hops
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return append(b, l4...)
}

func head4(src, dst netip.Addr, proto, hops, class byte, id, offset uint16, l4 []byte) []byte {
	b := make([]byte, 20, 20+len(l4))
	b[0], b[1], b[8], b[9] = 0x45, class, hops, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(l4)))
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], offset)
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], ^fold(b))
	return append(b, l4...)
}
