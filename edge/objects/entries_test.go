package objects

import (
	"net/netip"
	"testing"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/identity"
)

// An address that moves from host to host is named by both slices for a moment: what was written last holds, whatever the names.
func TestEntriesOfAnAddressThatMoves(t *testing.T) {
	a := netip.MustParseAddr("2001:db8::7")
	slice := func(name string, revision int64, n identity.Number) *v1alpha1.AddressSlice {
		return v1alpha1.NewAddressSlice(name, v1alpha1.AddressSliceSpec{Host: name, Revision: revision, Entries: EntriesOf(map[netip.Addr]identity.Number{a: n})})
	}
	for _, set := range []v1alpha1.Set{
		{Slices: []*v1alpha1.AddressSlice{slice("h1", 3, 0x100), slice("h2", 9, 0x101)}},
		{Slices: []*v1alpha1.AddressSlice{slice("h1", 9, 0x101), slice("h2", 3, 0x100)}},
	} {
		exact, revision := Entries(set)
		if exact[a] != 0x101 || revision != 9 || len(exact) != 1 {
			t.Errorf("%v, revision %d; want number 0x101 and revision 9", exact, revision)
		}
	}
}
