package ndp_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/netns/netnstest"
)

// forged is a message as somebody with a raw socket sends it. Zero values are those of a valid solicitation of held.
type forged struct {
	name    string
	hop     byte   // 0: 255
	code    byte   // RFC 4861 7.1.1: 0
	sum     uint16 // added to the checksum
	options []byte
	length  int        // of the message; 0: as it is
	src     netip.Addr // invalid: link-local
	frag    bool       // RFC 6980 5
	cut     int        // bytes off the end
	typ     byte       // 0: 135, a solicitation
}

// frame is the Ethernet frame of f from one MAC to the solicited-node group of held.
func (f forged) frame(from net.HardwareAddr) []byte {
	group := ndp.Group(held)
	g := group.As16()
	src := netip.MustParseAddr("fe80::bad")
	if f.src.IsValid() {
		src = f.src
	}
	body := []byte{135, f.code, 0, 0, 0, 0, 0, 0}
	target := held.AsSlice()
	if f.typ != 0 {
		body[0] = f.typ
	}
	if f.typ == 134 { // a router advertisement: two timers instead of a target
		target = make([]byte, 8)
	}
	body = append(append(body, target...), f.options...)
	body = body[:len(body)-f.cut]
	s := src.As16()
	sum := uint32(len(body)) + 58
	for _, b := range [][]byte{s[:], g[:], body} {
		for i := 0; i < len(b); i++ {
			sum += uint32(b[i]) << (8 * (1 - i%2))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(body[2:], ^uint16(sum)+f.sum)
	next, hop := byte(58), f.hop
	if hop == 0 {
		hop = 255
	}
	if f.frag { // an atomic fragment (RFC 6946)
		body, next = append([]byte{58, 0, 0, 0, 0, 0, 0, 1}, body...), 44
	}
	length := f.length
	if length == 0 {
		length = len(body)
	}
	frame := append([]byte{0x33, 0x33, g[12], g[13], g[14], g[15]}, from...)
	frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, byte(length>>8), byte(length), next, hop)
	return append(append(append(frame, s[:]...), g[:]...), body...)
}

// send puts frames on eth0 of a node.
func (n *node) send(t *testing.T, frames ...[]byte) {
	t.Helper()
	netnstest.Do(t, n.ns, func() (err error) {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unix.Close(fd)) }()
		for _, f := range frames {
			err = errors.Join(err, unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: eth0.Index}))
		}
		return err
	})
}

// Messages that RFC 4861 tells a host to throw away come over the wire, one of each kind: none is answered, and a valid one behind them
// is.
func TestRFC4861_7_1_1_ForgedOverTheWire(t *testing.T) {
	t.Parallel()
	host, peer := cable(t, nil, nil)
	r := host.responder(t)
	answers(t, r, held)
	mac, err := net.ParseMAC(peer.mac)
	if err != nil {
		t.Fatal(err)
	}
	source := []byte{1, 1, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]}
	bad := []forged{
		{name: "hop limit 254", hop: 254}, {name: "hop limit 64", hop: 64}, {name: "hop limit 1", hop: 1},
		{name: "code", code: 1}, {name: "checksum", sum: 1},
		{name: "an option of length 0", options: []byte{1, 0, 0, 0, 0, 0, 0, 0}},
		{name: "an option of length 0 behind a good one", options: append(append([]byte{}, source...), 200, 0, 0, 0, 0, 0, 0, 0)},
		{name: "an option over the end", options: []byte{1, 2, 0, 0, 0, 0, 0, 0}},
		{name: "half an option", options: []byte{1}},
		{name: "cut", cut: 1},
		{name: "a payload longer than the frame", length: 200},
		{name: "a fragment", frag: true},
		{name: "from a group", src: netip.MustParseAddr("ff02::1")},
		{name: "from nobody with a MAC", src: netip.IPv6Unspecified(), options: source},
		{name: "another type", typ: 137},
	}
	heard := dump(t, peer.ns, "-eqi eth0 icmp6[icmp6type]=136 and ether src "+host.mac+" and not dst ff02::1")
	for _, f := range bad {
		peer.send(t, f.frame(mac))
	}
	// As large as the link takes, and full of unknown options: long and right.
	large := forged{src: netip.MustParseAddr("fe80::1a"), options: append([]byte{}, source...)}
	for len(large.options) < 1400 {
		large.options = append(large.options, 200, 1, 1, 2, 3, 4, 5, 6)
	}
	peer.send(t, large.frame(mac), forged{src: netip.MustParseAddr("fe80::900d"), options: source}.frame(mac))
	answered := map[string]bool{}
	for range 2 {
		l := await(t, heard, "> ")
		for _, to := range []string{"fe80::1a", "fe80::900d", "fe80::bad", "ff02::1"} {
			answered[to] = answered[to] || strings.Contains(l, to)
		}
	}
	if !answered["fe80::1a"] || !answered["fe80::900d"] || answered["fe80::bad"] {
		t.Errorf("answered: %v; want the two valid ones alone", answered)
	}
	if s := r.State()["eth0"]; s.Answered != 2 || s.Defended != 0 {
		t.Errorf("state %+v; want 2 answers", s)
	}
}

// A router advertisement that a host must not believe (RFC 4861 6.1.2) is not: no router is known from it.
func TestRFC4861_6_1_2_ForgedOverTheWire(t *testing.T) {
	t.Parallel()
	host, peer := cable(t, nil, nil)
	r := host.routers(t, ndp.RouterLink{})
	mac, err := net.ParseMAC(peer.mac)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range []forged{
		{hop: 64, typ: 134}, {code: 3, typ: 134}, {sum: 7, typ: 134}, {typ: 134, options: []byte{3, 0}}, {typ: 134, frag: true},
		{typ: 134, src: netip.MustParseAddr("2001:db8::1")}, {typ: 134, cut: 1},
	} {
		peer.send(t, f.frame(mac))
		if got := r.State()["eth0"]; len(got.Routers) != 0 {
			t.Errorf("forgery %d, %+v, made a router: %+v", i, f, got.Routers)
		}
	}
	// The last one is right, so that those before have been read when it is known.
	peer.send(t, forged{typ: 134, src: netip.MustParseAddr("fe80::900d")}.frame(mac))
	until(t, r.Changed(), "the good advertisement is heard", func() bool { return len(r.State()["eth0"].Routers) > 0 })
	s := r.State()["eth0"]
	if len(s.Routers) != 1 || s.Routers[0].Addr != netip.MustParseAddr("fe80::900d") {
		t.Errorf("routers %+v, want the one valid", s.Routers)
	}
}
