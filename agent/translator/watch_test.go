package translator

import (
	"log/slog"
	"slices"
	"testing"

	"hexapod.dev/linux/nat64"
)

// A child is silent after five looks without a sign of life in a row, and ended after fifty, again and again while that does not help. A sign undoes all.
func TestPulse(t *testing.T) {
	repeat := func(n int, alive bool) []bool { return slices.Repeat([]bool{alive}, n) }
	for _, c := range []struct {
		name   string
		looks  []bool // whether a sign came before each
		silent bool   // at last
		ends   int
	}{
		{"a sign each time", repeat(100, true), false, 0},
		{"one fewer than silence", repeat(silentLooks-1, false), false, 0},
		{"silence", repeat(silentLooks, false), true, 0},
		{"busy: a sign now and then", slices.Repeat(append(repeat(silentLooks-1, false), true), 50), false, 0},
		{"a sign after silence", append(repeat(hungLooks-1, false), true), false, 0},
		{"one fewer than the end", repeat(hungLooks-1, false), true, 0},
		{"the end", repeat(hungLooks, false), true, 1},
		{"the end did not help", repeat(2*hungLooks-silentLooks, false), true, 2},
		{"the next child", append(repeat(hungLooks, false), append([]bool{true}, repeat(silentLooks-1, false)...)...), false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p pulse
			silent, ends := false, 0
			for _, alive := range c.looks {
				var end bool
				if silent, end = p.look(alive); end {
					ends++
				}
			}
			if silent != c.silent || ends != c.ends {
				t.Errorf("silent %v, ended %d times, want %v and %d", silent, ends, c.silent, c.ends)
			}
		})
	}
}

// Others are led to while the child is silent, if some go on for it, and it again when it gives a sign; not after it is wanted no more.
func TestSilence(t *testing.T) {
	for _, c := range []struct {
		name   string
		others int
		wanted bool
		told   []bool
	}{
		{"alone", 0, true, nil},
		{"among others", 2, true, []bool{false, true}},
		{"wanted no more", 2, false, []bool{false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told []bool
			tr := New(Options{Log: slog.New(slog.DiscardHandler), Tell: func(on bool) { told = append(told, on) }})
			tr.want, tr.life.others = &nat64.Config{}, c.others
			tr.hear(true)
			tr.hear(true)
			if !c.wanted {
				tr.want = nil
			}
			tr.hear(false)
			if !slices.Equal(told, c.told) {
				t.Errorf("told %v, want %v", told, c.told)
			}
		})
	}
}
