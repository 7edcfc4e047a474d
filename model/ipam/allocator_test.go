package ipam

import (
	"errors"
	"net/netip"
	"testing"
)

const now = Seconds(59_000_000) // some time in 2026

func allocator(t testing.TB, l Layout, begin Stamp) *Allocator {
	t.Helper()
	a, err := NewAllocator(l, begin, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBurstWaitsAndRepeatsNothing(t *testing.T) {
	for _, s := range []*Seal{nil, seal(t)} {
		l := layout(t, "2001:db8:a000:c12::/64", s)
		a, clock, waits := allocator(t, l, StampAt(now-5)), now, 0
		seen := make(map[netip.Addr]bool, 200_000)
		for len(seen) < 200_000 {
			g, err := a.Allocate(clock, 0x100)
			var wait *WaitError
			if errors.As(err, &wait) {
				if wait.Until <= clock || wait.Until > clock+RunAhead {
					t.Fatalf("at %s: told to wait until %s", clock, wait.Until)
				}
				clock, waits = wait.Until, waits+1
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if f, err := l.Decode(g.Addr); err != nil || f.Born > clock+RunAhead {
				t.Fatalf("%s: born %s at %s (%v)", g.Addr, f.Born, clock, err)
			}
			if seen[g.Addr] {
				t.Fatalf("%s twice", g.Addr)
			}
			seen[g.Addr] = true
		}
		if waits != 1 { // 3 x 65,536 fit the first second and the run-ahead
			t.Errorf("waited %d times, want 1", waits)
		}
	}
}

func TestClockThatStepsWhileRunning(t *testing.T) {
	a := allocator(t, layout(t, "2001:db8::/64", nil), StampAt(now))
	mark := a.Mark()
	for _, test := range []struct {
		clock Seconds
		why   Why
	}{
		{now - Hour, ClockBehind},
		{FromUnix(0), ClockBehind},
		{now + 10*365*Day, ClockFarAhead},
	} {
		_, err := a.Allocate(test.clock, 0x100)
		var refused *ClockError
		if !errors.As(err, &refused) || refused.Why != test.why {
			t.Errorf("clock %s: got %v, want %q", test.clock, err, test.why)
		}
	}
	if a.Mark() != mark {
		t.Errorf("the mark moved from %d to %d", mark, a.Mark())
	}
	if _, err := a.Allocate(now-1, 0x100); err != nil {
		t.Errorf("one second back is within the run-ahead: %v", err)
	}
}

func TestAllocateSkipsReservedStamps(t *testing.T) {
	l := layout(t, "2001:db8::/64", nil)
	begin := Stamp(0x5efffdff)<<16 | 0xffff // with identity 0x0200 the next 2^24 stamps are IANA's Ethernet block
	g, err := allocator(t, l, begin).Allocate(begin.Born()+300, 0x200)
	if err != nil {
		t.Fatal(err)
	}
	if iid := netip.MustParseAddr("2001:db8::200:5eff:ff00:0"); g.Addr.Less(iid) {
		t.Errorf("got %s, want nothing before %s", g.Addr, iid)
	}
}

func TestAllocateRefusesTheHostsIdentities(t *testing.T) {
	for _, prefix := range []string{"2001:db8::/64", "2001:db8::/80"} {
		l := layout(t, prefix, nil)
		a := allocator(t, layout(t, "2001:db8::/64", nil), StampAt(now))
		if l.Kind() == Mid {
			var err error
			if a, err = NewCounter(l, CounterStart{}); err != nil {
				t.Fatal(err)
			}
		}
		for identity, want := range map[uint16]bool{0: true, 1: false, 2: false, 255: false, 256: true, 65535: true} {
			_, err := a.Allocate(now, identity)
			var unfit *IdentityError
			if got := !errors.As(err, &unfit); got != want {
				t.Errorf("%s, identity %d: got %v", prefix, identity, err)
			}
		}
	}
}

func TestStart(t *testing.T) {
	mark := StampAt(now) + 77
	exact := Start{Now: now + 5, Mark: mark}
	restored := Start{Now: now + 5, Mark: mark, Changed: []string{"boot id"}}
	with := func(s Start, change func(*Start)) Start { change(&s); return s }
	tests := []struct {
		name  string
		start Start
		begin Stamp // 0: refused
		why   Why
	}{
		{"mark of this boot", exact, mark, ""},
		{"witness above the mark", with(exact, func(s *Start) { s.Witness = mark + 9 }), mark + 9, ""},
		{"kernel above the mark", with(exact, func(s *Start) { s.Kernel = mark + 10 }), mark + 10, ""},
		{"no history", Start{Now: now}, StampAt(now+3) - 1, ""},
		{"no journal, addresses in the kernel", Start{Now: now, Kernel: StampAt(now - 9)}, StampAt(now+3) - 1, ""},
		{"no journal, witness", Start{Now: now, Witness: StampAt(now+2) + 1}, StampAt(now+3) - 1, ""},
		{"run-ahead at the restart", with(exact, func(s *Start) { s.Now = now - 2 }), mark, ""},

		{"clock at 1970", with(exact, func(s *Start) { s.Now = FromUnix(0) }), 0, ClockPreBuild},
		{"before the build", with(exact, func(s *Start) { s.Built = now + 6 }), 0, ClockPreBuild},
		{"back one hour", with(exact, func(s *Start) { s.Now = now - Hour }), 0, ClockBehind},
		{"behind the witness", with(exact, func(s *Start) { s.Witness = StampAt(now + Hour) }), 0, ClockBehind},
		{"behind the kernel", Start{Now: now, Kernel: StampAt(now + Hour)}, 0, ClockBehind},
		{"ten years ahead of the mark", with(exact, func(s *Start) { s.Now = now + 3650*Day }), 0, ClockFarAhead},
		{"ten years ahead of the witness", Start{Now: now + 3650*Day, Witness: mark}, 0, ClockFarAhead},
		{"400 days ahead", with(exact, func(s *Start) { s.Now = now + 400*Day }), mark, ""},
		{"400 days and a second ahead", with(exact, func(s *Start) { s.Now = now + 400*Day + 1 }), 0, ClockFarAhead},
		{"ten years ahead, accepted", with(exact, func(s *Start) { s.Now, s.Accepted = now+3650*Day, true }), mark, ""},
		{"back one hour, accepted all the same", with(exact, func(s *Start) { s.Now, s.Accepted = now-Hour, true }), 0, ClockBehind},
		{"after 2093", Start{Now: maxBorn}, 0, ClockRunOut},

		{"restored", restored, 0, ClockUnproven},
		{"restored, synchronised", with(restored, func(s *Start) { s.Synchronised = true }), StampAt(now+8) - 1, ""},
		{"restored, trusted", with(restored, func(s *Start) { s.Trusted = true }), StampAt(now+8) - 1, ""},
		{"restored, witness", with(restored, func(s *Start) { s.Witness = mark + 5 }), StampAt(now+8) - 1, ""},
		{"restored, accepted", with(restored, func(s *Start) { s.Accepted = true }), StampAt(now+8) - 1, ""},
		{"restored, trusted, clock as old as the journal", with(restored, func(s *Start) { s.Now, s.Trusted, s.Witness = now-9, true, mark }), 0, ClockBehind},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.start.Begin()
			var refused *ClockError
			switch {
			case test.begin == 0 && (!errors.As(err, &refused) || refused.Why != test.why):
				t.Errorf("got %d, %v; want %q", got, err, test.why)
			case test.begin != 0 && (err != nil || got != test.begin):
				t.Errorf("got %d, %v; want %d", got, err, test.begin)
			}
		})
	}
}

func TestNarrowReusesOldestFirst(t *testing.T) {
	l := layout(t, "2001:db8::/120", nil) // 254 addresses: not the prefix itself, not the router
	a, err := NewCounter(l, CounterStart{})
	if err != nil {
		t.Fatal(err)
	}
	given := map[netip.Addr]Seconds{}
	var order []netip.Addr
	for {
		g, err := a.Allocate(now, 0)
		if err != nil {
			break
		}
		if _, ok := given[g.Addr]; ok || g.Pressed {
			t.Fatalf("%+v: reused while fresh ones are left", g)
		}
		given[g.Addr] = 0
		order = append(order, g.Addr)
	}
	if len(order) != 254 {
		t.Fatalf("a /120 gave %d addresses, want 254", len(order))
	}
	expect := func(at Seconds, want netip.Addr, pressed bool) {
		t.Helper()
		if g, err := a.Allocate(at, 0); err != nil || g.Addr != want || g.Pressed != pressed {
			t.Errorf("at +%d: got %+v, %v; want %s, pressed %v", at-now, g, err, want, pressed)
		}
	}
	refuse := func(at Seconds, why Why, until Seconds) {
		t.Helper()
		_, err := a.Allocate(at, 0)
		var full *ExhaustedError
		if !errors.As(err, &full) || full.Why != why || full.Until != until {
			t.Errorf("at +%d: got %v, want %q until +%d", at-now, err, why, until-now)
		}
	}
	refuse(now, PrefixFull, 0)
	a.Retire(order[7], now)
	a.Retire(order[3], now+10)
	a.Retire(order[5], now+20)
	a.Retire(order[5], now+21) // a second time changes nothing
	refuse(now+MinRest-1, PrefixResting, now+MinRest)
	expect(now+MinRest, order[7], true)
	refuse(now+MinRest, PrefixResting, now+10+MinRest)
	expect(now+10+DefaultRest-1, order[3], true)
	expect(now+20+DefaultRest, order[5], false)
	refuse(now+30+DefaultRest, PrefixFull, 0)
}

func TestMinRestHoldsWhateverTheConfigurationSays(t *testing.T) {
	l := layout(t, "2001:db8::/126", nil)
	a, err := NewCounter(l, CounterStart{Rest: 1, MinRest: MinRest})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		g, err := a.Allocate(now, 0)
		if err != nil {
			t.Fatal(err)
		}
		a.Retire(g.Addr, now)
	}
	if g, err := a.Allocate(now+MinRest-1, 0); err == nil {
		t.Errorf("%s was reused below the least rest", g.Addr)
	}
}

