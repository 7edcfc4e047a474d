package controller

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	edgeobjects "hexapod.dev/edge/objects"
)

func layoutOf(t *testing.T, spec v1alpha1.AddressPlanSpec) *layout {
	t.Helper()
	p := v1alpha1.NewAddressPlan("lab", spec)
	if problems := v1alpha1.Validate(p).Errors(); len(problems) > 0 {
		t.Fatal(problems)
	}
	l, err := newLayout(edgeobjects.Plan(v1alpha1.Set{Plan: p}), "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func ledgerOf(t *testing.T, spec v1alpha1.AddressPlanSpec, all ...*v1alpha1.HostPrefix) *ledger {
	t.Helper()
	l := newLedger()
	l.restart(layoutOf(t, spec), func() []*v1alpha1.HostPrefix { return all }, func() []*v1alpha1.HostStatus { return nil })
	return l
}

func TestRackOfLabel(t *testing.T) {
	l := layoutOf(t, labPlan())
	for label, want := range map[string]uint64{"": 1023, "east": 3, "3": 3, "1": 1, "1023": 1023} {
		if got, err := l.rack(label); err != nil || got != want {
			t.Errorf("%q: rack %d, %v; want %d", label, got, err, want)
		}
	}
	for _, label := range []string{"0", "1024", "west", "-1", "99999999999999999999"} {
		var p *Problem
		if got, err := l.rack(label); !errors.As(err, &p) || p.Why != UnknownRack {
			t.Errorf("%q: rack %d, %v", label, got, err)
		}
	}
}

// TestThousandTwentyFifth: a rack of /54 has 1,024 hosts of /64, and the next is told so.
func TestThousandTwentyFifth(t *testing.T) {
	l := ledgerOf(t, labPlan())
	given := map[string]bool{}
	for i := range 1024 {
		d, err := l.decide(slot{fmt.Sprint("h", i), false}, 3, time.Now(), i%2 == 0)
		if err != nil {
			t.Fatalf("host %d: %v", i, err)
		}
		given[d.spec.Prefix.String()] = true
	}
	if len(given) != 1024 {
		t.Errorf("%d prefixes for 1,024 hosts", len(given))
	}
	_, err := l.decide(slot{"one more", false}, 3, time.Now(), true)
	var p *Problem
	if !errors.As(err, &p) || p.Why != RackFull || !strings.Contains(p.Text, "rack east") || !strings.Contains(p.Text, "1024 are in use") {
		t.Errorf("the 1,025th: %v", err)
	}
	if _, err := l.decide(slot{"elsewhere", false}, 4, time.Now(), true); err != nil {
		t.Errorf("in another rack: %v", err)
	}
}

// TestReservation: a decision stands until the watch tells of its object, so that a write whose answer was lost is tried with the same
// prefix; and it survives a list that was on its way meanwhile.
func TestReservation(t *testing.T) {
	l := ledgerOf(t, labPlan())
	s := slot{"a", false}
	first, err := l.decide(s, 3, time.Now(), true)
	if err != nil {
		t.Fatal(err)
	}
	same := func(when string) {
		t.Helper()
		if d, err := l.decide(s, 3, time.Now(), true); err != nil || d.spec.Prefix != first.spec.Prefix {
			t.Errorf("%s: %v, %v; want %v", when, d.spec.Prefix, err, first.spec.Prefix)
		}
	}
	same("again")
	l.wrote(v1alpha1.NewHostPrefix(first.spec))
	l.restart(l.layout, func() []*v1alpha1.HostPrefix { return nil }, func() []*v1alpha1.HostStatus { return nil })
	same("after an older list")
	other, err := l.decide(slot{"b", false}, 3, time.Now(), true)
	if err != nil || other.spec.Prefix == first.spec.Prefix {
		t.Errorf("another host: %v, %v", other.spec.Prefix, err)
	}
	l.prefix(v1alpha1.NewHostPrefix(first.spec), false)
	if got := l.of("a", false); got == nil || got.Spec.Prefix != first.spec.Prefix {
		t.Errorf("object: %+v", got)
	}
}

// TestReportedPrefixesAreNotGiven: what a host says that it holds, or that it saw with others, is not given to anybody else.
func TestReportedPrefixesAreNotGiven(t *testing.T) {
	l := ledgerOf(t, labPlan())
	l.report(v1alpha1.NewHostStatus("a", v1alpha1.HostReport{
		Prefixes: []v1alpha1.Prefix{pfx("2001:db8:a010:c05::/64")},
		Seen:     v1alpha1.Seen{Prefixes: []v1alpha1.Prefix{pfx("2001:db8:a010:c09::/64"), pfx("3fff::/64")}},
	}), false)
	d, err := l.decide(slot{"b", false}, 3, time.Now(), true)
	if want := pfx("2001:db8:a010:c0a::/64"); err != nil || d.spec.Prefix != want {
		t.Errorf("%v, %v; want %v", d.spec.Prefix, err, want)
	}
	if spec, ok := l.known(slot{"a", false}, netip.MustParsePrefix("2001:db8:a010:c05::/64")); !ok || spec.Rack != "east" || *spec.Number != 5 {
		t.Errorf("the prefix that a holds: %+v, %t", spec, ok)
	}
	if _, ok := l.known(slot{"a", false}, netip.MustParsePrefix("3fff::/64")); ok {
		t.Error("a prefix outside the plan is one of it")
	}
}

func TestIPv4Ranges(t *testing.T) {
	spec := labPlan()
	spec.IPv4 = &v1alpha1.IPv4Plan{Prefix: pfx("10.0.0.0/23"), HostLength: 24}
	l := ledgerOf(t, spec)
	for i, want := range []string{"10.0.0.0/24", "10.0.1.0/24"} {
		d, err := l.decide(slot{fmt.Sprint("h", i), true}, 9, time.Now(), true)
		if err != nil || d.spec.Prefix != pfx(want) {
			t.Errorf("%v, %v; want %s", d.spec.Prefix, err, want)
		}
	}
	var p *Problem
	if _, err := l.decide(slot{"h2", true}, 9, time.Now(), true); !errors.As(err, &p) || p.Why != IPv4Full {
		t.Errorf("a third: %v", err)
	}
}
