package dhcp

import (
	"bytes"
	"slices"
	"time"
)

// State is what a machine is doing.
type State string

// The states, in the order of a life.
const (
	Idle       State = "idle"       // nobody asked for a prefix
	Soliciting State = "soliciting" // looking for a server
	Requesting State = "requesting"
	Verifying  State = "verifying" // asking whether a lease from before a restart or a new cable still holds
	Bound      State = "bound"
	Renewing   State = "renewing"  // from T1 on: asks the server it has the lease from
	Rebinding  State = "rebinding" // from T2 on: asks any server
)

// Event is what happens to a machine. The zero Event is the passing of time.
type Event struct {
	Start   bool     // begin to ask, if it is idle; a machine that looks for a server begins anew
	Link    bool     // the link came up: it may be another one (RFC 8415 18.2.12)
	Message *Message // one was received
}

// Machine is a client of prefix delegation on one link. It does nothing by itself: Step is called when something happens and at
// the time that Next says.
type Machine struct {
	client []byte
	iaid   uint32
	hint   int
	chance func() float64 // in [0, 1)

	state       State
	lease       Lease
	exchange    exchange
	transaction [3]byte
	offer       *Message // best Advertise yet
	prompted    time.Time
	solMaxRT    time.Duration
	refusal     Code // what the last answer refused; Success when it did not
}

// NewMachine returns an idle machine, or with a lease from an earlier life one that verifies it. duid and iaid tell the server who
// asks; they are the same for the whole life of a host. hint is the length of prefix to ask for, 0 for any. chance is in [0, 1).
func NewMachine(duid []byte, iaid uint32, hint int, lease Lease, chance func() float64) *Machine {
	m := &Machine{client: duid, iaid: iaid, hint: hint, lease: lease, chance: chance, state: Idle}
	if len(lease.asked()) > 0 {
		m.enter(Verifying)
	}
	return m
}

// State returns what the machine is doing.
func (m *Machine) State() State { return m.state }

// Lease returns what is held. It is not to be changed.
func (m *Machine) Lease() Lease { return m.lease }

// Refusal returns the reason of the last answer that refused a prefix; Success when there was none since.
func (m *Machine) Refusal() Code { return m.refusal }

// Step lets an event happen at a time and returns the message to send, or nil.
func (m *Machine) Step(now time.Time, e Event) *Message {
	m.expire(now)
	switch {
	case e.Message != nil:
		m.receive(now, *e.Message)
	case e.Start:
		m.start(now)
	case e.Link && m.state != Idle && m.state != Soliciting:
		m.enter(Verifying)
	case e.Link && m.state == Soliciting:
		m.start(now)
	}
	m.advance(now)
	if m.state == Idle || m.state == Bound || now.Before(m.exchange.next) {
		return nil
	}
	return m.send(now)
}

// Next returns when Step is to be called if nothing happens before; the zero time: never.
func (m *Machine) Next() time.Time {
	var next time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, d := range m.lease.Prefixes {
		at(d.Valid)
	}
	switch m.state {
	case Idle:
		return next
	case Bound:
		at(m.lease.T1)
		return next
	case Renewing:
		at(m.lease.T2)
	}
	if m.exchange.next.IsZero() {
		return time.Unix(0, 1) // at once
	}
	at(m.exchange.next)
	return next
}

// start begins to look for a server. One that is being looked for already is looked for anew, but not more often than every ten
// seconds: anybody on the link can send the advertisement that causes it.
func (m *Machine) start(now time.Time) {
	const least = 10 * time.Second
	if m.state == Idle || m.state == Soliciting && now.Sub(m.prompted) >= least {
		m.prompted = now
		m.solicit(now)
	}
}

// solicit enters Soliciting after a short delay (RFC 8415 18.2.1).
func (m *Machine) solicit(now time.Time) {
	m.enter(Soliciting)
	m.exchange.next = now.Add(time.Duration(m.chance() * float64(maxSolicitDelay)))
}

