package dhcp

import (
	"bytes"
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"sync"
	"time"
)

// Port sends and receives the payload of DHCPv6 messages on one link: to ff02::1:2 port 547, and what comes to port 546
// (RFC 8415 7.1, 7.2). The link may go and come.
type Port interface {
	Send([]byte) error
	// Receive waits for the next message. It ends with the error of ctx.
	Receive(ctx context.Context) ([]byte, error)
}

// Clock is the time of a client. The lease outlives reboots, so it is the time of day.
type Clock interface {
	Now() time.Time
	// After returns a channel that gets one value when d has passed, and a function that gives the timer up.
	After(d time.Duration) (<-chan time.Time, func())
}

// SystemClock is the clock of the operating system.
type SystemClock struct{}

// Now implements Clock.
func (SystemClock) Now() time.Time { return time.Now() }

// After implements Clock.
func (SystemClock) After(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// Store keeps what must outlive the process.
type Store interface {
	Load() (Kept, error)
	Save(Kept) error
}

// Options of a client. All but Hint, Chance and Tell are needed.
type Options struct {
	Link   string  // name of the uplink
	MAC    [6]byte // of the uplink, for the identifier of a host that has none yet
	Hint   int     // length of prefix to ask for; 0: what the server gives
	Begin  bool    // ask at once; else when Ask is called, or when there is a lease
	Port   Port
	Clock  Clock
	Store  Store
	Log    *slog.Logger
	Chance func() float64 // in [0, 1); nil: the system's
	Tell   func(Holding)  // called with what is held, at the start and at every change
}

// Status is what a client is doing, for people.
type Status struct {
	State   State
	Lease   Lease
	Holding Holding
	Refusal Code
	Sent    map[Kind]int // messages since the start
	Heard   map[Kind]int
	Error   error // of the last attempt to send; nil when it was sent
}

// Client keeps one delegation of one link.
type Client struct {
	o       Options
	machine *Machine
	kept    Kept
	events  chan Event

	mu     sync.Mutex
	status Status
}

// New reads what was kept and returns a client that has not begun.
func New(o Options) (*Client, error) {
	kept, err := o.Store.Load()
	if err != nil {
		return nil, err
	}
	if kept.DUID == nil {
		kept.DUID = DUID(o.MAC)
	}
	if kept.Link != o.Link { // another link has other servers; what was delegated there runs out
		kept.Link = o.Link
		for i := range kept.Lease.Prefixes {
			kept.Lease.Prefixes[i].Withdrawn = true
		}
	}
	if o.Chance == nil {
		o.Chance = rand.Float64
	}
	if o.Tell == nil {
		o.Tell = func(Holding) {}
	}
	c := &Client{o: o, kept: kept, events: make(chan Event, 16)}
	c.machine = NewMachine(kept.DUID, c.iaid(), o.Hint, kept.Lease, o.Chance)
	c.status = Status{Sent: map[Kind]int{}, Heard: map[Kind]int{}}
	c.look(o.Clock.Now())
	return c, nil
}

// iaid is the same for a link of the same name (RFC 8415 12: it must not change over restarts).
func (c *Client) iaid() uint32 {
	h := fnv.New32a()
	h.Write([]byte(c.o.Link))
	return h.Sum32()
}

// Ask begins to ask for a prefix, or asks at once when the client waits to ask again: a router on the link said that prefixes
// are delegated (RFC 9762). It never waits.
func (c *Client) Ask() { c.post(Event{Start: true}) }

// LinkUp tells that the link came up and may be another one.
func (c *Client) LinkUp() { c.post(Event{Link: true}) }

func (c *Client) post(e Event) {
	select {
	case c.events <- e:
	default: // so many wait already that one more tells nothing new
	}
}

// Status returns what the client is doing.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Holding = s.Lease.At(c.o.Clock.Now())
	s.Sent, s.Heard = clone(s.Sent), clone(s.Heard)
	return s
}

func clone(m map[Kind]int) map[Kind]int {
	out := make(map[Kind]int, len(m))
	for k, n := range m {
		out[k] = n
	}
	return out
}

