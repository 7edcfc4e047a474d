package allocation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"

	"hexapod.dev/agent/journal/crashfs"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

// day0 is some second of 2026.
const day0 = ipam.Seconds(59_000_000)

// fakeClock stands still until it is told otherwise, or until somebody waits.
type fakeClock struct {
	mu    sync.Mutex
	now   ipam.Seconds
	waits int
}

func (c *fakeClock) Now() ipam.Seconds { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *fakeClock) WaitUntil(ctx context.Context, s ipam.Seconds) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits++
	c.now = max(c.now, s)
	return ctx.Err()
}

func (c *fakeClock) set(s ipam.Seconds) { c.mu.Lock(); defer c.mu.Unlock(); c.now = s }

func disk() *crashfs.Disk { return crashfs.New(rand.New(rand.NewPCG(1, 1))) }

func wide(t testing.TB) ipam.Layout { return layoutOf(t, "2001:db8:a000:c12::/64") }

func layoutOf(t testing.TB, prefix string) ipam.Layout {
	t.Helper()
	l, err := ipam.NewLayout(netip.MustParsePrefix(prefix), nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func key(n int) desired.EndpointKey {
	return desired.EndpointKey{Container: fmt.Sprintf("c%d", n), Interface: "eth0"}
}

func request(n int) Request {
	return Request{Owner: Owner{Key: key(n), Namespace: "shop", Name: fmt.Sprintf("cart-%d", n)}, Identity: 0x1a7}
}

// options of a book on a disk: a host whose clock the kernel calls synchronised.
func options(t testing.TB, d *crashfs.Disk, clock Clock) Options {
	return Options{
		Host: "r1h2", Layout: wide(t), FS: d, Clock: clock, IDs: IDs{Machine: [16]byte{1}, Boot: [16]byte{1}},
		Facts: func() Facts { return Facts{Synchronised: true} },
	}
}

func open(t testing.TB, o Options) *Book {
	t.Helper()
	b, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func reopen(t testing.TB, b *Book, o Options) *Book {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, o)
}

func allocate(t testing.TB, b *Book, r Request) Allocation {
	t.Helper()
	a, err := b.Allocate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func retire(t testing.TB, b *Book, n int) {
	t.Helper()
	if err := b.Retire(t.Context(), key(n)); err != nil {
		t.Fatal(err)
	}
}

func TestAllocateIsIdempotentAcrossARestart(t *testing.T) {
	o := options(t, disk(), &fakeClock{now: day0})
	b := open(t, o)
	first := allocate(t, b, request(1))
	if again := allocate(t, b, request(1)); again != first {
		t.Errorf("got %+v, then %+v", first, again)
	}
	b = reopen(t, b, o)
	if again := allocate(t, b, request(1)); again != first {
		t.Errorf("after a restart: got %+v, then %+v", first, again)
	}
	if got, ok := b.Get(key(1)); !ok || got != first {
		t.Errorf("Get: %+v, %v", got, ok)
	}
	retire(t, b, 1)
	retire(t, b, 1)
	if _, ok := b.Get(key(1)); ok {
		t.Error("a retired endpoint is still there")
	}
	if next := allocate(t, b, request(1)); next.Addr == first.Addr {
		t.Errorf("%s was given out twice", next.Addr)
	}
}

func TestManyAskAtOnceForOneEndpoint(t *testing.T) {
	b := open(t, options(t, disk(), &fakeClock{now: day0}))
	var group sync.WaitGroup
	got := make([]Allocation, 40)
	for i := range got {
		group.Go(func() {
			a, err := b.Allocate(t.Context(), request(i%4))
			if err != nil {
				t.Error(err)
			}
			got[i] = a
		})
	}
	group.Wait()
	for i := range got {
		if got[i] != got[i%4] {
			t.Errorf("endpoint %d: %s and %s", i%4, got[i].Addr, got[i%4].Addr)
		}
	}
	if n := b.Len(); n != 4 {
		t.Errorf("%d endpoints live, want 4", n)
	}
}

func TestFixedAddresses(t *testing.T) {
	o := options(t, disk(), &fakeClock{now: day0})
	b := open(t, o)
	fixed := netip.MustParseAddr("2001:db8:a000:ff::80")
	ask := func(n int, a netip.Addr) (Allocation, error) {
		r := request(n)
		r.Fixed = a
		return b.Allocate(t.Context(), r)
	}
	if a, err := ask(1, fixed); err != nil || a.Addr != fixed || !a.Fixed {
		t.Fatalf("got %+v, %v", a, err)
	}
	b = reopen(t, b, o)
	var taken *TakenError
	if _, err := ask(2, fixed); !errors.As(err, &taken) || taken.Owner != key(1) {
		t.Errorf("a second owner: got %v, want that %s has it", err, key(1))
	}
	var other *OtherError
	if _, err := ask(1, fixed.Next()); !errors.As(err, &other) || other.Has != fixed {
		t.Errorf("another address for the same endpoint: got %v", err)
	}
	if a, err := ask(3, netip.MustParseAddr("2001:db8:a000:c12:1a7::1")); err == nil {
		t.Errorf("%s lies in the host prefix and was given out as a fixed address", a.Addr)
	}
	for _, bad := range []string{"::ffff:192.0.2.1", "192.0.2.1", "fe80::1%eth0"} {
		if a, err := ask(3, netip.MustParseAddr(bad)); err == nil {
			t.Errorf("%s was given out as a fixed address", a.Addr)
		}
	}
	retire(t, b, 1)
	if a, err := ask(2, fixed); err != nil || a.Addr != fixed {
		t.Errorf("after its retirement: got %+v, %v", a, err)
	}
}

func TestWhereis(t *testing.T) {
	clock := &fakeClock{now: day0}
	o := options(t, disk(), clock)
	b := open(t, o)
	a := allocate(t, b, request(1))
	clock.set(day0 + 3*ipam.Day)
	other := allocate(t, b, request(2)) // a new segment
	retire(t, b, 1)
	clock.set(day0 + 9*ipam.Day)
	allocate(t, b, request(3))
	b = reopen(t, b, o)
	tests := []struct {
		name      string
		addr      netip.Addr
		at        ipam.Seconds
		then, now string
	}{
		{"before its birth", a.Addr, a.Given - 1, "", ""},
		{"at its birth", a.Addr, a.Given, "cart-1", ""},
		{"in its life", a.Addr, day0 + ipam.Day, "cart-1", ""},
		{"after its life", a.Addr, day0 + 4*ipam.Day, "", ""},
		{"living", other.Addr, 0, "cart-2", "cart-2"},
		{"never given out", netip.MustParseAddr("2001:db8:a000:c12:1a7:38b:8d98:3"), 0, "", ""},
		{"of another prefix", netip.MustParseAddr("2001:db8::5"), 0, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, err := b.Whereis(t.Context(), test.addr, test.at)
			if err != nil {
				t.Fatal(err)
			}
			name := func(l *Life) string {
				if l == nil {
					return ""
				}
				if l.Host != "r1h2" || l.Prefix != o.Layout.Prefix() {
					t.Errorf("host %q, prefix %s", l.Host, l.Prefix)
				}
				return l.Name
			}
			if then, now := name(w.Then), name(w.Now); then != test.then || now != test.now {
				t.Errorf("then %q, now %q; want %q, %q", then, now, test.then, test.now)
			}
		})
	}
}

func TestWhereisKnowsEachLifeOfANarrowAddress(t *testing.T) {
	clock := &fakeClock{now: day0}
	o := options(t, disk(), clock)
	o.Layout = layoutOf(t, "2001:db8:1::/126")
	b := open(t, o)
	var first netip.Addr
	for life := range 3 {
		for n := range 2 { // all there are
			a := allocate(t, b, request(10*life+n))
			if life == 0 && n == 0 {
				first = a.Addr
			}
		}
		clock.set(clock.Now() + ipam.Day)
		for n := range 2 {
			retire(t, b, 10*life+n)
		}
		clock.set(clock.Now() + ipam.Day)
		b = reopen(t, b, o)
	}
	for life := range 3 {
		w, err := b.Whereis(t.Context(), first, day0+ipam.Seconds(2*life)*ipam.Day+ipam.Hour)
		if want := fmt.Sprintf("cart-%d", 10*life); err != nil || w.Then == nil || w.Then.Name != want || len(w.Life) != 3 {
			t.Errorf("life %d: got %+v, %v; want %s of 3 lives", life, w.Then, err, want)
		}
	}
}

func TestBurstWaits(t *testing.T) {
	clock := &fakeClock{now: day0}
	b := open(t, options(t, disk(), clock))
	var mu sync.Mutex
	seen := make(map[netip.Addr]bool, 200_000)
	var group sync.WaitGroup
	for worker := range 100 {
		group.Go(func() {
			for i := range 2000 {
				a, err := b.Allocate(t.Context(), request(worker*2000+i))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[a.Addr] {
					t.Errorf("%s twice", a.Addr)
				}
				seen[a.Addr] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if clock.waits == 0 || len(seen) != 200_000 {
		t.Errorf("%d addresses, %d waits; want 200,000 and at least one", len(seen), clock.waits)
	}
}

func TestBookWithoutAPrefixOnlyRetires(t *testing.T) {
	clock := &fakeClock{now: day0}
	o := options(t, disk(), clock)
	b := open(t, o)
	a := allocate(t, b, request(1))
	bare := o
	bare.Layout = ipam.Layout{}
	b = reopen(t, b, bare)
	if _, err := b.Allocate(t.Context(), request(2)); err == nil {
		t.Error("an address was given out without a host prefix")
	}
	retire(t, b, 1)
	b = reopen(t, b, o)
	if next := allocate(t, b, request(1)); next.Addr == a.Addr {
		t.Errorf("%s was given out twice", a.Addr)
	}
	o.Host = string(make([]byte, maxHost+1))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil {
		t.Error("a host name that no record can hold was accepted")
	}
}

// The command line reads what the agent's API prints.
func TestWhereaboutsComeBackFromJSON(t *testing.T) {
	b := open(t, options(t, disk(), &fakeClock{now: day0}))
	a := allocate(t, b, request(1))
	want, err := b.Whereis(t.Context(), a.Addr, 0)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Whereabouts
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.At != want.At || got.Then == nil || *got.Then != *want.Then || got.Now == nil || *got.Now != *want.Now {
		t.Errorf("%s\ngot  %+v\nwant %+v", text, got, want)
	}
}
