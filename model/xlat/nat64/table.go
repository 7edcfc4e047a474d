// Package nat64 is the stateful half of translation: bindings, TCP sessions and blocks of ports (RFC 6146), with clock and secret passed in.
//
// A Table is the Mapper of one gateway. Filtering is endpoint-independent: where an end of an endpoint has a binding, every server
// may answer it (RFC 4787 REQ-8). A Table belongs to one goroutine.
package nat64

import (
	"net/netip"
	"sync/atomic"

	"hexapod.dev/model/xlat"
)

// Seconds is a moment on the caller's monotonic clock.
type Seconds int64

// Times are how long bindings live without a packet (RFC 6146 4).
type Times struct {
	UDP, ICMP, TCPTrans, TCPEst, Fragment Seconds
}

// DefaultTimes are those of RFC 6146 4, with 2 h 4 min for established TCP (RFC 5382 REQ-5).
var DefaultTimes = Times{UDP: 300, ICMP: 60, TCPTrans: 240, TCPEst: 7440, Fragment: 2}

// Config is what a Table is made of.
type Config struct {
	Prefixes []xlat.Pref64
	Self4    netip.Addr // of this gateway, for errors of routers that have no binding
	Secret   Secret
	Times    Times
	Limit    int // bindings of all endpoints together
	Blocks   *Blocks
	Clients  []netip.Prefix // who may have bindings; none: everybody
	Private  []netip.Prefix // IPv4 addresses that are not global and may be reached all the same
	// Fast is told of flows that can be translated without the Table; nil: all packets come here.
	Fast *Fast
	// Bound is where the ports of bindings are marked for others, of a gateway with one address; nil: nobody asks.
	Bound Bits
	// Held are ports that somebody else has, on an address that is not the gateway's alone: no binding is made there. See Hold.
	Held Bits
	// Bindings is room for Limit bindings, which may outlive the process: what it holds goes on, as of Now. nil: the table makes its own.
	Bindings []Binding
	Now      Seconds
}

// protocols with bindings of their own.
const (
	icmp = 1
	tcp  = 6
	udp  = 17
)

// key6 and key4 name the two sides of a binding.
type key6 struct {
	addr     [16]byte
	port     uint16
	protocol uint8
}

type key4 struct {
	addr     [4]byte
	port     uint16
	protocol uint8
}

// Binding joins an end of an endpoint with one of the pool (a BIB entry, RFC 6146 3.1). TCP ones live as long as their sessions. It has
// no pointers, so that it can lie in memory that outlives the process.
type Binding struct {
	expires  Seconds
	sessions int32
	six      key6
	four     key4
}

// sessionKey is a TCP session: a binding and the server.
type sessionKey struct {
	binding uint32
	addr    [4]byte
	port    uint16
}

// session is where a TCP session stands. While the fast path knows it, its life is in the memory that both share.
type session struct {
	own  uint64 // see life
	fast uint32 // its place in the fast path, and one; 0: none
}

// life packs what the fast path and the Table both write: the state, and the second it ends.
func life(s State, expires Seconds) uint64 { return uint64(s)<<32 | uint64(uint32(expires)) }

// word is where the life of a session is.
func (t *Table) word(s *session) *uint64 {
	if s.fast != 0 {
		return &t.c.Fast.at(s.fast - 1).life
	}
	return &s.own
}

func (t *Table) look(s *session) (State, Seconds) {
	w := atomic.LoadUint64(t.word(s))
	return State(w >> 32 & (states - 1)), Seconds(uint32(w))
}

// step moves a session by an event. The fast path may do so at the same time.
func (t *Table) step(s *session, e Event) timer {
	for {
		old := atomic.LoadUint64(t.word(s))
		n := next[old>>32&(states-1)][e]
		expires := Seconds(uint32(old))
		switch n.timer {
		case trans, probe:
			expires = t.now + t.c.Times.TCPTrans
		case est:
			expires = t.now + t.c.Times.TCPEst
		}
		if atomic.CompareAndSwapUint64(t.word(s), old, life(n.to, expires)) {
			return n.timer
		}
	}
}

// Table is the state of one gateway.
type Table struct {
	c        Config
	now      Seconds
	by6      map[key6]uint32
	by4      map[key4]uint32
	bindings []Binding
	spare    []uint32 // places of bindings that are gone
	sessions map[sessionKey]*session
	pieces   map[piece]ports
	used     map[Block]*blockUse
	running  bool    // what was there before is taken up
	adopting bool    // more bindings of endpoints may come from another gateway
	paused   bool    // the fast path may begin no flow
	swept    Seconds // when all that is over was ended because ports were short
	usage    map[[16]byte]*Usage
	// Refused is told of each binding that an endpoint did not get; nil is nobody.
	Refused func(endpoint netip.Addr, s Shortage)
	// Changed is told of each binding that is made or ends, other than by resuming; nil is nobody.
	Changed func(c Copy, gone bool)
	// Probe is called for a session that was silent for long; the caller asks the endpoint whether it lives (RFC 6146 3.5.2.2).
	Probe func(endpoint, server netip.AddrPort)
}

