// Package gateway lets the translators of several hosts be one: who of them translates for an endpoint, and what they tell each other.
//
// Every address of the pool has an owner among the gateways that live, found by rendezvous hashing, and every endpoint an address of the
// pool. So each gateway knows alone, and without state, where a packet belongs that came to it: it goes there inside an IPv6 packet. Owners
// tell their bindings to the gateway that would own the address without them, their heir, which goes on with them when they are gone.
//
// Who gives out which ports does not depend on who is heard: each block of ports has one gateway that does, its giver. So two gateways that live
// and hear each other no more, which both go on with all addresses, never give one port to two flows.
//
// A gateway that was never heard is not gone: it may be at work where its words do not come from. Nobody takes its addresses; so gateways that cannot
// hear each other are each alone with their own.
package gateway

import (
	"net/netip"
	"slices"

	"hexapod.dev/model/xlat/nat64"
)

// Millis is a moment on the caller's monotonic clock, in milliseconds.
type Millis int64

// Times of a group.
const (
	Beat    Millis = 100  // between two words of a gateway
	Silence Millis = 700  // after which it counts as gone
	Joining Millis = 1000 // a gateway that comes without bindings waits so long for those that others kept for it
	Meeting Millis = 60e3 // that a gateway which is added may take to begin, before its addresses are kept free for it
)

// Member is one gateway.
type Member struct {
	Name string     `json:"name"`
	At   netip.Addr `json:"at"` // where the others reach its translator
}

// Group is the gateways of a pool as one of them sees them.
type Group struct {
	self    string
	members []Member
	pool    []netip.Addr
	first   map[netip.Addr]string // of the pool: who is to have it while all live
	said    []heard               // by members, this one among them
	at      []Millis              // when
	met     []bool                // by members: it was heard once, or is this one
	began   Millis
	leaves  bool // it is about to go
	away    bool // it gave up its addresses for that, and has not got them again

	// What follows from what was said.
	chosen []heard
	living []string     // that translate
	homes  []netip.Addr // of the pool, but for those of gateways that were never heard
	owners map[netip.Addr]string
	heirs  map[netip.Addr]string
}

// heard is what a gateway said last.
type heard uint8

const (
	nothing heard = iota // for too long: it is gone
	joining              // it waits for its bindings
	ready                // it translates
)

// New makes a group. resumed says that this gateway has the bindings of a process before it, and need not wait for those of others.
// Everybody else counts as ready until they say otherwise, or are silent for long; who was never heard then has addresses that nobody takes.
func New(self string, members []Member, pool []netip.Addr, resumed bool, now Millis) *Group {
	g := &Group{self: self, members: slices.Clone(members), pool: slices.Clone(pool), first: firsts(members, pool), began: now}
	for _, m := range members {
		says := ready
		if m.Name == self && !resumed && len(members) > 1 {
			says = joining
		}
		g.said, g.at, g.met = append(g.said, says), append(g.at, now), append(g.met, m.Name == self)
	}
	g.choose()
	return g
}

// Follow makes a group of other members or addresses, which knows what this one has heard. Members that are new to it have to say that they are
// ready before anything is theirs.
func (g *Group) Follow(members []Member, pool []netip.Addr, now Millis) *Group {
	f := New(g.self, members, pool, g.Ready(), now)
	f.began, f.leaves, f.away = g.began, g.leaves, g.away
	for i, m := range members {
		switch j := slices.Index(g.members, m); {
		case j >= 0:
			f.said[i], f.at[i], f.met[i] = g.said[j], g.at[j], g.met[j]
		case m.Name != g.self:
			f.said[i] = joining
		}
	}
	f.choose()
	return f
}

// choose finds owners and heirs among those that live.
func (g *Group) choose() {
	if slices.Equal(g.chosen, g.said) {
		return
	}
	g.chosen, g.living, g.homes = slices.Clone(g.said), nil, nil
	var all, first []string // who may be an heir; who keeps others from an address
	for i, m := range g.members {
		switch says := g.said[i]; {
		case says == ready:
			g.living = append(g.living, m.Name)
			all, first = append(all, m.Name), append(first, m.Name)
		case says == joining && g.met[i]:
			all = append(all, m.Name)
		case says == nothing && !g.met[i]:
			first = append(first, m.Name)
		}
	}
	g.owners, g.heirs = make(map[netip.Addr]string, len(g.pool)), make(map[netip.Addr]string, len(g.pool))
	for _, a := range g.pool {
		g.owners[a] = ""
		owner, _ := nat64.Pool{Gateways: first}.Owners(nat64.Block{Addr: a})
		if owner != "" && !slices.Contains(g.living, owner) {
			continue
		}
		heir, next := nat64.Pool{Gateways: all}.Owners(nat64.Block{Addr: a})
		if heir == owner {
			heir = next
		}
		g.owners[a], g.heirs[a] = owner, heir
		g.homes = append(g.homes, a)
	}
}

