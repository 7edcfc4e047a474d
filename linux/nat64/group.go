package nat64

import (
	"crypto/rand"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/gateway"
	"hexapod.dev/model/xlat/nat64"
)

// Times and amounts of what others are told.
const (
	tellEvery   = 50 * time.Millisecond
	refresh     = gateway.MostTold      // bindings that are told again each time: words may be lost
	refreshMany = 20 * gateway.MostTold // while somebody knows nothing yet
	manyFor     = gateway.Joining
	mostQueued  = 1 << 16 // bindings that wait to be told; the refresh tells those beyond
	leftTold    = 4       // times that an owner is told what was left to it: the refresh does not
	leftEvery   = gateway.Millis(200)
)

// group is a translator's part among gateways that go on for each other. The lock of the translator guards it.
type group struct {
	*gateway.Group
	at      netip.Addr // where this one is reached
	voice   *gateway.Voice
	doubted map[gateway.Doubt]uint64
	told    map[doubted]gateway.Millis    // when the log was told of it
	queue   map[netip.Addr][]gateway.Told // by who is to be told
	queued  int
	left    []parting
	next    int            // binding of the table that the refresh goes on from
	many    gateway.Millis // until then much is told again
	beat    gateway.Millis // of the last word
	handed  uint64         // packets given to others
	adopted uint64         // bindings of others that this one went on with
}

// doubted is whose words are not believed, and why.
type doubted struct {
	from netip.Addr
	why  gateway.Doubt
}

// parting is bindings that were left to their owners, who are told again of them: words get lost, and who owns an address is not clear at once
// where several gateways hear each other again.
type parting struct {
	list  []nat64.Copy
	at    gateway.Millis // the next time
	times int
}

// millis is the kernel's clock that stands still while the machine does: a host that slept has not been deaf.
func millis() gateway.Millis {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it cannot fail for this clock
	return gateway.Millis(ts.Nano() / int64(time.Millisecond))
}

// life is a number that no process had before.
func life() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return binary.NativeEndian.Uint64(b[:])
}

// groupOf makes the part that a configuration gives this translator among others; nil: it translates alone. What it knew of the others goes on, and
// the bindings that it has go on with it.
func (t *Translator) groupOf(c Config) *group {
	if len(c.Members) == 0 {
		return nil
	}
	now := millis()
	g := &group{queue: map[netip.Addr][]gateway.Told{}, many: now + manyFor, doubted: map[gateway.Doubt]uint64{}, told: map[doubted]gateway.Millis{}}
	self := c.Members[slices.IndexFunc(c.Members, func(m gateway.Member) bool { return m.Name == c.Gateway })]
	g.at = self.At
	switch {
	case t.group != nil:
		g.Group, g.handed, g.adopted, g.doubted = t.group.Follow(c.Members, c.Pool, now), t.group.handed, t.group.adopted, t.group.doubted
		g.voice = t.group.voice
	case t.engine != nil: // it was alone
		g.Group = gateway.New(c.Gateway, []gateway.Member{self}, c.Pool, true, now).Follow(c.Members, c.Pool, now)
	default:
		g.Group = gateway.New(c.Gateway, c.Members, c.Pool, nat64.InUse(t.store), now)
	}
	if g.voice == nil || t.group.at != g.at {
		g.voice = gateway.NewVoice(g.at, life())
	}
	g.voice.Know(g.Others(), c.Keys)
	g.Leave(c.Leaving)
	return g
}

// join lets the table take part in the group.
func (t *Translator) join() {
	g := t.group
	t.blocks.Home, t.table.Changed, t.kept.most = g.Home, g.changed, t.config.Bindings
	for _, a := range g.Mine() { // of members that are taken out of the configuration
		t.kept.take(a, t.table.Adopt, t.blocks)
	}
	select {
	case t.grouped <- struct{}{}:
	default:
	}
}

// changed notes what the heir of an address has to know.
func (g *group) changed(c nat64.Copy, gone bool) {
	if heir, ok := g.Heir(c.Pool.Addr()); ok {
		g.tell(heir, gateway.Told{Copy: c, Gone: gone})
	}
}

func (g *group) tell(m gateway.Member, b gateway.Told) {
	if m.At != g.at && g.queued < mostQueued {
		g.queue[m.At] = append(g.queue[m.At], b)
		g.queued++
	}
}

