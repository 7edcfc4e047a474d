package allocation

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/agent/journal"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/ipam"
)

// unique fails the test when an address comes twice.
type unique map[netip.Addr]bool

func (u unique) add(t testing.TB, a Allocation) {
	t.Helper()
	if u[a.Addr] {
		t.Fatalf("%s was given out twice", a.Addr)
	}
	u[a.Addr] = true
}

// burst allocates until the clock has to move, as far ahead as it may run, then a little more.
func burst(t testing.TB, b *Book, u unique, from int) {
	for n := range 500 {
		u.add(t, allocate(t, b, request(from+n)))
	}
}

func TestJournalDeletedAndRestartedAtOnce(t *testing.T) {
	for _, found := range []bool{false, true} {
		clock, u := &fakeClock{now: day0}, unique{}
		for life := range 20 {
			o := options(t, disk(), clock) // an empty folder
			if found {
				for a := range u { // a few of those before still live
					if o.Found = append(o.Found, a); len(o.Found) == 10 {
						break
					}
				}
			}
			burst(t, open(t, o), u, life*1000)
		}
		if took := clock.now - day0; took > 60 {
			t.Errorf("20 starts without history took %d s of the host's time", took)
		}
	}
}

// A virtual machine is restored to an older disk and an older clock while the addresses given out since are in use.
func TestOldJournalAndOldClockAfterARestore(t *testing.T) {
	clock, u := &fakeClock{now: day0}, unique{}
	d := disk()
	o := options(t, d, clock)
	b := open(t, o)
	burst(t, b, u, 0)
	snapshot := d.Reboot()
	clock.set(day0 + ipam.Hour)
	burst(t, b, u, 1000)
	witness := b.Mark()

	o.FS = snapshot
	o.IDs.Boot[0]++
	for _, test := range []struct {
		name  string
		now   ipam.Seconds
		facts Facts
		why   ipam.Why // empty: goes on
	}{
		{"old clock, nobody vouches", day0 + 5, Facts{}, ipam.ClockUnproven},
		{"old clock, witness", day0 + 5, Facts{Witness: witness}, ipam.ClockBehind},
		{"old clock, witness, wrongly synchronised", day0 + 5, Facts{Witness: witness, Synchronised: true}, ipam.ClockBehind},
		{"right clock, nobody vouches", day0 + 2*ipam.Hour, Facts{}, ipam.ClockUnproven},
		{"right clock, synchronised", day0 + 2*ipam.Hour, Facts{Synchronised: true}, ""},
		{"right clock, trusted", day0 + 2*ipam.Hour, Facts{Trusted: true}, ""},
		{"right clock, witness", day0 + 2*ipam.Hour, Facts{Witness: witness}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := o
			o.FS = snapshot.Reboot()
			clock.set(test.now)
			o.Facts = func() Facts { return test.facts }
			b := open(t, o)
			living := b.Len()
			a, err := b.Allocate(t.Context(), request(5000))
			var refused *ipam.ClockError
			switch {
			case test.why != "" && (!errors.As(err, &refused) || refused.Why != test.why):
				t.Errorf("got %+v, %v; want %q", a, err, test.why)
			case test.why == "" && err != nil:
				t.Error(err)
			case test.why == "" && u[a.Addr]:
				t.Errorf("%s was given out before the restore", a.Addr)
			}
			if living != 500 {
				t.Errorf("%d endpoints live after the restore, want the 500 of the old journal", living)
			}
		})
	}
}

// The folder was put back to an older copy within one boot, so the ids say nothing; the kernel does.
func TestAddressesInTheKernelAreAboveAnOldJournal(t *testing.T) {
	clock, u := &fakeClock{now: day0}, unique{}
	d := disk()
	o := options(t, d, clock)
	b := open(t, o)
	u.add(t, allocate(t, b, request(1)))
	o.FS = d.Reboot()
	last := allocate(t, b, request(2))
	u.add(t, last)
	o.Found = []netip.Addr{netip.MustParseAddr("2001:db8:a000:c12:1::1"), netip.MustParseAddr("2001:db8::1"), last.Addr}
	u.add(t, allocate(t, open(t, o), request(3)))
}

