package dns

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A socket asks more than once, as opening one costs more than the question. A port stands open for so short a time that who finds it
// out comes too late (RFC 5452 9.2), and no two questions that wait at a time share one. Where little is asked, each has a port of its own.
const (
	portLife = time.Second
	portUses = 64
	maxPorts = 256 // of one server, that wait for a question
)

// ports are connected sockets to one server, at ports that the kernel chose at random.
type ports struct {
	to netip.AddrPort

	mu   sync.Mutex
	idle []*port
}

// port is one socket.
type port struct {
	*net.UDPConn
	until time.Time
	left  int // questions
}

// take returns a socket that nobody else has: any of those that are at rest, or a new one.
func (p *ports) take(now time.Time) (*port, error) {
	if c := p.rested(now); c != nil {
		return c, nil
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.to))
	if err != nil {
		return nil, err
	}
	return &port{UDPConn: c, until: now.Add(portLife), left: portUses}, nil
}

func (p *ports) rested(now time.Time) *port {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.idle); n > 0; n-- {
		i := rand.IntN(n) // ChaCha8 with a seed of the system: nobody can foretell it
		c := p.idle[i]
		p.idle[i] = p.idle[n-1]
		p.idle = p.idle[:n-1]
		if now.Before(c.until) {
			return c
		}
		c.Close()
	}
	return nil
}

// give takes a socket back whose question was answered. One that was not may get its answer later: that is closed by who had it.
func (p *ports) give(c *port) {
	c.left--
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.left <= 0 || len(p.idle) >= maxPorts {
		c.Close()
		return
	}
	p.idle = append(p.idle, c)
}

// close ends those that are at rest.
func (p *ports) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}
