package ndp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
)

// machine decides what to do on one link. It is called by one goroutine at a time.
type machine interface {
	// hear takes a valid packet and returns what to send.
	hear(p Packet, now time.Time) []Packet
	// tick returns what is due now, and when it wants to be asked again; the zero time is never.
	tick(now time.Time) (send []Packet, next time.Time)
	// stop is the last call.
	stop()
}

// port is one link with its machine.
type port struct {
	link    rtnl.Link
	conn    *conn
	groups  *groups
	started bool // guarded by its ports

	mu      sync.Mutex // guards all that follow
	machine machine
	err     error // why it ended
	counts  Counts
}

// Counts are packets of one link since it was opened.
type Counts struct {
	Heard   uint64 // valid ones
	Ignored uint64 // invalid ones
	Sent    uint64
	Lost    uint64 // the link did not take them
}

// with runs f on the machine and lets the machine look at its times anew.
func (p *port) with(f func(machine)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p.machine)
	_ = p.conn.until(time.Unix(1, 0)) // fails only when the port is closed
}

// run drives the machine until the port is closed.
func (p *port) run() {
	for {
		err := p.step()
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrClosed) {
			p.mu.Lock()
			p.err = fmt.Errorf("neighbour discovery on link %s: %w", p.link.Name, err)
			p.mu.Unlock()
		}
		return
	}
}

// burst is how many packets are heard before what is due is done: a flood must not hold that up for ever.
const burst = 256

// step does what is due and takes one packet.
func (p *port) step() error {
	p.mu.Lock()
	// What came in time counts, also where this process had no time to look: an answer to a probe may lie there since.
	for range burst {
		if err := p.take(p.conn.waiting()); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			p.mu.Unlock()
			return err
		}
	}
	due, next := p.machine.tick(time.Now())
	p.send(due)
	err := p.conn.until(next)
	p.mu.Unlock()
	if err != nil {
		return err
	}
	packet, err := p.conn.receive()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take(packet, err)
}

// take lets the machine hear a packet, if it is one. The caller holds mu.
func (p *port) take(packet Packet, err error) error {
	if _, invalid := errors.AsType[*invalidError](err); invalid {
		p.counts.Ignored++
		return nil
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err != nil:
		return err
	}
	p.counts.Heard++
	p.send(p.machine.hear(packet, time.Now()))
	return nil
}

func (p *port) send(packets []Packet) {
	for _, packet := range packets {
		if p.conn.send(packet) == nil {
			p.counts.Sent++
		} else {
			p.counts.Lost++
		}
	}
}

func (p *port) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *port) count() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Close leaves the link.
func (p *port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.machine.stop()
	return errors.Join(p.conn.Close(), p.groups.Close())
}

// ports are the links of one body.
type ports struct {
	ns    *netns.NS
	conn  *rtnl.Conn
	types []byte

	mu     sync.Mutex // guards byName and started of its ports
	byName map[string]*port
	more   chan struct{} // a port was opened
}

func openPorts(ns *netns.NS, types ...byte) (*ports, error) {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return nil, fmt.Errorf("open neighbour discovery: %w", err)
	}
	return &ports{ns: ns, conn: conn, types: types, byName: map[string]*port{}, more: make(chan struct{}, 1)}, nil
}

// Run drives the machines of all links until ctx ends, those that Reconcile opens later included.
func (s *ports) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		s.mu.Lock()
		for _, p := range s.byName {
			if !p.started {
				p.started = true
				running.Go(p.run)
			}
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return s.closePorts()
		case <-s.more:
		}
	}
}

// Close leaves all links; nobody is told.
func (s *ports) Close() error { return errors.Join(s.closePorts(), s.conn.Close()) }

func (s *ports) closePorts() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name, p := range s.byName {
		errs = append(errs, p.Close())
		delete(s.byName, name)
	}
	return errors.Join(errs...)
}

// usable tells why a link cannot be used; nil when it can.
func usable(name string, l rtnl.Link, exists bool) error {
	switch {
	case !exists:
		return fmt.Errorf("link %s does not exist", name)
	case l.Loopback || l.MAC == MAC{}:
		return fmt.Errorf("link %s has no Ethernet address; neighbour discovery needs one", name)
	case l.DisableIPv6 || l.AcceptRA < 0:
		return fmt.Errorf("link %s has IPv6 switched off (net.ipv6.conf.%s.disable_ipv6)", name, name)
	}
	return nil
}

// open returns the port of a link with a machine made by fresh. A port whose link was made anew, or that failed, is replaced.
// The caller holds mu.
func (s *ports) open(l rtnl.Link, fresh func(*groups) machine) (p *port, isNew bool, err error) {
	if p := s.byName[l.Name]; p != nil {
		if p.link.Index == l.Index && p.failed() == nil {
			return p, false, nil
		}
		_ = s.drop(l.Name) // what is left of it belongs to a link that is gone
	}
	c, err := dial(s.ns, l, s.types)
	if err != nil {
		return nil, false, err
	}
	joined := newGroups(s.ns, l.Index)
	p = &port{link: l, conn: c, groups: joined, machine: fresh(joined)}
	s.byName[l.Name] = p
	select {
	case s.more <- struct{}{}:
	default:
	}
	return p, true, nil
}

// wish is what one pass wants of the links: those by name that each is called for, in order, if they can be used. Ports of all others
// are closed, dropped tells which.
type wish struct {
	names   []string                        // sorted
	keep    func(name string, p *port) bool // it stays open
	dropped func(name string, p *port)
	doing   func(name string) string // for errors: what is done on a link
	each    func(rtnl.Link) error
}

// reconcile makes the ports follow a wish, and returns all that went wrong. A link that was made anew gets a new port.
func (s *ports) reconcile(ctx context.Context, w wish) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	links, err := s.conn.Links()
	if err != nil {
		return err
	}
	byName := make(map[string]rtnl.Link, len(links))
	for _, l := range links {
		byName[l.Name] = l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name, p := range s.byName {
		if !w.keep(name, p) || byName[name].Index != p.link.Index {
			w.dropped(name, p)
			errs = append(errs, s.drop(name))
		}
	}
	for _, name := range w.names {
		l, exists := byName[name]
		err := usable(name, l, exists)
		if err != nil {
			err = fmt.Errorf("%s: %w", w.doing(name), err)
		} else {
			err = w.each(l)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// drop closes the port of a link. The caller holds mu.
func (s *ports) drop(name string) error {
	p := s.byName[name]
	if p == nil {
		return nil
	}
	delete(s.byName, name)
	return p.Close()
}

// Counts returns what crossed each link.
func (s *ports) Counts() map[string]Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[string]Counts, len(s.byName))
	for name, p := range s.byName {
		counts[name] = p.count()
	}
	return counts
}
