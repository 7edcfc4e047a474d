package datapath

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"

	"hexapod.dev/model/desired"
)

// FlowKey names a flow, the same in both directions: A is the side whose address (then port) is lower, byte by byte.
type FlowKey struct {
	A, B         netip.Addr
	APort, BPort uint16
	Proto        uint8
}

// FlowState tells how far a flow has come.
type FlowState uint8

// States of a flow. A place in the table without a flow is free.
const (
	Free        FlowState = iota
	HalfOpen              // the other side has not answered, or the answer was not taken
	Established           // both sides have sent
	Closing               // ended by both sides or by a reset
)

func (s FlowState) String() string {
	return [...]string{"free", "half-open", "established", "closing"}[s]
}

// What is noted of a flow.
const (
	FirstA  = 1 << iota // A began
	Replied             // the side that did not begin has sent
	EndedA              // A has sent its FIN
	EndedB
	ByService // the client sends to the address of a service: answers are shown as the service's
)

// Flow is one flow in the table.
type Flow struct {
	Key        FlowKey
	State      FlowState
	Flags      uint8
	Seen       uint32 // when a packet of it passed last
	Generation uint32 // of the policy that let it pass
	Owner      uint32 // link of the endpoint whose share of the table it takes
	Link       uint32 // where its source was verified: the uplink, 0 while not yet
	MAC        desired.MAC
}

// Seconds (of 2^30 ns) after which a silent flow is forgotten.
const (
	halfOpenLife  = 30
	closingLife   = 60
	udpLife       = 180
	tcpLife       = 6 * 3600
	otherLife     = 600
	echoLife      = 30
	fragmentLife  = 30
	errorsPerUnit = 100 // packet-too-big messages about unknown flows in a second
)

func (f *Flow) life() uint32 {
	switch {
	case f.State == HalfOpen:
		return halfOpenLife
	case f.State == Closing:
		return closingLife
	}
	switch f.Key.Proto {
	case protoTCP:
		return tcpLife
	case protoUDP:
		return udpLife
	case protoICMP:
		return echoLife
	}
	return otherLife
}

// Gone tells whether the place of f may be taken.
func (f *Flow) Gone(now uint32) bool { return f.State == Free || now-f.Seen > f.life() }

// FlowWays is how many flows share one row of the table.
const FlowWays = 8

// Flows is the flow table: rows of eight, found by a hash of the key. It never grows. A full row gives up a flow of whoever has
// most there, half-open ones first, so a flood costs the flooder its own flows.
type Flows struct {
	Seed uint64
	Rows [][FlowWays]Flow // as many as a power of two
}

// NewFlows returns an empty table of rows, a power of two.
func NewFlows(rows int, seed uint64) *Flows { return &Flows{seed, make([][FlowWays]Flow, rows)} }

// keyOf is the key of the packet's flow, and whether its sender is A.
func keyOf(h Header) (k FlowKey, fromA bool) {
	k = FlowKey{h.Src, h.Dst, h.SrcPort, h.DstPort, h.Proto}
	return k.sorted()
}

func (k FlowKey) sorted() (FlowKey, bool) {
	a, b := k.A.As16(), k.B.As16()
	c := bytes.Compare(a[:], b[:])
	if c < 0 || c == 0 && k.APort <= k.BPort {
		return k, true
	}
	return FlowKey{k.B, k.A, k.BPort, k.APort, k.Proto}, false
}

// hash spreads keys over rows. Whoever finds keys of one row hits his own flows there.
func (k FlowKey) hash(seed uint64) uint64 {
	a, b := k.A.As16(), k.B.As16()
	h := seed
	// The programs read memory as it lies (little endian), ports lie there in network order.
	for _, w := range []uint64{
		binary.LittleEndian.Uint64(a[:]), binary.LittleEndian.Uint64(a[8:]),
		binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:]),
		uint64(bits.ReverseBytes16(k.APort)) | uint64(bits.ReverseBytes16(k.BPort))<<16 | uint64(k.Proto)<<32,
	} {
		h = (h ^ w) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	h *= 0xff51afd7ed558ccd // or ports that follow one another meet in one row
	return h ^ h>>32
}

func (t *Flows) row(k FlowKey) *[FlowWays]Flow {
	return &t.Rows[k.hash(t.Seed)&uint64(len(t.Rows)-1)]
}

// find returns the living flow of k, or nil.
func (t *Flows) find(k FlowKey, now uint32) *Flow {
	row := t.row(k)
	for i := range row {
		if f := &row[i]; f.Key == k && !f.Gone(now) {
			return f
		}
	}
	return nil
}

// sight is one packet of a flow.
type sight struct {
	key   FlowKey
	fromA bool
	flags uint8 // of TCP
	link  uint32
	mac   desired.MAC // link and MAC it was verified by; link 0 when an endpoint of this host sent it
	led   bool        // it was sent to the address of a service, and is led to a backend
}