func TestCounterStartsBehindWhatIsInUse(t *testing.T) {
	a, err := NewCounter(layout(t, "2001:db8::/125", nil), CounterStart{Begin: 6, Living: []uint64{7, 3}, Resting: []Resting{{2, now}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for range 3 {
		g, err := a.Allocate(now, 0)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, g.Position)
	}
	if want := [3]uint64{6, 4, 5}; [3]uint64(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMidCounterRunsAround(t *testing.T) {
	l := layout(t, "2001:db8::/80", nil)
	a, err := NewCounter(l, CounterStart{Begin: 1<<31 - 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2001:db8::100:7fff:ffff", "2001:db8::100:0:0"} {
		if g, err := a.Allocate(now, 0x100); err != nil || g.Addr != netip.MustParseAddr(want) {
			t.Errorf("got %v, %v; want %s", g.Addr, err, want)
		}
	}
}

// The mark is 10 million a second.
func BenchmarkAllocate(b *testing.B) {
	for name, s := range map[string]*Seal{"wide": nil, "sealed": seal(b)} {
		b.Run(name, func(b *testing.B) {
			a := allocator(b, layout(b, "2001:db8:a000:c12::/64", s), StampAt(now))
			clock := now
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Allocate(clock, 0x1a7); err != nil {
					clock++
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "addresses/s")
		})
	}
}
