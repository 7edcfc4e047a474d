package datapath

import (
	"net/netip"
	"testing"

	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// One prefix that comes, changes and goes leaves the same as a pass over the whole would, and the guard says when it would not.
func TestOnePrefixInside(t *testing.T) {
	b := newBench(t)
	other := netip.MustParsePrefix("2001:db8:a000:c13::/64")
	with := func(in datapath.WantInside) datapath.Want {
		w := b.want()
		w.Inside[other] = in
		return w
	}
	same := func(what string, w datapath.Want) {
		t.Helper()
		d, err := b.table.Reconcile(t.Context(), w)
		must(t, err)
		if !d.Empty() {
			t.Errorf("%s: a pass over the whole changes %v", what, d)
		}
	}
	plain := datapath.WantInside{Flags: datapath.Located}
	must(t, b.table.EnsureInside(other, plain))
	same("a prefix came", with(plain))
	known := datapath.WantInside{Flags: datapath.Located | datapath.KnownBy, Link: "up0", MAC: desired.MAC{2, 0, 0, 0, 0, 7}}
	must(t, b.table.EnsureInside(other, known))
	same("it is known by a MAC", with(known))
	if err := b.table.EnsureInside(other, datapath.WantInside{Link: "nowhere"}); err == nil {
		t.Error("a prefix behind a link that does not exist was taken")
	}
	must(t, b.table.RemoveInside(other))
	must(t, b.table.RemoveInside(other)) // again is no error
	same("it went", b.want())

	if !b.table.Guards(with(plain)) {
		t.Error("a prefix within another changes the guard's rules, says Guards")
	}
	outside := b.want()
	outside.Inside[netip.MustParsePrefix("2001:db8:b000::/64")] = plain
	if b.table.Guards(outside) {
		t.Error("a prefix beside all others changes no rule of the guard, says Guards")
	}
}