// begins tells whether the packet opens a TCP connection.
func (p sight) begins() bool {
	return p.key.Proto == protoTCP && p.flags&(tcpSYN|tcpACK) == tcpSYN
}

// passed is what is told of a flow whose packet passes.
type passed struct{ ok, byService, halfOpen bool }

func (f *Flow) passed() passed { return passed{true, f.Flags&ByService != 0, f.State == HalfOpen} }

// pass lets a packet of a known flow pass. It is not ok when the packet has to be judged first: no flow, one of an older
// policy, a sender that was not verified yet, or a connection that begins anew.
func (t *Flows) pass(p sight, generation, now uint32) passed {
	f := t.find(p.key, now)
	if f == nil || f.Generation != generation || f.State == Closing && p.begins() {
		return passed{}
	}
	if p.link != 0 && (f.Link != p.link || f.MAC != p.mac) {
		return passed{}
	}
	f.touch(p, now)
	return f.passed()
}

// add notes the flow of a packet that was judged well. It is not ok when there is no room.
func (t *Flows) add(p sight, owner, generation, now uint32) passed {
	f := t.find(p.key, now)
	if f == nil {
		if p.key.Proto == protoTCP && p.flags&tcpRST != 0 {
			return passed{ok: true} // it ends what is not known
		}
		if f = room(t.row(p.key), owner, now); f == nil {
			return passed{}
		}
		*f = Flow{Key: p.key, State: HalfOpen, Owner: owner}
		f.begin(p)
	} else if f.State == Closing && p.begins() {
		f.begin(p)
	}
	f.Generation = generation
	if p.link != 0 {
		f.Link, f.MAC = p.link, p.mac
	}
	f.touch(p, now)
	return f.passed()
}

func (f *Flow) begin(p sight) {
	f.State, f.Flags = HalfOpen, 0
	if p.fromA {
		f.Flags = FirstA
	}
}

// touch brings the flow on by one packet.
func (f *Flow) touch(p sight, now uint32) {
	f.Seen = now
	first := p.fromA == (f.Flags&FirstA != 0)
	if !first {
		f.Flags |= Replied
	}
	if p.led {
		f.Flags |= ByService
	} else if first && p.link == 0 { // the client now talks to the backend itself
		f.Flags &^= ByService
	}
	if f.Key.Proto != protoTCP {
		if !first && f.State == HalfOpen {
			f.State = Established
		}
		return
	}
	switch {
	case p.flags&tcpRST != 0:
		f.State = Closing
		return
	case p.flags&tcpFIN != 0 && p.fromA:
		f.Flags |= EndedA
	case p.flags&tcpFIN != 0:
		f.Flags |= EndedB
	}
	switch {
	case f.Flags&(EndedA|EndedB) == EndedA|EndedB:
		f.State = Closing
	case f.State == HalfOpen && first && f.Flags&Replied != 0 && p.flags&(tcpSYN|tcpACK) == tcpACK:
		f.State = Established
	}
}

// remove forgets the flow of k.
func (t *Flows) remove(k FlowKey, now uint32) {
	if f := t.find(k, now); f != nil {
		f.State = Free
	}
}

// room returns a place for a flow of owner, or nil: the last free one; else the longest silent flow of the owner with most flows
// in the row, half-open ones first. An established flow gives way only to an owner with at least two less.
func room(row *[FlowWays]Flow, owner, now uint32) *Flow {
	var free, victim *Flow
	var best uint64
	mine := 0
	for i := range row {
		if row[i].Gone(now) {
			free = &row[i]
		} else if row[i].Owner == owner {
			mine++
		}
	}
	if free != nil {
		return free
	}
	for i := range row {
		f := &row[i]
		n := 0
		for j := range row {
			if row[j].Owner == f.Owner {
				n++
			}
		}
		half := f.State != Established
		if !half && f.Owner != owner && n < mine+2 {
			continue
		}
		// Half-open ones first, then those of the owner with most, then the longest silent.
		score := uint64(n)<<32 | uint64(now-f.Seen)
		if half {
			score |= 1 << 40
		}
		if score >= best {
			best, victim = score, f
		}
	}
	return victim
}

// FragmentKey names the packet that fragments belong to.
type FragmentKey struct {
	Src, Dst netip.Addr
	ID       uint32
}

// Fragment is a packet of which the first fragment was let pass.
type Fragment struct {
	End     int  // where the first fragment ends in the whole packet, in bytes
	Spoiled bool // fragments overlapped: none passes any more (RFC 5722)
	Seen    uint32
}

// Bucket lets errorsPerUnit things pass per second.
type Bucket struct{ Second, Used uint32 }

func (b *Bucket) take(now uint32) bool {
	if b.Second != now {
		*b = Bucket{Second: now}
	}
	b.Used++
	return b.Used <= errorsPerUnit
}
