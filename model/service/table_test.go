package service_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"hexapod.dev/model/service"
)

// backends returns n backends, sorted, that differ from those of another seed.
func backends(seed, n int) []netip.AddrPort {
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	out := make([]netip.AddrPort, n)
	for i := range out {
		a := netip.MustParseAddr("2001:db8::").As16()
		for j := 6; j < 16; j++ {
			a[j] = byte(r.Uint32())
		}
		out[i] = netip.AddrPortFrom(netip.AddrFrom16(a), uint16(1+r.IntN(65535)))
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out
}

// at returns the backend of every place.
func at(t service.Table) []netip.AddrPort {
	out := make([]netip.AddrPort, t.Class.Size())
	for i := range out {
		out[i], _, _ = t.Pick(uint32(i))
	}
	return out
}

// The table is the smallest with a hundred places for each backend.
func TestClassOf(t *testing.T) {
	for _, c := range []struct{ n, size int }{
		{0, 251}, {1, 251}, {2, 251}, {3, 1021}, {10, 1021}, {11, 4093}, {40, 4093}, {41, 16381}, {163, 16381}, {164, 65521},
		{655, 65521}, {656, 65521}, {service.MaxBackends, 65521},
	} {
		if have := service.ClassOf(c.n).Size(); have != c.size {
			t.Errorf("%d backends: %d places, want %d", c.n, have, c.size)
		}
	}
}

func TestSizesArePrime(t *testing.T) {
	for c := range service.Class(service.Classes) {
		for d := 2; d*d <= c.Size(); d++ {
			if c.Size()%d == 0 {
				t.Errorf("%d = %d x %d", c.Size(), d, c.Size()/d)
			}
		}
	}
}

// Every backend has its share within 1 in 40 where there are a hundred places for each.
func TestShares(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 10, 40, 163, 655} {
		b := backends(n, n)
		table := service.Next(nil, b)
		count := map[netip.AddrPort]int{}
		for _, p := range at(table) {
			count[p]++
		}
		fair := float64(table.Class.Size()) / float64(n)
		for _, one := range b {
			if got := float64(count[one]); got < fair*0.975-1 || got > fair*1.025+1 {
				t.Errorf("%d backends: %s has %d of %d places, fair is %.1f", n, one, count[one], table.Class.Size(), fair)
			}
		}
	}
}

// Two hosts with different pasts have the same places, once their tables have the same size.
func TestSameTableOnEveryHost(t *testing.T) {
	all := backends(1, 40)
	r := rand.New(rand.NewPCG(7, 7))
	first, second := service.Next(nil, all), service.Next(nil, backends(2, 40))
	for range 30 {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		some := slices.Clone(all[:1+r.IntN(40)])
		slices.SortFunc(some, netip.AddrPort.Compare)
		second = service.Next(&second, some)
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	second = service.Next(&second, all)
	if !slices.Equal(at(first), at(second)) {
		t.Error("places differ")
	}
}

// The places are part of what hosts of different versions agree on: another hash would cut connections during an upgrade.
func TestPlacesStayTheSame(t *testing.T) {
	table := service.Next(nil, []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:80"), netip.MustParseAddrPort("[2001:db8::2]:80")})
	have := ""
	for i := range 32 {
		b, _, _ := table.Pick(uint32(i))
		a := b.Addr().As16()
		have += fmt.Sprint(a[15])
	}
	if want := "11221222111122221112122211221122"; have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
}

// A backend that goes gives its places away; of the others' at most 3 in 100 move with it.
func TestDisruptionOfRemoval(t *testing.T) {
	for _, n := range []int{2, 3, 10, 40, 163} {
		b := backends(n, n)
		before := service.Next(nil, b)
		gone := n / 2
		after := service.Next(&before, slices.Delete(slices.Clone(b), gone, gone+1))
		moved, others := 0, 0
		was, is := at(before), at(after)
		for i := range was {
			if was[i] == b[gone] {
				continue
			}
			if others++; was[i] != is[i] {
				moved++
			}
		}
		if moved*100 > others*3 {
			t.Errorf("%d backends less one: %d of %d places of the others moved", n, moved, others)
		}
	}
}

// A backend that comes takes its share; beside it at most 3 in 100 places move.
func TestDisruptionOfAddition(t *testing.T) {
	for _, n := range []int{3, 9, 39, 162} {
		b := backends(n, n+1)
		few := slices.Delete(slices.Clone(b), n/2, n/2+1)
		before := service.Next(nil, few)
		after := service.Next(&before, b)
		if before.Class != after.Class {
			t.Fatalf("%d backends: the size changed, the test is about one size", n)
		}
		moved := 0
		was, is := at(before), at(after)
		for i := range was {
			if was[i] != is[i] && is[i] != b[n/2] {
				moved++
			}
		}
		if moved*100 > len(was)*3 {
			t.Errorf("%d backends and one more: %d of %d places moved to others", n, moved, len(was))
		}
	}
}

// The size never shrinks, and every backend keeps its slot for life.
func TestGrowsAndKeepsSlots(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	all := backends(5, 60)
	slot := map[netip.AddrPort]uint16{}
	var table service.Table
	for round := range 200 {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		now := slices.Clone(all[:r.IntN(len(all)+1)])
		slices.SortFunc(now, netip.AddrPort.Compare)
		next := service.Next(&table, now)
		if next.Class < table.Class || next.Class < service.ClassOf(len(now)) {
			t.Fatalf("round %d: class %d after %d, %d backends", round, next.Class, table.Class, len(now))
		}
		if !slices.Equal(next.Backends(), now) {
			t.Fatalf("round %d: the table has other backends", round)
		}
		is := map[netip.AddrPort]uint16{}
		for i, b := range next.Slots {
			if b.IsValid() {
				is[b] = uint16(i)
			}
		}
		for _, b := range now {
			if old, ok := slot[b]; ok && old != is[b] {
				t.Fatalf("round %d: %s moved from slot %d to %d", round, b, old, is[b])
			}
			if !next.Holds(b, is[b]) || next.Holds(b, is[b]+1) {
				t.Fatalf("round %d: Holds is wrong about %s", round, b)
			}
		}
		slot, table = is, next
	}
}

func TestNoBackends(t *testing.T) {
	full := service.Next(nil, backends(1, 3))
	for _, table := range []service.Table{{}, service.Next(nil, nil), service.Next(&full, nil)} {
		if b, _, ok := table.Pick(5); ok {
			t.Errorf("picked %s of none", b)
		}
		if table.Holds(netip.AddrPort{}, 0) {
			t.Error("holds the zero backend")
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for _, n := range []int{3, 10, 100, 650} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := backends(n, n)
			prev := service.Next(nil, list[1:])
			for b.Loop() {
				service.Next(&prev, list)
			}
		})
	}
}

// Mark: 10,000 services of 10 backends from cold within 3 s, the kernel's part included.
func BenchmarkCold10000(b *testing.B) {
	list := make([][]netip.AddrPort, 10_000)
	for i := range list {
		list[i] = backends(i, 10)
	}
	for b.Loop() {
		for _, one := range list {
			service.Next(nil, one)
		}
	}
}