// enter begins the exchange of a state. Its first message is due at once.
func (m *Machine) enter(s State) {
	m.state, m.offer, m.transaction = s, nil, [3]byte{}
	m.exchange = map[State]exchange{
		Soliciting: solicitExchange, Requesting: requestExchange, Verifying: verifyExchange, Renewing: renewExchange, Rebinding: rebindExchange,
	}[s]
	if s == Soliciting && m.solMaxRT != 0 {
		m.exchange.longest = m.solMaxRT
	}
}

// expire drops what is no longer valid. When nothing is left to keep, it looks for a server again (RFC 8415 18.2.5).
func (m *Machine) expire(now time.Time) {
	if m.lease.Prefixes == nil {
		return
	}
	m.lease.Prefixes = slices.DeleteFunc(slices.Clone(m.lease.Prefixes), func(d Delegation) bool { return !now.Before(d.Valid) })
	if len(m.lease.asked()) == 0 && slices.Contains([]State{Verifying, Bound, Renewing, Rebinding}, m.state) {
		m.solicit(now)
	}
}

// advance moves on when a time has come.
func (m *Machine) advance(now time.Time) {
	switch {
	case m.state == Soliciting && m.offer != nil && !now.Before(m.exchange.next): // RFC 8415 18.2.1: the first timeout gathers offers
		m.request()
	case m.state == Requesting && m.exchange.over(now) && !now.Before(m.exchange.next): // RFC 8415 18.2.2
		m.solicit(now)
	case m.state == Verifying && m.exchange.over(now): // RFC 8415 18.2.12: without an answer the lease holds
		m.state = Bound
	}
	if m.state == Bound && !now.Before(m.lease.T1) { // RFC 8415 18.2.4
		m.enter(Renewing)
	}
	if m.state == Renewing && !now.Before(m.lease.T2) { // RFC 8415 18.2.5
		m.enter(Rebinding)
	}
}

func (m *Machine) request() {
	offer := m.offer
	m.enter(Requesting)
	m.offer = offer
}

// send makes the message of the state.
func (m *Machine) send(now time.Time) *Message {
	if m.exchange.sent == 0 { // RFC 8415 16.1: the same transaction for every retransmission
		for i := range m.transaction {
			m.transaction[i] = byte(m.chance() * 256)
		}
	}
	spread := (m.chance() - 0.5) / 5
	if m.state == Soliciting && m.exchange.sent == 0 {
		spread = max(spread, -spread) // RFC 8415 18.2.1: greater than 0, so that offers are gathered for a whole second
	}
	out := &Message{Transaction: m.transaction, Client: m.client, Elapsed: m.exchange.elapsed(now), IA: &IA{ID: m.iaid}}
	m.exchange.transmit(now, spread)
	switch m.state {
	case Soliciting:
		out.Kind = Solicit
		out.IA.Prefixes = m.lease.asked()
		if len(out.IA.Prefixes) == 0 && m.hint > 0 {
			out.IA.Prefixes = []Offer{{Prefix: hinted(m.hint)}}
		}
	case Requesting:
		out.Kind, out.Server, out.IA.Prefixes = Request, m.offer.Server, m.offer.IA.Prefixes
	case Renewing:
		out.Kind, out.Server, out.IA.Prefixes = Renew, m.lease.Server, m.lease.asked()
	default:
		out.Kind, out.IA.Prefixes = Rebind, m.lease.asked()
	}
	return out
}

// answers reports whether r is an answer to what is being asked (RFC 8415 16.3, 16.10).
func (m *Machine) answers(r Message) bool {
	want := Reply
	if m.state == Soliciting {
		want = Advertise
	}
	return m.exchange.sent > 0 && r.Kind == want && r.Transaction == m.transaction && bytes.Equal(r.Client, m.client) && len(r.Server) > 0
}
