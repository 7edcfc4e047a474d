package gateway

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
)

func members(n int) (list []Member) {
	for i := range n {
		list = append(list, Member{Name: fmt.Sprint("g", i), At: netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::3", i+1))})
	}
	return list
}

func addresses(n int) (list []netip.Addr) {
	for i := range n {
		list = append(list, netip.AddrFrom4([4]byte{45, 66, 0, byte(i)}))
	}
	return list
}

// all are the groups that the gateways of one pool have.
func all(n, addrs int) (list []*Group) {
	for _, m := range members(n) {
		list = append(list, New(m.Name, members(n), addresses(addrs), true, 0))
	}
	return list
}

// Every address has one owner, whoever is asked, and an heir who is another.
func TestOneOwner(t *testing.T) {
	groups := all(3, 64)
	for _, a := range addresses(64) {
		owner, _ := groups[0].Owner(a)
		heir, _ := groups[0].Heir(a)
		if owner == heir {
			t.Errorf("%s: %s is its owner and its heir", a, owner.Name)
		}
		for _, g := range groups {
			o, ok := g.Owner(a)
			h, ok2 := g.Heir(a)
			if !ok || !ok2 || o != owner || h != heir || g.Owns(a) != (owner.Name == g.self) {
				t.Errorf("%s: %s and %s, says %s; others say %s and %s", a, o.Name, h.Name, g.self, owner.Name, heir.Name)
			}
		}
	}
	if stranger := netip.MustParseAddr("45.67.0.1"); groups[0].Has(stranger) {
		t.Errorf("%s is in the pool", stranger)
	}
}

// hear lets gateways hear each other.
func hear(groups []*Group, now Millis) {
	for _, g := range groups {
		for _, from := range groups {
			if m, ok := g.find(from.self); ok && g != from {
				g.Hear(m, from.Ready(), now)
			}
		}
	}
}

// When a gateway is gone its addresses go to their heirs and no other changes hands; when it is back it waits for its bindings, which their
// keepers tell it meanwhile, and then has its addresses again.
func TestGoneAndBack(t *testing.T) {
	groups := all(3, 64)
	hear(groups, 0)
	heirs := map[netip.Addr]string{}
	mine := groups[1].Mine()
	for _, a := range mine {
		h, _ := groups[1].Heir(a)
		heirs[a] = h.Name
	}
	survivors := []*Group{groups[0], groups[2]}
	now := Silence
	hear(survivors, now)
	for _, g := range survivors {
		if c := g.Advance(now); c.Living || len(c.Taken)+len(c.Left) > 0 {
			t.Fatalf("changed at %d: %+v", now, c)
		}
	}
	now++
	taken := map[netip.Addr]string{}
	for _, g := range survivors {
		c := g.Advance(now)
		for _, a := range c.Taken {
			taken[a] = g.self
		}
		if len(c.Left) > 0 || !c.Living || !c.Heirs {
			t.Errorf("%s: %+v when another is gone", g.self, c)
		}
	}
	if len(mine) == 0 || !maps.Equal(taken, heirs) {
		t.Errorf("taken are %v, heirs were %v", taken, heirs)
	}
	// It is back, and empty.
	back := New("g1", members(3), addresses(64), false, now)
	if back.Ready() || len(back.Mine()) != 0 {
		t.Error("it has addresses before it has bindings")
	}
	three := append(survivors, back)
	hear(three, now)
	for _, g := range survivors {
		if c := g.Advance(now); len(c.Taken)+len(c.Left) > 0 || !c.Heirs {
			t.Errorf("%s: %+v while another joins", g.self, c)
		}
		for _, a := range mine {
			if h, ok := g.Heir(a); !ok || h.Name != "g1" {
				t.Errorf("%s: its heir is %v, and it comes back", a, h)
			}
		}
	}
	now += Joining - 1
	hear(three, now)
	if c := back.Advance(now); c.Living {
		t.Errorf("it joins before its time: %+v", c)
	}
	now++
	if c := back.Advance(now); !slices.Equal(c.Taken, mine) {
		t.Errorf("it takes %v, want %v", c.Taken, mine)
	}
	hear(three, now)
	for _, g := range survivors {
		for _, a := range g.Advance(now).Left {
			delete(taken, a)
		}
	}
	if len(taken) > 0 {
		t.Errorf("not left: %v", taken)
	}
}

// One that leaves gives its addresses to the others while all hear each other, and has them again when it stays; the last one does not leave.
func TestLeaves(t *testing.T) {
	groups := all(3, 64)
	hear(groups, 0)
	mine := groups[1].Mine()
	groups[1].Leave(true)
	if c := groups[1].Advance(1); !slices.Equal(c.Left, mine) || len(mine) == 0 || groups[1].Ready() {
		t.Errorf("it leaves %v of %v", c.Left, mine)
	}
	hear(groups, 1)
	var taken []netip.Addr
	for _, g := range []*Group{groups[0], groups[2]} {
		taken = append(taken, g.Advance(1).Taken...)
	}
	slices.SortFunc(taken, netip.Addr.Compare)
	if !slices.Equal(taken, mine) {
		t.Errorf("the others take %v of %v", taken, mine)
	}
	alone := Silence + 2 // it hears nobody any more, and others may hear it
	if groups[1].Advance(alone); groups[1].Ready() {
		t.Error("it has left, hears nobody, and says that it translates")
	}
	groups[1].Leave(false)
	if groups[1].Advance(alone + Joining - 1); groups[1].Ready() {
		t.Error("it stays, and does not wait for its bindings")
	}
	hear(groups, alone+Joining)
	if c := groups[1].Advance(alone + Joining); !slices.Equal(c.Taken, mine) {
		t.Errorf("it stays and has %v of %v", c.Taken, mine)
	}
	last := New("g0", members(3), addresses(8), true, 0)
	last.Leave(true)
	if last.Advance(Silence + 1); !last.Ready() {
		t.Error("it leaves, and nobody is there")
	}
}

// Nobody waits for those who have nothing to tell: all begin together, or the others are gone.
func TestNobodyToWaitFor(t *testing.T) {
	var groups []*Group
	for _, m := range members(3)[:2] {
		groups = append(groups, New(m.Name, members(3), addresses(8), false, 0))
	}
	hear(groups, 10)
	for _, g := range groups {
		if g.Advance(10); g.Ready() {
			t.Errorf("%s does not wait for the third", g.self)
		}
	}
	hear(groups, Silence+1)
	for _, g := range groups {
		if g.Advance(Silence + 1); !g.Ready() {
			t.Errorf("%s still waits", g.self)
		}
	}
}

// A group of other members knows what the one before heard: the owner of an address that a new gateway is to have keeps it until that is ready,
// and what one had that is not there any more stays where it went.
func TestFollow(t *testing.T) {
	pool := addresses(64)
	now := Millis(5000)
	g := New("g0", members(3), pool, false, 0)
	for _, m := range g.Others() {
		g.Hear(m, true, 0)
	}
	g.Advance(now) // the others are gone
	if len(g.Mine()) != 64 {
		t.Fatalf("alone it has %d addresses", len(g.Mine()))
	}
	fewer := g.Follow(members(2), pool, now)
	if c := fewer.Advance(now); c.Living || len(fewer.Mine()) != 64 || !fewer.Ready() {
		t.Errorf("without the one that was gone: %+v, %d addresses", c, len(fewer.Mine()))
	}
	more := g.Follow(members(4), pool, now)
	if c := more.Advance(now); len(more.Mine()) != 64 || len(c.Left) > 0 {
		t.Errorf("a new one that said nothing has something: %+v", c)
	}
	fourth := members(4)[3]
	more.Hear(fourth, false, now)
	more.Advance(now)
	if h := heirsOf(more, pool); h[fourth.Name] != 64 {
		t.Errorf("heirs are %v, want the new one", h)
	}
	more.Hear(fourth, true, now)
	if c := more.Advance(now); len(c.Left) == 0 || !c.Living {
		t.Errorf("the new one is ready: %+v", c)
	}
}

// Gateways that never hear each other may both be at work: each has the addresses that it would have while all live, and no other. An endpoint
// is seen by one of these. When they hear each other at last they are one group.
func TestNeverHeard(t *testing.T) {
	pool := addresses(64)
	groups := all(2, 64)
	before := [][]netip.Addr{groups[0].Mine(), groups[1].Mine()}
	for i, g := range groups {
		c := g.Advance(Silence + 1)
		if !slices.Equal(g.Mine(), before[i]) || len(c.Taken)+len(c.Left) > 0 || !g.Ready() {
			t.Errorf("%s took what may be another's: %+v, it had %v and has %v", g.self, c, before[i], g.Mine())
		}
		for k := range 100 {
			e := netip.MustParseAddr(fmt.Sprintf("2001:db8:e::%x", k))
			if home := g.Home(e); !g.Owns(home) {
				t.Fatalf("%s: %s is to be seen by %s, which is not its own", g.self, e, home)
			}
		}
	}
	hear(groups, Silence+2)
	for i, g := range groups {
		if c := g.Advance(Silence + 2); len(c.Taken)+len(c.Left) > 0 || !slices.Equal(g.Mine(), before[i]) || len(g.Living()) != 2 {
			t.Errorf("%s when they hear each other: %+v", g.self, c)
		}
	}
	groups[0].Advance(2*Silence + 3)
	if n := len(groups[0].Mine()); n != 64 {
		t.Errorf("of one that was heard and is gone %d addresses are taken, want 64", n)
	}
	// One that is added has its time to begin.
	alone := New("g0", members(1), pool, true, 0)
	two := alone.Follow(members(2), pool, 0)
	if two.Advance(Meeting); len(two.Mine()) != 64 {
		t.Errorf("%d addresses are left while a new one begins, want 64", len(two.Mine()))
	}
	if c := two.Advance(Meeting + 1); !slices.Equal(two.Mine(), before[0]) || len(c.Left) != len(before[1]) {
		t.Errorf("of one that never begins: %+v", c)
	}
}

func heirsOf(g *Group, pool []netip.Addr) map[string]int {
	n := map[string]int{}
	for _, a := range pool {
		h, _ := g.Heir(a)
		n[h.Name]++
	}
	return n
}

func TestAlone(t *testing.T) {
	g := New("g0", members(1), addresses(4), false, 0)
	if !g.Ready() || len(g.Mine()) != 4 || len(g.Others()) != 0 {
		t.Errorf("%+v", g)
	}
	if h, ok := g.Heir(addresses(1)[0]); ok {
		t.Errorf("its heir is %v", h)
	}
	if m, ok := g.Other(netip.MustParseAddr("2001:db8::bad")); ok {
		t.Errorf("a stranger is %v", m)
	}
	if _, ok := g.Other(members(1)[0].At); ok {
		t.Error("it is another one itself")
	}
}

// Endpoints are spread over the pool, and each has one home.
func TestHome(t *testing.T) {
	g := New("g0", members(3), addresses(8), true, 0)
	n := map[netip.Addr]int{}
	for i := range 8000 {
		e := netip.MustParseAddr(fmt.Sprintf("2001:db8:e::%x", i))
		n[g.Home(e)]++
	}
	for a, k := range n {
		if k < 800 || k > 1200 || len(n) != 8 {
			t.Errorf("%s has %d of 8000 endpoints (%v)", a, k, n)
		}
	}
}
