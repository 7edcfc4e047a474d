// Package probe asks a network the questions of ping, traceroute and a web client, without any program of the machine.
//
// Every probe takes an Inside: the way into the network namespace it asks from. A socket belongs to the namespace in which
// it was opened, so only opening happens inside; reading and writing happen anywhere.
package probe

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

// Inside runs a function on a thread that is in a network namespace.
type Inside func(func() error) error

// Here is the namespace of the process itself.
func Here(fn func() error) error { return fn() }

// echoSize is the payload of an echo request, in bytes.
const echoSize = 32

// Pinger sends echo requests and waits for what comes back (RFC 4443 4.1 and 4.2). One request is under way at a time.
type Pinger struct {
	conn *icmp.PacketConn
	id   int

	mu  sync.Mutex // guards seq and the exchange
	seq int
}

// NewPinger opens a raw socket inside. The caller closes it.
func NewPinger(in Inside) (*Pinger, error) {
	p := &Pinger{id: rand.IntN(1 << 16)}
	err := in(func() error {
		var err error
		p.conn, err = icmp.ListenPacket("ip6:ipv6-icmp", "::")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a socket for echo requests (needs CAP_NET_RAW): %w", err)
	}
	c := p.conn.IPv6PacketConn()
	var f ipv6.ICMPFilter
	f.SetAll(true)
	for _, t := range []ipv6.ICMPType{ipv6.ICMPTypeEchoReply, ipv6.ICMPTypeTimeExceeded, ipv6.ICMPTypeDestinationUnreachable} {
		f.Accept(t)
	}
	if err := errors.Join(c.SetICMPFilter(&f), c.SetControlMessage(ipv6.FlagHopLimit, true)); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the socket for echo requests: %w", err), p.conn.Close())
	}
	return p, nil
}

// Close closes the socket.
func (p *Pinger) Close() error { return p.conn.Close() }

// Reply is what came back for an echo request.
type Reply struct {
	From     netip.Addr
	Type     ipv6.ICMPType // echo reply, or the error that a router sent
	HopLimit int           // as received
	RTT      time.Duration
}

// ErrLost tells that nothing came back in time.
var ErrLost = errors.New("no answer")

// Ping asks dst once and fails unless dst itself answers within patience.
func (p *Pinger) Ping(dst netip.Addr, patience time.Duration) (Reply, error) {
	r, err := p.Ask(dst, 0, patience)
	switch {
	case err != nil:
		return r, err
	case r.Type != ipv6.ICMPTypeEchoReply:
		return r, fmt.Errorf("%s says: %v", r.From, r.Type)
	}
	return r, nil
}

// Ask sends one echo request with a hop limit (0: the system's) and returns the first thing that comes back about it.
func (p *Pinger) Ask(dst netip.Addr, hops int, patience time.Duration) (Reply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq = (p.seq + 1) & 0xffff
	start := time.Now()
	if err := p.send(dst, p.seq, hops); err != nil {
		return Reply{}, err
	}
	if err := p.conn.SetReadDeadline(start.Add(patience)); err != nil {
		return Reply{}, fmt.Errorf("bound the wait: %w", err)
	}
	for {
		r, seq, err := p.receive()
		if err != nil {
			return Reply{}, lost(err, dst, patience)
		}
		if seq == p.seq {
			r.RTT = time.Since(start)
			return r, nil
		}
	}
}

func lost(err error, dst netip.Addr, patience time.Duration) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%w from %s within %v", ErrLost, dst, patience)
	}
	return err
}

func (p *Pinger) send(dst netip.Addr, seq, hops int) error {
	request := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: p.id, Seq: seq, Data: make([]byte, echoSize)}}
	b, err := request.Marshal(nil) // the kernel writes the checksum (RFC 3542 3.1)
	if err != nil {
		return fmt.Errorf("make an echo request: %w", err)
	}
	var control *ipv6.ControlMessage
	if hops > 0 {
		control = &ipv6.ControlMessage{HopLimit: hops}
	}
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, 0))
	if _, err := p.conn.IPv6PacketConn().WriteTo(b, control, &net.IPAddr{IP: to.IP, Zone: to.Zone}); err != nil {
		return fmt.Errorf("send to %s: %w", dst, err)
	}
	return nil
}

// receive returns the next message about a request of this Pinger, with the sequence number of that request.
func (p *Pinger) receive() (Reply, int, error) {
	buf := make([]byte, 1500)
	for {
		n, control, from, err := p.conn.IPv6PacketConn().ReadFrom(buf)
		if err != nil {
			return Reply{}, 0, err
		}
		m, err := icmp.ParseMessage(58, buf[:n]) // protocol number of ICMPv6
		if err != nil {
			continue // not for us: the socket sees every ICMPv6 message of its namespace
		}
		id, seq, ok := about(m)
		if !ok || id != p.id {
			continue
		}
		r := Reply{Type: m.Type.(ipv6.ICMPType)}
		if control != nil {
			r.HopLimit = control.HopLimit
		}
		if a, ok := from.(*net.IPAddr); ok {
			r.From, _ = netip.AddrFromSlice(a.IP)
		}
		return r, seq, nil
	}
}

// about finds the identifier and sequence number of the echo request that a message answers: its own in an echo reply, those
// in the quoted packet of an error (RFC 4443 3.1 and 3.3).
func about(m *icmp.Message) (id, seq int, ok bool) {
	var quoted []byte
	switch b := m.Body.(type) {
	case *icmp.Echo:
		return b.ID, b.Seq, true
	case *icmp.TimeExceeded:
		quoted = b.Data
	case *icmp.DstUnreach:
		quoted = b.Data
	}
	if len(quoted) < ipv6.HeaderLen+8 {
		return 0, 0, false
	}
	inner := quoted[ipv6.HeaderLen:]
	return int(inner[4])<<8 | int(inner[5]), int(inner[6])<<8 | int(inner[7]), true
}

// maxHops ends a trace that leads nowhere.
const maxHops = 16

// Trace returns the addresses on the way to dst, dst last. A hop that stays silent is the zero address.
func (p *Pinger) Trace(dst netip.Addr, patience time.Duration) ([]netip.Addr, error) {
	var path []netip.Addr
	for hops := 1; hops <= maxHops; hops++ {
		r, err := p.Ask(dst, hops, patience)
		if err != nil && !errors.Is(err, ErrLost) {
			return path, err
		}
		path = append(path, r.From)
		if r.Type == ipv6.ICMPTypeEchoReply {
			return path, nil
		}
		if r.Type == ipv6.ICMPTypeDestinationUnreachable {
			return path, fmt.Errorf("%s says: %v", r.From, r.Type)
		}
	}
	return path, fmt.Errorf("%s is not reached in %d hops", dst, maxHops)
}
