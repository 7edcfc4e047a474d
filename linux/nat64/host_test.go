package nat64

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/netns/netnstest"
)

// Verdicts of programs at a link (linux/pkt_cls.h).
const (
	toHost       = 0xffffffff // TC_ACT_UNSPEC
	toTranslator = 7          // TC_ACT_REDIRECT
)

var (
	hostOwn    = netip.MustParseAddr("203.0.113.5")
	hostServer = netip.MustParseAddr("198.51.100.80")
)

// four is an IPv4 packet behind an Ethernet header.
type four struct {
	src, dst netip.Addr
	proto    byte
	hops     byte
	id       uint16
	offset   uint16 // with the flags
	options  int    // bytes of them
	padding  int    // bytes behind the packet, as Ethernet adds them
	body     []byte
}

func (p four) packet() []byte {
	b := make([]byte, 20+p.options)
	b[0] = 0x45 + byte(p.options/4)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(p.body)))
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], p.offset)
	b[8], b[9] = p.hops, p.proto
	copy(b[12:], p.src.AsSlice())
	copy(b[16:], p.dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], ^sum16(b))
	return append(b, p.body...)
}

func (p four) frame() []byte {
	b := append(make([]byte, 12), 0x08, 0x00)
	return append(append(b, p.packet()...), make([]byte, p.padding)...)
}

func sum16(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// ported is the begin of a TCP or UDP packet.
func ported(src, dst uint16) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	return b
}

// message is an ICMP message.
func message(typ byte, id uint16, quoted []byte) []byte {
	b := make([]byte, 8)
	b[0] = typ
	binary.BigEndian.PutUint16(b[4:], id)
	return append(b, quoted...)
}

// hostSide is the program with maps of its own: TCP 40000, UDP 41000 and the identifier 42000 are bound.
func hostSide(t *testing.T) func(four) (verdict uint32, out []byte) {
	t.Helper()
	netnstest.Root(t)
	spec, err := loadNat64host()
	must(t, err)
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
	}
	c, err := ebpf.NewCollection(spec)
	must(t, err)
	t.Cleanup(c.Close)
	must(t, c.Maps[hostSettings].Put(uint32(0), hostSettingsValue{hostOwn.As4(), 1}))
	file, err := (&Host{loaded: c}).Bound()
	must(t, err)
	defer file.Close()
	bits, err := sharedBits(file)
	must(t, err)
	bits.Set(6, 40000)
	bits.Set(17, 41000)
	bits.Set(1, 42000)
	ns := netnstest.New(t)
	return func(p four) (verdict uint32, out []byte) {
		netnstest.Do(t, ns, func() (err error) {
			verdict, out, err = c.Programs[hostProgram].Test(p.frame())
			return err
		})
		return verdict, out
	}
}

