// Package bgptest is a BGP peer that says whatever a test wants, byte by byte.
package bgptest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// ASN is the number of every such peer, one that two bytes cannot hold (RFC 6793).
const ASN = 65538

// Kinds of messages (RFC 4271 section 4.1).
const (
	Open      = 1
	Update    = 2
	Keepalive = 4
)

// Message frames a BGP message (RFC 4271 section 4.1).
func Message(kind byte, body []byte) []byte {
	m := make([]byte, 19, 19+len(body))
	for i := range 16 {
		m[i] = 0xff
	}
	binary.BigEndian.PutUint16(m[16:], uint16(19+len(body)))
	m[18] = kind
	return append(m, body...)
}

// Announce is the update that announces prefixes by MP_REACH_NLRI (RFC 4760 section 3), with an AS path of ASN alone.
func Announce(hop netip.Addr, prefixes ...netip.Prefix) []byte {
	nlri := []byte{0, 2, 1, 16}
	nlri = append(nlri, hop.AsSlice()...)
	nlri = append(nlri, 0)
	for _, p := range prefixes {
		a := p.Addr().As16()
		nlri = append(append(nlri, byte(p.Bits())), a[:(p.Bits()+7)/8]...)
	}
	attrs := []byte{0x40, 1, 1, 0, 0x40, 2, 6, 2, 1}
	attrs = binary.BigEndian.AppendUint32(attrs, ASN)
	attrs = append(attrs, 0x90, 14)
	attrs = binary.BigEndian.AppendUint16(attrs, uint16(len(nlri)))
	attrs = append(attrs, nlri...)
	body := []byte{0, 0}
	body = binary.BigEndian.AppendUint16(body, uint16(len(attrs)))
	return Message(Update, append(body, attrs...))
}

// Malformed is an update with an origin that is none, and half an attribute (RFC 7606).
func Malformed() []byte {
	return Message(Update, []byte{0, 0, 0, 9, 0x40, 1, 1, 9, 0x40, 2, 0, 0xff, 14})
}

// Damage returns a copy of a message in which up to four bytes behind its head are others.
func Damage(m []byte, by *rand.Rand) []byte {
	m = append([]byte(nil), m...)
	for range 1 + by.IntN(4) {
		m[19+by.IntN(len(m)-19)] = byte(by.Uint32())
	}
	return m
}

// Many writes the first n prefixes of /64 inside a range, a hundred in each update, until all are written or the other side
// hangs up.
func Many(w io.Writer, hop netip.Addr, inside netip.Prefix, n int) {
	a := inside.Masked().Addr().As16()
	base := binary.BigEndian.Uint64(a[:8])
	for i := 0; i < n; i += 100 {
		var list []netip.Prefix
		for k := i; k < min(i+100, n); k++ {
			binary.BigEndian.PutUint64(a[:8], base+uint64(k))
			list = append(list, netip.PrefixFrom(netip.AddrFrom16(a), 64))
		}
		if _, err := w.Write(Announce(hop, list...)); err != nil {
			return
		}
	}
}

// Dial connects to a speaker as the router with the identifier 192.0.2.id and returns when the session is established. inside
// runs a function where the connection is to come from.
func Dial(ctx context.Context, inside func(func() error) error, to string, id byte) (net.Conn, error) {
	var conn net.Conn
	err := inside(func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp6", net.JoinHostPort(to, "179"))
		return err
	})
	if err != nil {
		return nil, err
	}
	caps := []byte{1, 4, 0, 2, 0, 1, 65, 4, 0, ASN >> 16, ASN >> 8 & 0xff, ASN & 0xff} // multiprotocol IPv6 unicast; the AS number
	// AS_TRANS in the old field (RFC 6793 section 9), hold time 90 s
	body := []byte{4, 0x5b, 0xa0, 0, 90, 192, 0, 2, id, byte(len(caps) + 2), 2, byte(len(caps))}
	_, err = conn.Write(append(Message(Open, append(body, caps...)), Message(Keepalive, nil)...))
	for _, want := range []byte{Open, Keepalive} {
		var kind byte
		if err == nil {
			kind, err = read(conn)
		}
		if err == nil && kind != want {
			err = fmt.Errorf("a message of kind %d came, want %d", kind, want)
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func read(conn net.Conn) (kind byte, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return 0, err
	}
	head := make([]byte, 19)
	if _, err := io.ReadFull(conn, head); err != nil {
		return 0, err
	}
	_, err = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint16(head[16:]))-19)
	return head[18], err
}
