package controller

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/api/v1alpha1"
	edgeobjects "hexapod.dev/edge/objects"
	"hexapod.dev/model/identity"
)

// numbered returns n addresses, all with the same number.
func numbered(from, n int, id identity.Number) map[netip.Addr]identity.Number {
	out := map[netip.Addr]identity.Number{}
	for i := from; i < from+n; i++ {
		out[netip.MustParseAddr(fmt.Sprintf("2001:db8::%x:%x", i>>16, i&0xffff|0x1000))] = id
	}
	return out
}

// entriesOf reads slices back as an agent does.
func entriesOf(have []*v1alpha1.AddressSlice) map[netip.Addr]identity.Number {
	exact, _ := edgeobjects.Entries(v1alpha1.Set{Slices: have})
	return exact
}

func TestPack(t *testing.T) {
	const most = v1alpha1.MaxSliceAddresses
	for _, c := range []struct{ n, slices int }{{0, 0}, {1, 1}, {most, 1}, {most + 1, 2}, {3*most + 1, 4}} {
		want := numbered(0, c.n, 0x100)
		write, empty := pack("h1", nil, want)
		if len(write) != c.slices || len(empty) != 0 {
			t.Errorf("%d addresses: %d slices and %d empty ones, want %d and none", c.n, len(write), len(empty), c.slices)
		}
		if diff := cmp.Diff(want, entriesOf(write), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%d addresses: -want +got\n%s", c.n, diff)
		}
		for _, s := range write {
			if problems := v1alpha1.Validate(s).Errors(); len(problems) > 0 {
				t.Errorf("slice %s: %v", s.ObjectName(), problems)
			}
		}
		if again, empty := pack("h1", write, want); len(again)+len(empty) > 0 {
			t.Errorf("%d addresses a second time: %d slices are written, %d emptied", c.n, len(again), len(empty))
		}
	}
}

// One that changes touches one slice; the others are not written again.
func TestPackChangesLittle(t *testing.T) {
	want := numbered(0, 4*v1alpha1.MaxSliceAddresses, 0x100)
	have, _ := pack("h1", nil, want)
	var one netip.Addr
	for a := range want {
		one = a
		break
	}
	want[one] = 0x101
	write, _ := pack("h1", have, want)
	if len(write) != 1 || entriesOf(write)[one] != 0x101 {
		t.Errorf("a relabelled endpoint: %d slices are written, want 1", len(write))
	}
	have, _ = pack("h1", nil, numbered(0, 2*v1alpha1.MaxSliceAddresses, 0x100))
	left := entriesOf(have[1:])
	write, empty := pack("h1", have, left)
	if len(write) != 0 || len(empty) != 1 || empty[0].ObjectName() != "h1.0" {
		t.Errorf("half of all is gone: %d slices are written, %d emptied", len(write), len(empty))
	}
}

// A store that was put back has forgotten revisions that agents have: the next one is higher than those.
func TestRevisionsGrow(t *testing.T) {
	b := newSliceBook()
	slice := v1alpha1.NewAddressSlice("h1.0", v1alpha1.AddressSliceSpec{Host: "h1", Revision: 7})
	b.slice(slice, false)
	if n := b.next(); n != 8 {
		t.Errorf("next revision %d, want 8", n)
	}
	b.restart(func() []*v1alpha1.AddressSlice { return nil }, func() []*v1alpha1.HostStatus {
		return []*v1alpha1.HostStatus{v1alpha1.NewHostStatus("h2", v1alpha1.HostReport{Entries: 41})}
	})
	if n := b.next(); n != 42 {
		t.Errorf("next revision after the store was put back %d, want 42", n)
	}
	if got := b.of("h1"); len(got) != 0 {
		t.Errorf("%d slices are left of a store without any", len(got))
	}
}