// New makes an empty table.
func New(c Config) *Table {
	t := &Table{c: c, now: c.Now, by6: map[key6]uint32{}, by4: map[key4]uint32{}, sessions: map[sessionKey]*session{}, pieces: map[piece]ports{},
		used: map[Block]*blockUse{}, usage: map[[16]byte]*Usage{}}
	if c.Fast != nil {
		c.Fast.settle()
	}
	t.resume()
	t.markBound()
	t.running = true
	if c.Fast != nil {
		c.Fast.publish(t)
	}
	return t
}

// Advance sets the clock. It never goes back.
func (t *Table) Advance(now Seconds) { t.now = max(t.now, now) }

// Len returns the number of bindings and of TCP sessions.
func (t *Table) Len() (bindings, sessions int) {
	t.learn()
	return len(t.by6), len(t.sessions)
}

// outbound returns the binding of an endpoint's end and makes it if need be.
func (t *Table) outbound(addr netip.Addr, port uint16, protocol uint8) (uint32, xlat.Why) {
	k := key6{addr.As16(), port, protocol}
	if i, ok := t.by6[k]; ok {
		if t.alive(i) {
			return i, xlat.Translated
		}
		t.remove(i)
	}
	if len(t.by6) >= t.c.Limit {
		return 0, t.refuse(addr, TableFull)
	}
	for range claimTries { // the fast path began it this instant, and says so in the next
		if t.c.Fast.claim(k) {
			break
		}
		t.learn()
		if i, ok := t.by6[k]; ok {
			return i, xlat.Translated
		}
	}
	four, short := t.choose(addr, port, protocol)
	if short != enough {
		t.c.Fast.release(k)
		return 0, t.refuse(addr, short)
	}
	return t.insert(Binding{six: k, four: four}), xlat.Translated
}

// claimTries bounds the wait for a program that runs, which is over in well under a microsecond.
const claimTries = 1 << 16

// mayInsert reports whether a binding that somebody else made can be taken up.
func (t *Table) mayInsert(b Binding) bool {
	block, ok := BlockOf(netip.AddrFrom4(b.four.addr), b.four.port)
	owner, had := t.c.Blocks.Owner(block)
	_, twice := t.by4[b.four]
	return ok && had && owner.As16() == b.six.addr && !twice && len(t.by6) < t.c.Limit && lane(b.six.protocol) < 2 && t.mayHave(owner)
}

func (t *Table) refuse(endpoint netip.Addr, s Shortage) xlat.Why {
	if t.Refused != nil {
		t.Refused(endpoint, s)
	}
	return xlat.Refused
}

func (t *Table) insert(b Binding) uint32 {
	i := uint32(len(t.bindings))
	if n := len(t.spare); n > 0 {
		i, t.spare = t.spare[n-1], t.spare[:n-1]
		t.bindings[i] = b
	} else {
		t.bindings = append(t.bindings, b)
	}
	t.enter(i)
	t.c.Fast.allow(t)
	if t.Changed != nil {
		t.Changed(t.bindings[i].copy(), false)
	}
	return i
}

// enter makes a binding found by its ends, and counts it.
func (t *Table) enter(i uint32) {
	b := &t.bindings[i]
	t.by6[b.six], t.by4[b.four] = i, i
	t.c.Bound.Set(b.four.protocol, b.four.port)
	block, _ := BlockOf(netip.AddrFrom4(b.four.addr), b.four.port)
	use := t.use(block, netip.AddrFrom16(b.six.addr))
	use.taken[lane(b.four.protocol)].claim(b.four.port)
	use.count[lane(b.four.protocol)]++
	use.bindings++
	t.c.Fast.hold(t, b.six)
	u := t.usage[b.six.addr]
	if u == nil {
		u = &Usage{}
		t.usage[b.six.addr] = u
	}
	u.count(b.six.protocol, 1)
}

// remove ends a binding. A block that has none left goes back.
func (t *Table) remove(i uint32) {
	if t.c.Fast != nil {
		t.c.Fast.dropAll(t, i)
	}
	b := &t.bindings[i]
	if t.Changed != nil {
		t.Changed(b.copy(), true)
	}
	delete(t.by6, b.six)
	delete(t.by4, b.four)
	t.c.Bound.Clear(b.four.protocol, b.four.port) // before the fast path can take the port again
	block, _ := BlockOf(netip.AddrFrom4(b.four.addr), b.four.port)
	use := t.used[block]
	use.count[lane(b.four.protocol)]--
	if !t.c.Held.Has(b.four.protocol, b.four.port) {
		use.taken[lane(b.four.protocol)].release(b.four.port)
	}
	t.c.Fast.release(b.six)
	if use.bindings--; use.bindings == 0 {
		t.giveBack(block, netip.AddrFrom16(b.six.addr))
	}
	if u := t.usage[b.six.addr]; u != nil {
		if u.count(b.six.protocol, -1); *u == (Usage{}) {
			delete(t.usage, b.six.addr)
		}
	}
	*b = Binding{}
	t.spare = append(t.spare, i)
}

// giveBack returns a block that has no binding left.
func (t *Table) giveBack(b Block, owner netip.Addr) {
	delete(t.used, b)
	t.c.Blocks.Return(b, t.now)
	t.c.Fast.forget(t, owner, b)
}

// alive reports whether a binding still counts: UDP and ICMP ones until they expire, TCP ones while they have sessions.
func (t *Table) alive(i uint32) bool {
	b := &t.bindings[i]
	return b.sessions > 0 || b.expires > t.now
}
