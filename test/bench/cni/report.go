package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"hexapod.dev/test/paired"
)

// report is what a run leaves behind. It names no host and no path.
type report struct {
	paired.Machine
	Pairs   int       `json:"pairs"`
	Burst   int       `json:"burst"`
	Living  int       `json:"living"`
	Figures []*figure `json:"figures"`
	Times   []times   `json:"times"`
	Rounds  []*round  `json:"rounds"`
}

// round is what one system took in one pair, in microseconds.
type round struct {
	System string  `json:"system"`
	Kind   string  `json:"kind"` // single, without, crowded, lone or burst
	Pair   int     `json:"pair"`
	Add    []int64 `json:"add"`
	Del    []int64 `json:"del"`
}

func newRound(system, kind string, pair int) *round {
	return &round{System: system, Kind: kind, Pair: pair}
}

// took notes how long one run of the plugin took.
func (r *round) took(command string, t time.Duration) {
	if command == "ADD" {
		r.Add = append(r.Add, t.Microseconds())
	} else {
		r.Del = append(r.Del, t.Microseconds())
	}
}

// times are the percentiles of one system over all rounds, in microseconds.
type times struct {
	System string `json:"system"`
	Kind   string `json:"kind"`
	N      int    `json:"n"`
	AddP50 int64  `json:"addP50"`
	AddP99 int64  `json:"addP99"`
	DelP50 int64  `json:"delP50"`
	DelP99 int64  `json:"delP99"`
}

// figure is one comparison: how many times longer `than` takes than `of`, per pair.
type figure struct {
	What   string  `json:"what"`
	Of     string  `json:"of"`
	Than   string  `json:"than"`
	Median float64 `json:"median"`
	Bound  float64 `json:"bound95"` // lower, or upper where the mark is a most
	Mark   float64 `json:"mark"`    // 0: shown without a mark
	Most   bool    `json:"most"`    // the mark is not to be exceeded
	Met    bool    `json:"met"`
}

func newReport(o options) *report {
	return &report{Machine: paired.This(o.version),
		Pairs: o.pairs, Burst: o.burst, Living: o.living}
}

// comparisons and their marks.
var comparisons = []struct {
	what, kind, of, than string
	mark                 float64
	most, del            bool
}{
	{"ADD p50", "single", "hexapod", "ptp-ipv4", 3, false, false},
	{"ADD p50", "single", "hexapod", "bridge-ipv4", 3, false, false},
	{"ADD p50", "single", "hexapod", "bridge-ipv6", 10, false, false},
	{"ADD p50", "single", "hexapod", "ptp-ipv6", 0, false, false},
	{"DEL p50", "single", "hexapod", "ptp-ipv4", 10, false, true},
	{"DEL p50", "single", "hexapod", "bridge-ipv4", 10, false, true},
	{"DEL p50", "single", "hexapod", "bridge-ipv6", 10, false, true},
	{"ADD p50, lone", "lone", "hexapod", "ptp-ipv4", 3, false, false},
	{"ADD p50, lone", "lone", "hexapod", "bridge-ipv4", 3, false, false},
	{"ADD p50, lone", "lone", "hexapod", "bridge-ipv6", 10, false, false},
	{"ADD p50, lone", "lone", "hexapod", "ptp-ipv6", 0, false, false},
	{"DEL p50, lone", "lone", "hexapod", "bridge-ipv4", 10, false, true},
	{"burst rate", "burst", "hexapod", "ptp-ipv4", 4, false, false},
	{"burst rate", "burst", "hexapod", "bridge-ipv4", 4, false, false},
	{"burst rate", "burst", "hexapod", "bridge-ipv6", 4, false, false},
	{"ADD p50, with eBPF", "without", "hexapod-plain", "hexapod", 1.3, true, false},
	{"DEL p50, with eBPF", "without", "hexapod-plain", "hexapod", 0, false, true},
	{"ADD p50, full host", "crowded", "hexapod", "hexapod-full", 1.5, true, false},
	{"DEL p50, full host", "crowded", "hexapod", "hexapod-full", 0, false, true},
}

// figures computes all comparisons and percentiles from the rounds.
func (r *report) figures() {
	for _, c := range comparisons {
		var ratios []float64
		for pair := 1; pair <= r.Pairs; pair++ {
			of, than := r.median(c.of, c.kind, pair, c.del), r.median(c.than, c.kind, pair, c.del)
			if of > 0 && than > 0 {
				ratios = append(ratios, float64(than)/float64(of))
			}
		}
		f := &figure{What: c.what, Of: c.of, Than: c.than, Mark: c.mark, Most: c.most, Median: paired.Median(ratios)}
		low, high := paired.Bounds(ratios)
		if f.Bound, f.Met = low, low >= c.mark; c.most {
			f.Bound, f.Met = high, high <= c.mark
		}
		r.Figures = append(r.Figures, f)
	}
	for _, kind := range []string{"single", "without", "crowded", "lone", "burst"} {
		for _, name := range r.names(kind) {
			var add, del []int64
			for _, one := range r.Rounds {
				if one.System == name && one.Kind == kind {
					add, del = append(add, one.Add...), append(del, one.Del...)
				}
			}
			r.Times = append(r.Times, times{name, kind, len(add),
				paired.Percentile(add, 50), paired.Percentile(add, 99), paired.Percentile(del, 50), paired.Percentile(del, 99)})
		}
	}
}

func (r *report) names(kind string) []string {
	var names []string
	for _, one := range r.Rounds {
		if one.Kind == kind && !slices.Contains(names, one.System) {
			names = append(names, one.System)
		}
	}
	slices.Sort(names)
	return names
}

// median is the median of one system in one pair, 0 if it has no round.
func (r *report) median(system, kind string, pair int, del bool) int64 {
	for _, one := range r.Rounds {
		if one.System == system && one.Kind == kind && one.Pair == pair {
			if del {
				return paired.Percentile(one.Del, 50)
			}
			return paired.Percentile(one.Add, 50)
		}
	}
	return 0
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%-13s %-7s %5s %10s %10s %10s %10s  (microseconds)\n", "system", "kind", "n", "ADD p50", "ADD p99", "DEL p50", "DEL p99")
	for _, t := range r.Times {
		fmt.Fprintf(w, "%-13s %-7s %5d %10d %10d %10d %10d\n", t.System, t.Kind, t.N, t.AddP50, t.AddP99, t.DelP50, t.DelP99)
	}
	fmt.Fprintf(w, "\n%-20s %-13s %-13s %8s %8s %8s\n", "times as long", "takes", "than", "median", "bound", "mark")
	for _, f := range r.Figures {
		verdict := map[bool]string{true: "met", false: "MISSED"}[f.Met]
		if f.Mark == 0 {
			verdict = ""
		}
		if r.Pairs < paired.FewestPairs {
			verdict = "too few pairs"
		}
		fmt.Fprintf(w, "%-20s %-13s %-13s %8.2f %8.2f %8.2f %s\n", f.What, f.Than, f.Of, f.Median, f.Bound, f.Mark, verdict)
	}
}

func (r *report) write(path string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// One line per round: a change of one is a change of one line.
	lines := strings.NewReplacer(`{"system"`, "\n{\"system\"", `{"what"`, "\n{\"what\"").Replace(string(text))
	return os.WriteFile(path, []byte(lines+"\n"), 0o644)
}
