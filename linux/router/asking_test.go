package router

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The answers of RFC 4861 6.3.7 and RFC 7559 2 in time: when a link is asked after its route has gone.
func TestRFC7559_2_AskingBacksOff(t *testing.T) {
	type moment struct {
		At      time.Duration
		Present bool
		Send    bool
	}
	for _, tc := range []struct {
		name   string
		chance float64
		run    []moment
	}{
		{"nobody ever advertised: nobody is asked", 0, []moment{{0, false, false}, {time.Hour, false, false}}},
		{"a route that stays", 0.5, []moment{{0, true, false}, {time.Hour, true, false}}},
		{"lost: after a delay by chance, then 4 s, 8 s, 16 s", 0.5, []moment{
			{0, true, false}, {time.Second, false, false}, {1499 * time.Millisecond, false, false}, {1500 * time.Millisecond, false, true},
			{5499 * time.Millisecond, false, false}, {5500 * time.Millisecond, false, true},
			{13499 * time.Millisecond, false, false}, {13500 * time.Millisecond, false, true}, {29500 * time.Millisecond, false, true},
		}},
		{"the answer ends the asking, the next loss begins anew", 0, []moment{
			{0, true, false}, {time.Second, false, false}, {time.Second, false, true}, {2 * time.Second, true, false},
			{time.Minute, false, false}, {time.Minute, false, true},
		}},
		{"a route that comes and goes costs one in 4 s", 0, []moment{
			{0, true, false}, {time.Second, false, false}, {time.Second, false, true}, {1100 * time.Millisecond, true, false},
			{1200 * time.Millisecond, false, false}, {1300 * time.Millisecond, false, false}, {4999 * time.Millisecond, false, false},
			{5000 * time.Millisecond, false, true},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begin := time.Unix(1_000_000, 0)
			var a asking
			var have []moment
			for _, m := range tc.run {
				have = append(have, moment{m.At, m.Present, a.step(begin.Add(m.At), m.Present, tc.chance)})
			}
			if d := cmp.Diff(tc.run, have); d != "" {
				t.Errorf("(-want +have):\n%s", d)
			}
		})
	}
}

// The distance never exceeds an hour and its share of chance (RFC 7559 2, MRT), however long nobody answers.
func TestRFC7559_2_AskingHasALongestDistance(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var a asking
	a.step(now, true, 0)
	a.step(now, false, 0)
	for range 40 {
		now = a.next
		if !a.step(now, false, 0.999) {
			t.Fatal("not asked when it was time")
		}
		if far := a.next.Sub(now); far > longest+longest/10 || far < interval {
			t.Fatalf("asked again after %s", far)
		}
	}
}