func TestWrongClocksAreRefusedAndLeaveNoTrace(t *testing.T) {
	tests := []struct {
		name    string
		clock   ipam.Seconds
		witness bool
		why     ipam.Why
	}{
		{"1970", ipam.FromUnix(0), false, ipam.ClockPreBuild},
		{"an hour back", day0 - ipam.Hour, false, ipam.ClockBehind},
		{"an hour back of the witness", day0 - ipam.Hour, true, ipam.ClockBehind},
		{"ten years ahead of the mark", day0 + 3650*ipam.Day, false, ipam.ClockFarAhead},
		{"ten years ahead of the witness", day0 + 3650*ipam.Day, true, ipam.ClockFarAhead},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			clock := &fakeClock{now: day0}
			d := disk()
			o := options(t, d, clock)
			o.Built = day0 - ipam.Day
			b := open(t, o)
			u := unique{}
			u.add(t, allocate(t, b, request(1)))
			u.add(t, allocate(t, b, request(2)))
			mark := b.Mark()
			right := clock.Now()
			if test.witness {
				o.FS = disk() // the journal is gone, the witness is not
				o.Facts = func() Facts { return Facts{Witness: mark} }
			}
			refuse := func(what string) {
				t.Helper()
				clock.set(test.clock)
				_, err := b.Allocate(t.Context(), request(3))
				var refused *ipam.ClockError
				if !errors.As(err, &refused) {
					t.Fatalf("%s: got %v, want a refusal", what, err)
				}
				if what == "started" && refused.Why != test.why {
					t.Errorf("got %q, want %q", refused.Why, test.why)
				}
				if err := b.noteTime(); err != nil {
					t.Error(err)
				}
				if got := max(b.Mark(), o.Facts().Witness); got != mark {
					t.Errorf("%s: the mark moved from %d to %d", what, mark, got)
				}
			}
			if !test.witness {
				refuse("running")
				retire(t, b, 2) // whatever the clock says, an endpoint may go
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = open(t, o)
			refuse("started")
			clock.set(right + 1)
			u.add(t, allocate(t, b, request(4)))
		})
	}
}

func TestThreeLivesOfOneHostPrefix(t *testing.T) {
	clock, u := &fakeClock{now: day0}, unique{}
	for life := range byte(3) { // three hosts, one after the other, that know nothing of each other
		o := options(t, disk(), clock)
		o.IDs = IDs{Machine: [16]byte{life}, Boot: [16]byte{life}}
		burst(t, open(t, o), u, 0)
		if life == 1 {
			clock.set(clock.Now() + 7*ipam.Day)
		}
	}
}

func TestAcceptClock(t *testing.T) {
	clock := &fakeClock{now: day0}
	o := options(t, disk(), clock)
	b := open(t, o)
	u := unique{}
	u.add(t, allocate(t, b, request(1)))
	o.IDs.Boot[0]++
	o.Facts = nil
	clock.set(day0 + 3650*ipam.Day)
	b = reopen(t, b, o)
	if _, err := b.Allocate(t.Context(), request(2)); err == nil {
		t.Fatal("ten years passed and nobody minds")
	}
	if s := b.State(); s.Refused == "" || s.Living != 1 {
		t.Errorf("state: %+v, want why nothing is given out", s)
	}
	if err := b.AcceptClock(); err != nil {
		t.Fatal(err)
	}
	u.add(t, allocate(t, b, request(2)))
	b = reopen(t, b, o) // the word holds
	u.add(t, allocate(t, b, request(3)))
	clock.set(day0)
	b = reopen(t, b, o)
	var refused *ipam.ClockError
	if err := b.AcceptClock(); !errors.As(err, &refused) || refused.Why != ipam.ClockBehind {
		t.Errorf("a clock behind the mark was accepted: %v", err)
	}
}

func TestIdleHostStaysNearItsMark(t *testing.T) {
	clock := &fakeClock{now: day0}
	o := options(t, disk(), clock)
	b := open(t, o)
	allocate(t, b, request(1))
	for range 500 { // no allocation for 500 days
		clock.set(clock.Now() + ipam.Day)
		if err := b.noteTime(); err != nil {
			t.Fatal(err)
		}
	}
	allocate(t, b, request(2))
	b = reopen(t, b, o)
	allocate(t, b, request(3))
}

func TestNarrowPrefixKeepsItsRestAcrossRestarts(t *testing.T) {
	for _, prefix := range []string{"2001:db8:1::/120", "2001:db8:1:2:3::/80"} {
		clock := &fakeClock{now: day0}
		o := options(t, disk(), clock)
		o.Layout = layoutOf(t, prefix)
		b := open(t, o)
		recent := map[netip.Addr]ipam.Seconds{}
		for n := range 600 {
			a := allocate(t, b, request(n))
			if since, ok := recent[a.Addr]; ok && clock.Now()-since < ipam.MinRest {
				t.Fatalf("%s rested %d s", a.Addr, clock.Now()-since)
			}
			retire(t, b, n)
			recent[a.Addr] = clock.Now()
			clock.set(clock.Now() + 10)
			switch n % 50 {
			case 7:
				b = reopen(t, b, o)
			case 23: // another prefix for a while
				other := o
				other.Layout = layoutOf(t, "2001:db8:2::/120")
				b = reopen(t, b, other)
				allocate(t, b, request(10_000+n))
				retire(t, b, 10_000+n)
				b = reopen(t, b, o)
			case 41: // another prefix, and back before anything was given out
				other := o
				other.Layout = wide(t)
				b = reopen(t, reopen(t, b, other), o)
			}
		}
	}
}