// Run keeps the delegation until ctx ends. The lease stays: a host that restarts its agent keeps its prefix.
func (c *Client) Run(ctx context.Context) error {
	messages := make(chan Message)
	ctx, cancel := context.WithCancel(ctx)
	heard := make(chan error, 1)
	go func() { heard <- c.hear(ctx, messages) }()
	err := c.drive(ctx, messages, heard)
	cancel()
	return errors.Join(err, <-heard)
}

// drive lets the machine step whenever there is reason to.
func (c *Client) drive(ctx context.Context, messages <-chan Message, heard chan error) error {
	event := Event{Start: c.o.Begin}
	for {
		now := c.o.Clock.Now()
		if err := c.step(now, event); err != nil {
			return err
		}
		timer, stop := c.timer(now)
		select {
		case <-ctx.Done():
			stop()
			return nil
		case err := <-heard:
			stop()
			heard <- nil
			return err
		case m := <-messages:
			event = Event{Message: &m}
		case event = <-c.events:
		case <-timer:
			event = Event{}
		}
		stop()
	}
}

// timer waits until the next thing to do, and never longer than a quarter of an hour: the time of day can be set.
func (c *Client) timer(now time.Time) (<-chan time.Time, func()) {
	wait := 15 * time.Minute
	c.mu.Lock()
	lease := c.status.Lease
	c.mu.Unlock()
	at := func(t time.Time) {
		if !t.IsZero() {
			wait = min(wait, max(t.Sub(now), 0))
		}
	}
	at(c.machine.Next())
	for _, d := range lease.Prefixes {
		if t := lease.DrainsAt(d); t.After(now) {
			at(t)
		}
	}
	return c.o.Clock.After(wait)
}

// step lets one event happen, sends what follows, and keeps what changed before anybody is told of it.
func (c *Client) step(now time.Time, e Event) error {
	before := c.machine.Lease()
	state := c.machine.State()
	out := c.machine.Step(now, e)
	if lease := c.machine.Lease(); !reflect.DeepEqual(before, lease) {
		c.kept.Lease = lease
		if err := c.o.Store.Save(c.kept); err != nil {
			c.o.Log.Error("a lease would be forgotten by a restart", "error", err)
		}
	}
	if s := c.machine.State(); s != state {
		c.o.Log.Info("prefix delegation", "link", c.o.Link, "state", string(s), "was", string(state))
	}
	c.look(now)
	if out == nil {
		return nil
	}
	b, err := out.Bytes()
	if err != nil {
		return err
	}
	err = c.o.Port.Send(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && (c.status.Error == nil || c.status.Error.Error() != err.Error()) {
		c.o.Log.Warn("prefix delegation: not sent, it is tried again", "message", out.Kind.String(), "error", err)
	}
	c.status.Error = err
	c.status.Sent[out.Kind]++
	return nil
}

// look tells what is held now if it is something else than before.
func (c *Client) look(now time.Time) {
	lease := c.machine.Lease()
	h := lease.At(now)
	c.mu.Lock()
	changed := !sameHolding(h, c.status.Holding)
	c.status.State, c.status.Lease, c.status.Holding, c.status.Refusal = c.machine.State(), lease, h, c.machine.Refusal()
	c.mu.Unlock()
	if changed {
		c.o.Tell(h)
	}
}

func sameHolding(a, b Holding) bool {
	return a.Prefix == b.Prefix && reflect.DeepEqual(prefixes(a.Draining), prefixes(b.Draining))
}

func prefixes(list []Delegation) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, d := range list {
		out[i] = d.Prefix
	}
	return out
}

// hear passes on what comes to this host. Messages to the other client of a host come here as well and are passed over.
func (c *Client) hear(ctx context.Context, to chan<- Message) error {
	for {
		b, err := c.o.Port.Receive(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := Parse(b, c.iaid())
		if err != nil || !bytes.Equal(m.Client, c.kept.DUID) {
			continue
		}
		c.mu.Lock()
		c.status.Heard[m.Kind]++
		c.mu.Unlock()
		select {
		case to <- m:
		case <-ctx.Done():
			return nil
		}
	}
}
