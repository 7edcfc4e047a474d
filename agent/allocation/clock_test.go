package allocation

import (
	"errors"
	"net/netip"
	"testing"

	"hexapod.dev/model/ipam"
)

// A clock goes wrong under a running book: whatever is asked of it then, no record carries that time, or the next start, with the
// right clock, could read none or would wait for years.
func TestAClockThatGoesWrongWhileRunningLeavesNoTrace(t *testing.T) {
	fixed := request(3)
	fixed.Fixed = netip.MustParseAddr("2001:db8:f::3")
	for _, prefix := range []string{"2001:db8:a000:c12::/64", "2001:db8:a000:c12::/80", "2001:db8:a000:c12::/112"} {
		for name, wrong := range map[string]ipam.Seconds{
			"1970": ipam.FromUnix(0), "an hour back": day0 - ipam.Hour, "ten years ahead": day0 + 3650*ipam.Day,
		} {
			for what, r := range map[string]Request{"from the prefix": request(3), "fixed": fixed} {
				t.Run(prefix+" "+name+" "+what, func(t *testing.T) {
					clock := &fakeClock{now: day0}
					o := options(t, disk(), clock)
					o.Layout = layoutOf(t, prefix)
					b := open(t, o)
					allocate(t, b, request(1))
					allocate(t, b, request(2))
					clock.set(wrong)
					var refused *ipam.ClockError
					if a, err := b.Allocate(t.Context(), r); !errors.As(err, &refused) {
						t.Errorf("got %+v, %v; want a refusal", a, err)
					}
					if err := b.noteTime(); err != nil {
						t.Error(err)
					}
					if s := b.State(); s.Refused == "" {
						t.Errorf("state %+v does not say that nothing is given out", s)
					}
					retire(t, b, 2)
					clock.set(day0 + 1)
					b = reopen(t, b, o)
					allocate(t, b, request(4))
				})
			}
		}
	}
}

// Below MinRest nothing is reused, also when the clock leaps: its leap is no rest.
func TestALeapOfTheClockIsNoRest(t *testing.T) {
	clock := &fakeClock{now: day0}
	o := options(t, disk(), clock)
	o.Layout = layoutOf(t, "2001:db8::/126") // two addresses
	b := open(t, o)
	allocate(t, b, request(1))
	allocate(t, b, request(2))
	retire(t, b, 1)
	clock.set(day0 + 3650*ipam.Day)
	if a, err := b.Allocate(t.Context(), request(3)); err == nil {
		t.Errorf("%s was reused at once", a.Addr)
	}
	if err := b.AcceptClock(); err != nil {
		t.Fatal(err)
	}
	allocate(t, b, request(3))
}