func TestPressureIsTold(t *testing.T) {
	clock := &fakeClock{now: day0}
	o := options(t, disk(), clock)
	o.Layout = layoutOf(t, "2001:db8:1::/126")
	var events []Event
	o.Event = func(e Event) { events = append(events, e) }
	b := open(t, o)
	for n := range 2 {
		allocate(t, b, request(n))
		retire(t, b, n)
	}
	var full *ipam.ExhaustedError
	if _, err := b.Allocate(t.Context(), request(4)); !errors.As(err, &full) || full.Until <= clock.Now() {
		t.Fatalf("got %v, want to be told until when", err)
	}
	clock.set(full.Until)
	a := allocate(t, b, request(4))
	if len(events) != 1 || events[0] != (Event{ipam.PressureReuse, a.Addr.String()}) {
		t.Errorf("events: %+v", events)
	}
}

func TestDiskFullAndBack(t *testing.T) {
	d := disk()
	clock := &fakeClock{now: day0}
	o := options(t, d, clock)
	b := open(t, o)
	u := unique{}
	u.add(t, allocate(t, b, request(1)))
	fullAndBack(t, b, o, u, func() { d.SetSpace(700) }, func() { d.SetSpace(-1) })
}

// On a real file system of 64 KiB, in a mount namespace of its own that ends with its thread.
func TestDiskFullAndBackOnTmpfs(t *testing.T) {
	netnstest.Root(t)
	path := t.TempDir()
	finished := make(chan struct{})
	go func() { // a journal has no goroutines, so all its system calls are made on this thread
		defer close(finished)
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", path, "tmpfs", 0, "size=64k")); err != nil {
			t.Error(err)
			return
		}
		clock := &fakeClock{now: day0}
		o := options(t, nil, clock)
		o.FS = journal.Dir(path)
		b, err := Open(o)
		if err != nil {
			t.Error(err)
			return
		}
		u := unique{}
		filler := path + "/filler"
		fill := func() {
			fd, err := unix.Open(filler, unix.O_CREAT|unix.O_WRONLY, 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			for _, size := range []int{4096, 1} {
				for err = nil; err == nil; {
					_, err = unix.Write(fd, make([]byte, size))
				}
			}
			if !errors.Is(err, unix.ENOSPC) {
				t.Error(err)
			}
			unix.Close(fd)
		}
		fullAndBack(t, b, o, u, fill, func() {
			if err := unix.Unlink(filler); err != nil {
				t.Error(err)
			}
		})
	}()
	<-finished
}

// fullAndBack fills the disk under a book, wants clear errors and no loss, makes room, and wants service.
func fullAndBack(t *testing.T, b *Book, o Options, u unique, fill, empty func()) {
	answered := map[int]Allocation{}
	failed := 0
	ask := func(n int) {
		a, err := b.Allocate(t.Context(), request(n))
		var full *journal.FullError
		switch {
		case err == nil:
			u[a.Addr] = true
			answered[n] = a
		case errors.As(err, &full):
			failed++
		default:
			t.Errorf("a full disk is told as %v", err)
		}
	}
	ask(10)
	fill()
	for n := 100; n < 200; n++ {
		ask(n)
	}
	if failed == 0 {
		t.Errorf("the disk was never full")
	}
	empty()
	failed = 0
	for n := 150; n < 250; n++ {
		ask(n)
	}
	if failed != 0 {
		t.Errorf("%d allocations failed after there was room again", failed)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	b, err := Open(o)
	if err != nil {
		t.Error(err)
		return
	}
	defer b.Close()
	twice := unique{}
	for n, want := range answered {
		if got, ok := b.Get(key(n)); !ok || got != want || twice[got.Addr] {
			t.Errorf("endpoint %d: answered %+v, the journal says %+v (%v)", n, want, got, ok)
		}
		twice[want.Addr] = true
		if w, err := b.Whereis(t.Context(), want.Addr, 0); err != nil || w.Now == nil || w.Now.Key != want.Key {
			t.Errorf("whereis %s: %+v, %v", want.Addr, w, err)
		}
	}
}

func TestVerifyFindsARepeat(t *testing.T) {
	d := disk()
	o := options(t, d, &fakeClock{now: day0})
	b := open(t, o)
	allocate(t, b, request(1))
	allocate(t, b, request(2))
	retire(t, b, 1)
	check := func() (problems []error) {
		t.Helper()
		reports, err := Verify(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			if r.Problem != nil {
				problems = append(problems, r.Problem)
			}
		}
		return problems
	}
	if p := check(); p != nil {
		t.Errorf("a good journal: %v", p)
	}
	repeated := ipam.Record{Kind: ipam.RecordAllocate, Time: day0, Addr: netip.MustParseAddr("2001:db8::1"), Position: 5, Owner: ipam.Owner{}.Pack()}
	if err := b.journal.Enqueue(0, repeated.Append(nil), nil).Wait(); err != nil {
		t.Fatal(err)
	}
	var repeat *RepeatError
	if p := check(); len(p) != 1 || !errors.As(p[0], &repeat) {
		t.Errorf("a stamp below the mark: got %v", p)
	}
}