// Home is the address of the pool that an endpoint is seen by; none: there is no address left that this gateway may know the owner of.
func (g *Group) Home(endpoint netip.Addr) netip.Addr { return nat64.Home(endpoint, g.homes) }

// Has reports whether an address is one of the pool.
func (g *Group) Has(a netip.Addr) bool { _, ok := g.owners[a]; return ok }

// Owner is the gateway that an address of the pool belongs to now; false for an address of no pool, or if nobody translates.
func (g *Group) Owner(a netip.Addr) (Member, bool) { return g.find(g.owners[a]) }

// Owns reports whether an address of the pool belongs to this gateway.
func (g *Group) Owns(a netip.Addr) bool { return g.owners[a] == g.self }

// Heir is the gateway that has to know the bindings of an address: one that joins and will have it, else the one that would have it without
// its owner. false: there is none.
func (g *Group) Heir(a netip.Addr) (Member, bool) { return g.find(g.heirs[a]) }

func (g *Group) find(name string) (Member, bool) {
	if i := slices.IndexFunc(g.members, func(m Member) bool { return m.Name == name }); i >= 0 {
		return g.members[i], true
	}
	return Member{}, false
}

// Ready reports whether this gateway translates, or still waits for its bindings.
func (g *Group) Ready() bool { return slices.Contains(g.living, g.self) }

// Living are the gateways that translate now, by name.
func (g *Group) Living() []string { return g.living }

// Others are the other gateways.
func (g *Group) Others() (list []Member) {
	for _, m := range g.members {
		if m.Name != g.self {
			list = append(list, m)
		}
	}
	return list
}

// Other is the other gateway that is reached at an address; false: there is none.
func (g *Group) Other(at netip.Addr) (Member, bool) {
	i := slices.IndexFunc(g.members, func(m Member) bool { return m.At == at && m.Name != g.self })
	if i < 0 {
		return Member{}, false
	}
	return g.members[i], true
}

// Hear notes a word of another gateway, and reports whether it says something else than before: then it is time to Advance.
func (g *Group) Hear(m Member, isReady bool, now Millis) (other bool) {
	if i := slices.Index(g.members, m); i >= 0 {
		before := g.said[i]
		if g.at[i], g.said[i] = now, joining; isReady {
			g.said[i] = ready
		}
		other = g.said[i] != before
		if !g.met[i] {
			g.met[i], g.chosen = true, nil
		}
	}
	return other
}

// Leave says that this gateway is about to go, or stays after all. It gives its addresses to the others at once, while it still reaches them; where nobody
// else translates it goes on.
func (g *Group) Leave(on bool) { g.leaves = on }

// Change is what became of the gateways, and of addresses of the pool.
type Change struct {
	Living bool         // others translate than before
	Taken  []netip.Addr // belong to this gateway from now on
	Left   []netip.Addr // and no more
	Heirs  bool         // an address of this gateway has another heir, who knows nothing yet
}

// Advance looks who lives now, and tells what changed.
func (g *Group) Advance(now Millis) (c Change) {
	wait := false // somebody may keep bindings for this gateway
	for i, m := range g.members {
		if m.Name == g.self {
			continue
		}
		patience := Silence
		if !g.met[i] && g.said[i] == joining {
			patience = Meeting
		}
		if now-g.at[i] > patience {
			g.said[i] = nothing
		}
		wait = wait || g.said[i] == ready
	}
	self := slices.IndexFunc(g.members, func(m Member) bool { return m.Name == g.self })
	switch {
	case g.leaves && (wait || g.said[self] == joining):
		// It is as one that comes: others have its addresses. That holds when it hears them no more, for they may hear it.
		g.said[self], g.away, g.began = joining, true, now
	case now-g.began >= Joining || !wait && !g.away:
		g.said[self], g.away = ready, false
	}
	living, owners, heirs := g.living, g.owners, g.heirs
	g.choose()
	c.Living = !slices.Equal(living, g.living)
	for _, a := range g.pool {
		was, is := owners[a] == g.self, g.owners[a] == g.self
		switch {
		case is && !was:
			c.Taken = append(c.Taken, a)
		case was && !is:
			c.Left = append(c.Left, a)
		}
		c.Heirs = c.Heirs || is && heirs[a] != g.heirs[a]
	}
	return c
}

// Mine are the addresses that belong to this gateway now.
func (g *Group) Mine() (list []netip.Addr) {
	for _, a := range g.pool {
		if g.Owns(a) {
			list = append(list, a)
		}
	}
	return list
}
