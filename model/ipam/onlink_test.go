package ipam

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

func onLink(t testing.TB, prefix string, group uint32) Layout {
	t.Helper()
	l, err := NewOnLink(netip.MustParsePrefix(prefix), group)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestOnLinkWritesTwinBornSequenceGroup(t *testing.T) {
	l := onLink(t, "2001:db8:1:2::/64", 0x123456)
	for want, f := range map[string]Fields{
		"2001:db8:1:2:38b:8d98:312:3456":  {Born: 0x038b8d98, Sequence: 3},
		"2001:db8:1:2:838b:8d98:312:3456": {Born: 0x038b8d98, Sequence: 3, Twin: true},
		"2001:db8:1:2:0:0:ff12:3456":      {Sequence: 255},
		"2001:db8:1:2:7fff:ffff:12:3456":  {Born: maxBorn},
	} {
		got, err := l.Encode(f)
		if err != nil || got != netip.MustParseAddr(want) {
			t.Errorf("Encode(%+v): got %s, %v; want %s", f, got, err, want)
			continue
		}
		if back, err := l.Decode(got); err != nil || back != f {
			t.Errorf("Decode(%s): got %+v, %v; want %+v", got, back, err, f)
		}
		if twin, ok := l.Twin(got); !f.Twin && (!ok || twin == got) {
			t.Errorf("twin of %s: %s, %v", got, twin, ok)
		}
	}
	if l.IdentityBearing() || !l.Clocked() || l.Kind().String() != "on-link" {
		t.Errorf("kind %s, identity-bearing %v, clocked %v", l.Kind(), l.IdentityBearing(), l.Clocked())
	}
}

func TestOnLinkRefuses(t *testing.T) {
	for _, c := range []struct {
		prefix string
		group  uint32
	}{{"2001:db8::/63", 1}, {"2001:db8::/80", 1}, {"192.0.2.0/24", 1}, {"2001:db8::/64", 1 << 24}} {
		if _, err := NewOnLink(netip.MustParsePrefix(c.prefix), c.group); err == nil {
			t.Errorf("NewOnLink(%s, %x): no error", c.prefix, c.group)
		}
	}
	l := onLink(t, "2001:db8::/64", 0xffff80)
	for _, f := range []Fields{
		{Born: 1, Sequence: 256},
		{Born: maxBorn + 1}, {Born: -1},
		{Born: 0x100ff, Sequence: 0xfe},                // RFC 4291 2.5.1: as made of a MAC
		{Born: 0x7dffffff, Sequence: 0xff, Twin: true}, // RFC 2526 2
	} {
		if a, err := l.Encode(f); err == nil {
			t.Errorf("Encode(%+v): got %s, want an error", f, a)
		}
	}
	for _, addr := range []string{"2001:db8:0:1::ff:ff80", "2001:db8::1", "2001:db8::ff:ff81"} {
		if f, err := l.Decode(netip.MustParseAddr(addr)); err == nil {
			t.Errorf("Decode(%s): got %+v, want an error", addr, f)
		}
	}
}

// A host without history gives out at most 256 addresses a second, waits when a burst wants more, repeats none, and costs one
// solicited-node group.
func TestOnLinkBurstRepeatsNothing(t *testing.T) {
	l := onLink(t, "2001:db8:1:2::/64", GroupOf("h1"))
	begin := Stamp(0x38b8dff)<<16 - 1 // a second in which one number looks like made of a MAC
	clock, a := begin.Born()+1, allocator(t, l, begin)
	seen := map[netip.Addr]bool{}
	first := clock
	for len(seen) < 3000 {
		g, err := a.Allocate(clock, 0x100)
		if wait := (*WaitError)(nil); errors.As(err, &wait) {
			clock = wait.Until
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		b := g.Addr.As16()
		if seen[g.Addr] || binary.BigEndian.Uint32(b[12:])&0xffffff != GroupOf("h1") {
			t.Fatalf("%s: twice, or in another group than %06x", g.Addr, GroupOf("h1"))
		}
		if b[11] == 0xff && b[12] == 0xfe {
			t.Fatalf("%s belongs to a node that numbers itself", g.Addr)
		}
		if f, err := l.Decode(g.Addr); err != nil || StampAt(f.Born)|Stamp(f.Sequence) != Stamp(g.Position) {
			t.Fatalf("%s: %+v at position %x, %v", g.Addr, f, g.Position, err)
		}
		seen[g.Addr] = true
	}
	if took := clock - first; took < 3000/256-RunAhead || took > 3000/256+1 {
		t.Errorf("3000 addresses took %d seconds of the host's clock", took)
	}
	if _, err := a.Allocate(maxBorn-RunAhead-10, 0); err == nil {
		t.Error("a clock decades ahead is believed")
	}
}

// Never means until the clock runs out, in the year 2093, and then it ends.
func TestOnLinkEndsWithItsClock(t *testing.T) {
	a := allocator(t, onLink(t, "2001:db8::/64", 1), StampAt(maxBorn)|254)
	now := Seconds(maxBorn - RunAhead)
	if _, err := a.Allocate(now, 0); err != nil {
		t.Fatalf("the last address: %v", err)
	}
	var out *ClockError
	if g, err := a.Allocate(now, 0); !errors.As(err, &out) || out.Why != ClockRunOut {
		t.Errorf("after the last address: %s, %v", g.Addr, err)
	}
}

// Hosts of one link take their addresses out of one prefix at the same second, and have none in common.
func TestOnLinkHostsShareAPrefix(t *testing.T) {
	one, two := onLink(t, "2001:db8::/64", GroupOf("h1")), onLink(t, "2001:db8::/64", GroupOf("h2"))
	a, b := allocator(t, one, StampAt(now)), allocator(t, two, StampAt(now))
	for range 200 {
		x, errX := a.Allocate(now, 0x100)
		y, errY := b.Allocate(now, 0x100)
		if errX != nil || errY != nil || x.Position != y.Position || x.Addr == y.Addr {
			t.Fatalf("%s, %v and %s, %v", x.Addr, errX, y.Addr, errY)
		}
		if _, err := one.Decode(y.Addr); err == nil {
			t.Fatalf("%s is read as an address of the other host", y.Addr)
		}
	}
}

// Names as fleets have them: few pairs, and only by chance, have the same group.
func TestGroupsOfNames(t *testing.T) {
	seen := map[uint32]string{}
	twice := 0
	for i := range 1000 {
		name := "worker-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		g := GroupOf(name)
		if g >= 1<<24 {
			t.Fatalf("group %x of %s", g, name)
		}
		if seen[g] != "" {
			twice++
		}
		seen[g] = name
	}
	if twice > 1 { // chance says 0.03
		t.Errorf("%d of 1000 names share a group", twice)
	}
}

// What a layout takes for its own it writes again, bit by bit; what it writes it reads.
func FuzzLayout(f *testing.F) {
	f.Add(uint8(0), uint64(0x01a7_038b_8d98_0003))
	f.Add(uint8(1), uint64(0x0000_0000_0000_0001))
	f.Add(uint8(2), uint64(0x038b_8d98_0312_3456))
	f.Add(uint8(2), uint64(0x0000_00ff_fe12_3456))
	f.Add(uint8(3), uint64(0x0003_01a7_8000_0005))
	f.Add(uint8(4), uint64(0x0003_0000_0000_00fe))
	layouts := []Layout{
		layout(f, "2001:db8:a000:c12::/64", nil), layout(f, "2001:db8:a000:c12::/64", seal(f)), onLink(f, "2001:db8:1:2::/64", 0x123456),
		layout(f, "2001:db8:1:2:3::/80", nil), layout(f, "2001:db8:1:2:3::/112", nil),
	}
	f.Fuzz(func(t *testing.T, which uint8, host uint64) {
		l := layouts[int(which)%len(layouts)]
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], l.high)
		binary.BigEndian.PutUint64(b[8:], host)
		a := netip.AddrFrom16(b)
		fields, err := l.Decode(a)
		if err != nil {
			return
		}
		if !l.IdentityBearing() && fields.Identity != 0 || l.Clocked() && fields.Counter != 0 {
			t.Errorf("%s says %+v in a layout that is %s", a, fields, l.Kind())
		}
		if again, err := l.Encode(fields); err == nil && again != a || err != nil && !errors.Is(err, errReserved) {
			t.Errorf("%s says %+v, which is written as %s, %v", a, fields, again, err)
		}
	})
}
