package nat64

import (
	"net/netip"
	"slices"
)

// Shortage is why an endpoint does not get a binding.
type Shortage uint8

// The shortages. RFC 8158 8.2 and 8.3 have events for them.
const (
	enough    Shortage = iota
	TableFull          // all endpoints together have as many as the table holds
	AtQuota            // its blocks are full, and it has as many as it may
	NoBlock            // its blocks are full, and no other is free
)

func (s Shortage) String() string {
	return [...]string{"enough", "the table is full", "the endpoint is at its quota", "no block of ports is free"}[s]
}

// Usage is how many bindings an endpoint has.
type Usage struct{ TCP, UDP, ICMP int32 }

func (u *Usage) count(protocol uint8, n int32) {
	switch protocol {
	case tcp:
		u.TCP += n
	case udp:
		u.UDP += n
	default:
		u.ICMP += n
	}
}

// Most is the fullest of the three: ports of each protocol are counted apart.
func (u Usage) Most() int { return int(max(u.TCP, u.UDP, u.ICMP)) }

// Usage calls f for every endpoint that has bindings, in no order.
func (t *Table) Usage(f func(endpoint netip.Addr, u Usage)) {
	t.learn()
	for a, u := range t.usage {
		f(netip.AddrFrom16(a), *u)
	}
}

// Entry is a binding as a person sees it.
type Entry struct {
	Protocol uint8          // as IPv4 numbers it
	Endpoint netip.AddrPort // ICMP: the identifier is the port
	Pool     netip.AddrPort
	Sessions int     // TCP
	Left     Seconds // UDP and ICMP: until it ends
}

// Entries calls f for bindings until it returns false, in no order.
func (t *Table) Entries(f func(Entry) bool) {
	t.learn()
	for i := range t.bindings {
		b := &t.bindings[i]
		if b.six == (key6{}) || !t.alive(uint32(i)) {
			continue
		}
		e := Entry{Protocol: b.six.protocol, Endpoint: netip.AddrPortFrom(netip.AddrFrom16(b.six.addr), b.six.port),
			Pool: netip.AddrPortFrom(netip.AddrFrom4(b.four.addr), b.four.port), Sessions: int(b.sessions)}
		if b.expires > t.now {
			e.Left = b.expires - t.now
		}
		if !f(e) {
			return
		}
	}
}

// InUse reports whether there are bindings in memory that outlived a process.
func InUse(store []Binding) bool {
	return slices.ContainsFunc(store, func(b Binding) bool { return b != (Binding{}) })
}

// resume takes up the bindings that Config.Bindings holds. Those of TCP live on as if something had just been said in an established session,
// for which sessions there were is not known. What contradicts the grants of blocks (the process before ended while it wrote) goes.
func (t *Table) resume() {
	living := t.c.Blocks.Living()
	for _, g := range living {
		for _, b := range t.c.Blocks.Of(g.Endpoint) { // in this order the fast path is to know them
			t.use(b, g.Endpoint)
		}
	}
	t.resumeBindings()
	if t.c.Fast != nil {
		t.c.Fast.adopt(t)
	}
	for _, g := range living {
		if t.used[g.Block].bindings == 0 {
			t.giveBack(g.Block, g.Endpoint)
		}
	}
}

func (t *Table) resumeBindings() {
	if t.c.Bindings == nil {
		return
	}
	t.c.Limit = min(t.c.Limit, len(t.c.Bindings))
	last := -1
	for i := range t.c.Bindings {
		if t.c.Bindings[i] != (Binding{}) {
			last = i
		}
	}
	t.bindings = t.c.Bindings[:last+1]
	for i := range t.bindings {
		b := &t.bindings[i]
		block, ok := BlockOf(netip.AddrFrom4(b.four.addr), b.four.port)
		owner, had := t.c.Blocks.Owner(block)
		_, twice6 := t.by6[b.six]
		_, twice4 := t.by4[b.four]
		if !ok || !had || owner.As16() != b.six.addr || twice6 || twice4 || b.six.protocol != b.four.protocol {
			*b = Binding{}
			t.spare = append(t.spare, uint32(i))
			continue
		}
		if b.sessions = 0; b.six.protocol == tcp {
			b.expires = t.now + t.c.Times.TCPEst
		}
		t.enter(uint32(i))
	}
}

// markBound makes Config.Bound say what is bound and nothing else: what a table before has marked and nobody has any more goes.
func (t *Table) markBound() {
	if t.c.Bound == nil {
		return
	}
	bound := make(Bits, BitsWords)
	for k := range t.by4 {
		bound.Set(k.protocol, k.port)
	}
	t.c.Bound.become(bound)
}

// Hold says anew which ports somebody else has (Config.Held). Bindings that are there already stay.
func (t *Table) Hold(held Bits) {
	before := t.c.Held
	t.c.Held = held
	for b, u := range t.used {
		four := b.Addr.As4()
		for _, protocol := range []uint8{tcp, udp} {
			for i := range uint16(BlockSize) {
				port := b.First + i
				_, bound := t.by4[key4{four, port, protocol}]
				switch now := held.Has(protocol, port); {
				case now:
					u.taken[lane(protocol)].claim(port)
				case before.Has(protocol, port) && !bound:
					u.taken[lane(protocol)].release(port)
				}
			}
		}
	}
}

// heldOf are the marks of a block of which nothing is taken but what somebody else has: TCP and UDP.
func (t *Table) heldOf(b Block) (m [2]marks) {
	for _, protocol := range []uint8{tcp, udp} {
		for i := range uint16(BlockSize) {
			if t.c.Held.Has(protocol, b.First+i) {
				m[lane(protocol)].claim(i)
			}
		}
	}
	return m
}
