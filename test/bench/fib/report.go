package main

import (
	"fmt"
	"io"

	"hexapod.dev/test/paired"
)

// report is what a run leaves behind. It names no host and no path.
type report struct {
	paired.Machine
	Load    string   `json:"load"`   // of the machine when the run began, over 1, 5 and 15 minutes
	Routes  int      `json:"routes"` // of the writer and of resyncs
	Others  int      `json:"others"` // routes of another program, which are the same after all resyncs
	Figures []figure `json:"figures"`
	Rounds  []round  `json:"rounds"`
}

// round is one measurement in seconds.
type round struct {
	Kind   string  `json:"kind"`   // writer, resync, feed or withdrawal
	System string  `json:"system"` // for a resync: what there was to do
	Pair   int     `json:"pair"`
	Routes int     `json:"routes"`
	Wall   float64 `json:"wall"`
	CPU    float64 `json:"cpu,omitempty"` // of processors, where one process does it all
}

// figure is a median over rounds.
type figure struct {
	What   string  `json:"what"`
	Median float64 `json:"median"`
	Bound  float64 `json:"bound95"` // lower, or upper where the mark is a most
	Mark   float64 `json:"mark"`    // 0: shown without a mark
	Most   bool    `json:"most"`    // the mark is not to be exceeded
	Met    bool    `json:"met"`     // by the bound where the figure is a ratio or a rate, by the median of a time
}

func wall(r round) float64 { return r.Wall }
func cpu(r round) float64  { return r.CPU }

// figures computes all figures from the rounds.
func (r *report) figures() {
	rate := func(of func(round) float64) func(round) float64 {
		return func(one round) float64 { return float64(one.Routes) / of(one) }
	}
	writers := []string{"hexapod", "iproute2"}
	for _, f := range floors {
		writers = append(writers, f.String())
	}
	for _, name := range writers {
		mark := map[string]float64{"hexapod": 800_000}[name]
		r.least("writer: routes/s, "+name, r.values("writer", name, r.Routes, rate(wall)), mark)
		r.least("writer: routes per CPU-second, "+name, r.values("writer", name, r.Routes, rate(cpu)), 0)
	}
	r.least("writer: wall time, floor over hexapod", r.ratios("writer", likeHexapod.String(), "hexapod", r.Routes, wall), 0)
	r.least("writer: CPU time, floor over hexapod", r.ratios("writer", likeHexapod.String(), "hexapod", r.Routes, cpu), 0)
	r.least("writer: wall time, iproute2 over hexapod", r.ratios("writer", "iproute2", "hexapod", r.Routes, wall), 0)
	for _, step := range []string{"as wanted", "all missing", "all to go"} {
		r.most("resync, "+step+": s", r.values("resync", step, r.Routes, wall), 3)
	}
	for _, n := range sizes {
		for _, name := range []string{"hexapod", "frr", "bird"} {
			mark := 0.0
			if name == "hexapod" {
				mark = map[int]float64{10_000: 1, 100_000: 5}[n]
			}
			r.most(fmt.Sprintf("feed of %d: s, %s", n, name), r.values("feed", name, n, wall), mark)
			r.most(fmt.Sprintf("withdrawal of %d: s, %s", n, name), r.values("withdrawal", name, n, wall), 0)
		}
		for _, name := range []string{"frr", "bird"} {
			r.least(fmt.Sprintf("feed of %d: time, %s over hexapod", n, name), r.ratios("feed", name, "hexapod", n, wall), 0)
		}
	}
}

// values are those of one system, in the order of its rounds.
func (r *report) values(kind, system string, routes int, of func(round) float64) (list []float64) {
	for _, one := range r.Rounds {
		if one.Kind == kind && one.System == system && one.Routes == routes {
			list = append(list, of(one))
		}
	}
	return list
}

// ratios are those of two systems, by pair.
func (r *report) ratios(kind, of, over string, routes int, value func(round) float64) (list []float64) {
	below := r.values(kind, over, routes, value)
	for i, v := range r.values(kind, of, routes, value) {
		list = append(list, v/below[i])
	}
	return list
}

func (r *report) least(what string, values []float64, mark float64) {
	low, _ := paired.Bounds(values)
	r.Figures = append(r.Figures, figure{what, paired.Median(values), low, mark, false, low >= mark})
}

func (r *report) most(what string, values []float64, mark float64) {
	_, high := paired.Bounds(values)
	median := paired.Median(values)
	r.Figures = append(r.Figures, figure{what, median, high, mark, true, mark == 0 || median <= mark})
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%-46s %12s %12s %10s  (load %s)\n", "", "median", "bound", "mark", r.Load)
	for _, f := range r.Figures {
		verdict := map[bool]string{true: "met", false: "MISSED"}[f.Met]
		if f.Mark == 0 {
			verdict = ""
		}
		fmt.Fprintf(w, "%-46s %12.4g %12.4g %10.4g %s\n", f.What, f.Median, f.Bound, f.Mark, verdict)
	}
}

func (r *report) write(path string) error {
	return paired.Write(path, r)
}
