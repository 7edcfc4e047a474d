package allocation

import (
	"errors"
	"net/netip"
	"testing"

	"hexapod.dev/model/ipam"
)

// A prefix goes, another comes, the first comes back, with restarts between: who lives keeps its address, new ones come from the
// prefix of the moment, and none comes twice.
func TestUseAnotherPrefix(t *testing.T) {
	for _, form := range []struct{ name, a, b string }{
		{"wide", "2001:db8:60::/64", "2001:db8:61::/64"},
		{"wide and mid", "2001:db8:60::/64", "2001:db8:61:0:7::/80"},
		{"mid", "2001:db8:60:0:7::/80", "2001:db8:61:0:7::/80"},
		{"narrow and wide", "2001:db8:60::7:0/112", "2001:db8:61::/60"},
	} {
		t.Run(form.name, func(t *testing.T) {
			clock, u := &fakeClock{now: day0}, unique{}
			o := options(t, disk(), clock)
			o.Layout = ipam.Layout{}
			b := open(t, o)
			var none *NoPrefixError
			if _, err := b.Allocate(t.Context(), request(0)); !errors.As(err, &none) {
				t.Fatalf("without a prefix: %v", err)
			}
			n := 0
			for round, text := range []string{form.a, form.b, form.a, form.b, form.a} {
				prefix := netip.MustParsePrefix(text)
				layout, err := ipam.NewLayout(prefix, nil)
				if err != nil {
					t.Fatal(err)
				}
				if round%2 == 1 { // this one comes while the agent is away
					o.Layout = layout
					b = reopen(t, b, o)
				}
				for range 2 { // the second time it changes nothing
					if err := b.Use(layout); err != nil {
						t.Fatal(err)
					}
				}
				for range 10 {
					n++
					given := allocate(t, b, request(n))
					u.add(t, given)
					if !prefix.Contains(given.Addr) {
						t.Fatalf("%s was given out while the prefix is %s", given.Addr, prefix)
					}
				}
				if again := allocate(t, b, request(1)); !netip.MustParsePrefix(form.a).Contains(again.Addr) {
					t.Errorf("endpoint 1 has %s now", again.Addr)
				}
				if err := b.Retire(t.Context(), request(n).Owner.Key); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Use(ipam.Layout{}); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Allocate(t.Context(), request(n+1)); !errors.As(err, &none) {
				t.Errorf("after the last prefix has gone: %v", err)
			}
			if len(b.Living()) != 45 {
				t.Errorf("%d endpoints live, want 45", len(b.Living()))
			}
		})
	}
}