// What arrives for ports and identifiers that endpoints have goes to the translator, and everything else to the host.
func TestHostSideTakesWhatIsBound(t *testing.T) {
	run := hostSide(t)
	answered := func(proto byte, body []byte) []byte { // a packet of the host's address, as errors quote it
		return four{src: hostOwn, dst: hostServer, proto: proto, hops: 1, body: body}.packet()
	}
	for _, c := range []struct {
		name string
		p    four
		want uint32
	}{
		{"TCP", four{proto: 6, body: ported(80, 40000)}, toTranslator},
		{"TCP, another port", four{proto: 6, body: ported(80, 40001)}, toHost},
		{"TCP, the port of UDP", four{proto: 6, body: ported(80, 41000)}, toHost},
		{"TCP, a source port alone", four{proto: 6, body: ported(40000, 22)}, toHost},
		{"TCP behind options", four{proto: 6, options: 8, body: ported(80, 40000)}, toTranslator},
		{"TCP, padded", four{proto: 6, padding: 6, body: ported(80, 40000)}, toTranslator},
		{"TCP to another address", four{proto: 6, dst: netip.MustParseAddr("203.0.113.6"), body: ported(80, 40000)}, toHost},
		{"UDP", four{proto: 17, body: ported(53, 41000)}, toTranslator},
		{"UDP, the port of TCP", four{proto: 17, body: ported(53, 40000)}, toHost},
		{"SCTP", four{proto: 132, body: ported(53, 40000)}, toHost},
		{"cut off", four{proto: 6, body: []byte{0, 80, 156, 64}}, toHost},
		{"reply", four{proto: 1, body: message(0, 42000, nil)}, toTranslator},
		{"reply to the host", four{proto: 1, body: message(0, 42001, nil)}, toHost},
		{"request", four{proto: 1, body: message(8, 42000, nil)}, toHost},
		{"too big, about TCP", four{proto: 1, body: message(3, 0, answered(6, ported(40000, 80)))}, toTranslator},
		{"exceeded, about UDP", four{proto: 1, body: message(11, 0, answered(17, ported(41000, 80)))}, toTranslator},
		{"unreachable, about a request", four{proto: 1, body: message(3, 0, answered(1, message(8, 42000, nil)))}, toTranslator},
		{"unreachable, about a reply of the host", four{proto: 1, body: message(3, 0, answered(1, message(0, 42000, nil)))}, toHost},
		{"unreachable, about the host's TCP", four{proto: 1, body: message(3, 0, answered(6, ported(22, 40000)))}, toHost},
		{"unreachable, about somebody else's", four{proto: 1, body: message(3, 0, four{src: hostServer, dst: hostOwn, proto: 6, body: ported(40000, 80)}.packet())}, toHost},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.p
			p.src, p.hops = hostServer, 64
			if !p.dst.IsValid() {
				p.dst = hostOwn
			}
			verdict, out := run(p)
			if verdict != c.want {
				t.Fatalf("verdict %#x, want %#x", verdict, c.want)
			}
			head := out[14 : 34+p.options]
			if sum := sum16(head); sum != 0xffff {
				t.Errorf("the header's sum is %#x", sum)
			}
			hops, length := byte(64), len(p.frame())
			if verdict == toTranslator {
				hops, length = 63, length-p.padding
			}
			if head[8] != hops || len(out) != length {
				t.Errorf("hop limit %d, want %d; %d bytes, want %d", head[8], hops, len(out), length)
			}
		})
	}
}

// The first fragment says whose the others are; one that is earlier goes to both, and the host's is as it came.
func TestHostSideFollowsFragments(t *testing.T) {
	run := hostSide(t)
	const more = 0x2000
	for _, c := range []struct {
		name string
		p    four
		want uint32
		hops byte
	}{
		{"first of an endpoint", four{id: 1, offset: more, body: ported(53, 41000)}, toTranslator, 63},
		{"its rest", four{id: 1, offset: 10, body: ported(1, 2)}, toTranslator, 63},
		{"first of the host", four{id: 2, offset: more, body: ported(53, 41001)}, toHost, 64},
		{"its rest, with the port of an endpoint where ports would be", four{id: 2, offset: more | 10, body: ported(53, 41000)}, toHost, 64},
		{"rest of a packet nobody knows", four{id: 3, offset: 10, body: ported(53, 41000)}, toHost, 64},
		{"ICMP", four{id: 4, proto: 1, offset: 10, body: message(0, 42000, nil)}, toHost, 64},
	} {
		p := c.p
		p.src, p.dst, p.hops = hostServer, hostOwn, 64
		if p.proto == 0 {
			p.proto = 17
		}
		verdict, out := run(p)
		if verdict != c.want || out[22] != c.hops || sum16(out[14:34]) != 0xffff {
			t.Errorf("%s: verdict %#x with hop limit %d, want %#x with %d (sum %#x)", c.name, verdict, out[22], c.want, c.hops, sum16(out[14:34]))
		}
	}
}

// A hop limit that is used up comes to the translator as 0, which answers it (RFC 1812 5.3.1).
func TestRFC1812_5_3_1_HopsUsedUp(t *testing.T) {
	run := hostSide(t)
	for _, hops := range []byte{0, 1} {
		verdict, out := run(four{src: hostServer, dst: hostOwn, proto: 6, hops: hops, body: ported(80, 40000)})
		if verdict != toTranslator || out[22] != 0 {
			t.Errorf("%d hops: verdict %#x, %d hops", hops, verdict, out[22])
		}
	}
}