// take goes on with addresses of a gateway that is gone, or that kept them while this one was away.
func (t *Translator) take(addrs []netip.Addr) {
	t.blocks.Take(nat64.Pool{Addrs: addrs, First: t.config.Ports.First, Last: t.config.Ports.Last})
	for _, a := range addrs {
		n := t.kept.take(a, t.table.Adopt, t.blocks)
		t.group.adopted += uint64(n)
		t.log.Info("an address of the pool is this gateway's now", "address", a, "bindings", n)
	}
}

// leave gives addresses up to gateways that go on with them: it tells them what they may not know yet, and keeps it for them.
func (t *Translator) leave(addrs []netip.Addr) {
	left := parting{times: leftTold}
	t.table.Leave(addrs, func(c nat64.Copy) {
		if owner, ok := t.group.Owner(c.Pool.Addr()); ok {
			left.list = append(left.list, c)
			t.kept.add(owner.Name, c, now())
		}
	})
	t.group.left = append(t.group.left, left)
	for _, a := range addrs {
		t.log.Info("an address of the pool is another gateway's now", "address", a)
	}
}

// together looks who lives, takes and leaves addresses, and tells the others what they have to know. It is false where there are no others.
func (t *Translator) together() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.group
	if g == nil {
		return false
	}
	at := millis()
	t.table.Advance(now())
	t.advance(at)
	g.part(at)
	n := refresh
	if at < g.many {
		n = refreshMany
	}
	g.next = t.table.Copies(g.next, n, func(c nat64.Copy) { g.changed(c, false) })
	for to, list := range g.queue {
		for len(list) > 0 {
			k := min(len(list), gateway.MostTold)
			t.send(g.voice.Say(to, gateway.Word{Ready: g.Ready(), Bindings: list[:k]}))
			list = list[k:]
		}
	}
	clear(g.queue)
	g.queued = 0
	if at-g.beat >= gateway.Beat {
		g.beat = at
		for _, m := range g.Others() {
			t.send(g.voice.Say(m.At, gateway.Word{Ready: g.Ready()}))
		}
	}
	return true
}

// advance looks who lives, and takes and leaves addresses.
func (t *Translator) advance(at gateway.Millis) {
	g := t.group
	change := g.Advance(at)
	if change.Living {
		t.note(Record{Gateways: g.Living()})
		g.beat = at - gateway.Beat // the others have to know at once, if this one begins or leaves
	}
	if len(change.Left) > 0 {
		t.leave(change.Left)
	}
	if len(change.Taken) > 0 {
		t.take(change.Taken)
	}
	if change.Heirs || len(change.Taken) > 0 {
		g.many = at + manyFor
	}
}

// part tells owners of bindings that were left to them.
func (g *group) part(now gateway.Millis) {
	for i := range g.left {
		p := &g.left[i]
		if now < p.at {
			continue
		}
		for _, c := range p.list {
			if owner, ok := g.Owner(c.Pool.Addr()); ok {
				g.tell(owner, gateway.Told{Copy: c})
			}
		}
		p.at, p.times = now+leftEvery, p.times-1
	}
	g.left = slices.DeleteFunc(g.left, func(p parting) bool { return p.times == 0 })
}

// mine deals with packets that another gateway sent, and with those that belong to another one. It returns the packet that is to be
// translated here; nil: none.
func (t *Translator) mine(b []byte) []byte {
	g := t.group
	if b[0]>>4 == 6 && len(b) >= 40 && netip.AddrFrom16([16]byte(b[24:])) == g.at {
		r, doubt := g.voice.Hear(b)
		if doubt != "" && b[6] == unix.IPPROTO_ICMPV6 {
			return nil // a router's, about what was said to one that is gone
		}
		if doubt != "" {
			t.doubt(doubted{r.From, doubt})
			return nil
		}
		if from, _ := g.Other(r.From); r.Packet == nil {
			if at := millis(); g.Hear(from, r.Word.Ready, at) {
				t.advance(at) // what it hands on comes right behind
			}
			t.learn(from.Name, r.Word.Bindings)
		}
		return r.Packet // as if it had come here: two gateways that do not agree must not send it to and fro
	}
	a, ok := g.poolOf(b)
	if !ok {
		return b
	}
	owner, ok := g.Owner(a)
	if g.Owns(a) {
		if owner, ok = t.strange(b, a); !ok {
			return b
		}
	}
	if !ok { // all wait for their bindings
		return nil
	}
	g.handed++
	if mtu := t.config.MTU6; mtu > 0 && len(b)+gateway.Overhead > mtu {
		t.engine.TooBig(&t.out, b, mtu-gateway.Overhead)
		for i := range t.out.Len() {
			t.send(t.out.At(i))
		}
		return nil
	}
	t.send(gateway.Wrap(g.at, owner.At, b))
	return nil
}

