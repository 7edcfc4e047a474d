package bgp_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/model/announce"
)

// rawPeer is a router that says whatever a test wants, byte by byte.
type rawPeer struct {
	t    *testing.T
	conn net.Conn
}

// message frames a BGP message (RFC 4271 section 4.1).
func message(kind byte, body []byte) []byte {
	m := make([]byte, 19, 19+len(body))
	for i := range 16 {
		m[i] = 0xff
	}
	binary.BigEndian.PutUint16(m[16:], uint16(19+len(body)))
	m[18] = kind
	return append(m, body...)
}

// update announces prefixes of /64 by MP_REACH_NLRI (RFC 4760 section 3) with the given AS path, 4 bytes each number.
func update(hop netip.Addr, as uint32, prefixes ...netip.Prefix) []byte {
	nlri := []byte{0, 2, 1, 16}
	nlri = append(nlri, hop.AsSlice()...)
	nlri = append(nlri, 0)
	for _, p := range prefixes {
		a := p.Addr().As16()
		nlri = append(append(nlri, byte(p.Bits())), a[:(p.Bits()+7)/8]...)
	}
	attrs := []byte{0x40, 1, 1, 0, 0x40, 2, 6, 2, 1}
	attrs = binary.BigEndian.AppendUint32(attrs, as)
	attrs = append(attrs, 0x90, 14)
	attrs = binary.BigEndian.AppendUint16(attrs, uint16(len(nlri)))
	attrs = append(attrs, nlri...)
	body := []byte{0, 0}
	body = binary.BigEndian.AppendUint16(body, uint16(len(attrs)))
	return message(2, append(body, attrs...))
}

// open connects from ns as AS 65538 with the identifier 192.0.2.id, and answers until the session is established.
func openRaw(t *testing.T, ns place, to string, id byte) *rawPeer {
	t.Helper()
	p := &rawPeer{t: t}
	dial := func() bool {
		err := ns.do(func() (err error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			p.conn, err = (&net.Dialer{}).DialContext(ctx, "tcp6", net.JoinHostPort(to, "179"))
			return err
		})
		if err != nil {
			return false
		}
		caps := []byte{1, 4, 0, 2, 0, 1, 65, 4, 0, 1, 0, 2} // multiprotocol IPv6 unicast; 4-byte AS 65538
		body := []byte{4, 0x5b, 0xa0, 0, 90, 192, 0, 2, id, byte(len(caps) + 2), 2, byte(len(caps))}
		if _, err := p.conn.Write(append(message(1, append(body, caps...)), message(4, nil)...)); err != nil {
			return false
		}
		for _, want := range []byte{1, 4} {
			kind, err := p.read()
			if err != nil || kind != want {
				p.conn.Close()
				return false
			}
		}
		return true
	}
	eventually(t, "connected", dial)
	t.Cleanup(func() { p.conn.Close() })
	return p
}

func (p *rawPeer) read() (kind byte, err error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return 0, err
	}
	head := make([]byte, 19)
	if _, err := io.ReadFull(p.conn, head); err != nil {
		return 0, err
	}
	_, err = io.CopyN(io.Discard, p.conn, int64(binary.BigEndian.Uint16(head[16:]))-19)
	return head[18], err
}

// passive is a peer at an address that is waited for.
func passive(name, addr string) announce.Peer {
	p := numbered(name)
	p.Addr, p.Passive, p.HoldSeconds, p.KeepaliveSeconds = netip.MustParseAddr(addr), true, 90, 30
	return p
}

// twoRouters is a host with two routers on one cable: one that behaves and one that does what the test wants.
func twoRouters(t *testing.T) (s *speaker, good, bad *rawPeer, host, router place) {
	t.Helper()
	host, router = link(t)
	s = start(t, host)
	c := config(passive("bad", "2001:db8:f::2"), passive("good", "fe80::1"))
	c.Peers[1].Interface = "eth0"
	if r := s.tell(order{Config: c}); r.Err != "" {
		t.Fatal(r.Err)
	}
	bad, good = openRaw(t, router, "2001:db8:f::1", 2), openRaw(t, router, "fe80::a%swp1", 3)
	s.established("bad", "good")
	good.send(update(netip.MustParseAddr("fe80::1"), 65538, pfx("2001:db8:a000:d01::/64")))
	eventually(t, "the good router's route taken", func() bool { return s.peer("good").Accepted == 1 })
	return s, good, bad, host, router
}

func (p *rawPeer) send(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// unharmed proves that the good router's session and route are as they were.
func unharmed(t *testing.T, s *speaker, since time.Time) {
	t.Helper()
	r := s.tell(order{All: true})
	for _, p := range r.Peers {
		if p.Name == "good" && (p.State != bgp.Established || !p.Since.Equal(since)) {
			t.Errorf("the other peer was harmed: %+v", p)
		}
	}
	if hops := r.Routes[pfx("2001:db8:a000:d01::/64")]; len(hops) != 1 {
		t.Errorf("the other peer's route: %v", hops)
	}
}

// A peer that offers a million routes loses its session at the limit, and memory stays bounded.
func TestMillionRoutes(t *testing.T) {
	s, _, bad, _, _ := twoRouters(t)
	since := s.peer("good").Since
	before := s.tell(order{}).RSS
	hop := netip.MustParseAddr("2001:db8:f::2")
	for i := range 10_000 { // 100 in each
		var list []netip.Prefix
		for k := range 100 {
			n := i*100 + k
			list = append(list, pfx(fmt.Sprintf("2001:db8:a%03x:%x::/64", 0x100+n>>16, n&0xffff)))
		}
		if _, err := bad.conn.Write(update(hop, 65538, list...)); err != nil {
			break // it hung up
		}
	}
	eventually(t, "the session ended", func() bool { return s.peer("bad").State != bgp.Established })
	if p := s.peer("bad"); !strings.Contains(p.Why, "more than 1000 prefixes (maxPrefixes)") || p.Received != 0 {
		t.Errorf("%+v: want why, and nothing kept", p)
	}
	if p := s.peer("bad"); p.Ends[bgp.EndTooMany] != 1 {
		t.Errorf("ends of sessions %v, want one of too many prefixes", p.Ends)
	}
	unharmed(t, s, since)
	if grown := s.tell(order{}).RSS - before; grown > 40_000 {
		t.Errorf("memory grew by %d kB", grown)
	}
}

// RFC 7606: whatever bytes a peer sends, others go on, and what was wrong is shown.
func TestRFC7606_MalformedUpdates(t *testing.T) {
	s, _, bad, _, router := twoRouters(t)
	since := s.peer("good").Since
	bad.send(message(2, []byte{0, 0, 0, 9, 0x40, 1, 1, 9, 0x40, 2, 0, 0xff, 14})) // an origin that is none, and half an attribute
	eventually(t, "the error shown", func() bool { return s.peer("bad").LastError != "" })
	seed := rand.New(rand.NewPCG(1, 2)) // the same bytes in each run
	good := update(netip.MustParseAddr("2001:db8:f::2"), 65538, pfx("2001:db8:a000:d02::/64"))
	for range 4 {
		bad.conn.Close()
		bad = openRaw(t, router, "2001:db8:f::1", 2)
		for range 60 {
			m := append([]byte(nil), good...)
			for range 1 + seed.IntN(4) {
				m[19+seed.IntN(len(m)-19)] = byte(seed.Uint32())
			}
			if _, err := bad.conn.Write(m); err != nil {
				break
			}
		}
		unharmed(t, s, since)
	}
}