// doubtAgain is how often the log is told of the same doubt.
const doubtAgain = gateway.Millis(60e3)

// doubt notes that a word was not believed. That a gateway which begins has heard nobody yet is in order.
func (t *Translator) doubt(d doubted) {
	g, at := t.group, millis()
	g.doubted[d.why]++
	m, known := g.Other(d.from)
	if last, before := g.told[d]; !known || d.why == gateway.Unanswered || before && at-last < doubtAgain {
		return
	}
	g.told[d] = at
	t.log.Warn("what came from a gateway's address is not believed: if that gateway said it, compare the keyFile of both", "gateway", m.Name, "address", d.from, "why", string(d.why))
}

// learn keeps what an owner told. Of an address that is this gateway's own by now it goes on at once.
func (t *Translator) learn(from string, list []gateway.Told) {
	var mine []nat64.Copy
	for _, told := range list {
		switch a := told.Pool.Addr(); {
		case !t.group.Has(a):
		case t.group.Owns(a):
			if !told.Gone {
				mine = append(mine, told.Copy)
			}
		case told.Gone:
			t.kept.drop(told.Copy)
		default:
			t.kept.add(from, told.Copy, now())
		}
	}
	if mine != nil {
		t.group.adopted += uint64(t.table.Adopt(slices.Values(mine)))
	}
}

// poolOf is the address of the pool by which the gateway of a packet is found: the packet's own, or that of its endpoint.
func (g *group) poolOf(b []byte) (netip.Addr, bool) {
	switch {
	case b[0]>>4 == 4 && len(b) >= 20:
		a := netip.AddrFrom4([4]byte(b[16:]))
		return a, g.Has(a)
	case b[0]>>4 == 6 && len(b) >= 40:
		endpoint := [16]byte(b[8:])
		if b[6] == 58 && len(b) >= 88 && b[40] < 128 { // an error: about a packet to the endpoint, whoever noticed it
			endpoint = [16]byte(b[72:])
		}
		a := g.Home(netip.AddrFrom16(endpoint))
		return a, a.IsValid()
	}
	return netip.Addr{}, false
}

// Together is how a translator does among others.
type Together struct {
	Living  []string `json:"living"` // gateways that translate now
	Owns    int      `json:"owns"`   // addresses of the pool that are this one's now
	Kept    int      `json:"kept"`   // bindings of others that it would go on with
	Untold  int      `json:"untold"` // bindings that began or ended, and are still to be told to who would go on with them
	Handed  uint64   `json:"handed"` // packets given to the gateway they belong to
	Adopted uint64   `json:"adopted"`
	Words   string   `json:"words"` // how they are signed
	// Doubted are words that were not believed, by why.
	Doubted map[gateway.Doubt]uint64 `json:"doubted,omitempty"`
	Addrs   []Address                `json:"addresses"` // of the pool
}

// Address is whose an address of the pool is now.
type Address struct {
	Addr  netip.Addr `json:"address"`
	Owner string     `json:"owner"` // empty: nobody's yet
	Heir  string     `json:"heir"`  // who goes on when the owner is gone
}

// status names at most top addresses.
func (g *group) status(k *kept, c Config, top int) *Together {
	if g == nil {
		return nil
	}
	s := &Together{Living: g.Living(), Owns: len(g.Mine()), Kept: k.len(), Untold: g.queued, Handed: g.handed, Adopted: g.adopted,
		Words: gateway.Signature(c.Keys), Doubted: maps.Clone(g.doubted)}
	for _, a := range c.Pool[:min(top, len(c.Pool))] {
		owner, _ := g.Owner(a)
		heir, _ := g.Heir(a)
		s.Addrs = append(s.Addrs, Address{a, owner.Name, heir.Name})
	}
	return s
}
