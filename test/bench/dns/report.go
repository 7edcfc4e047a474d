package main

import (
	"fmt"
	"io"

	"hexapod.dev/test/paired"
)

// report is what a run leaves behind. It names no host and no path.
type report struct {
	paired.Machine
	Load    string   `json:"load"`  // of the machine when the run began, over 1, 5 and 15 minutes
	Names   int      `json:"names"` // that were remembered when memory was measured
	Figures []figure `json:"figures"`
	Rounds  []round  `json:"rounds"`
}

// round is one measurement in seconds.
type round struct {
	Kind      string  `json:"kind"` // cached, fresh or memory
	System    string  `json:"system"`
	Pair      int     `json:"pair"`
	Questions int     `json:"questions"`
	Wall      float64 `json:"wall"`
	CPU       float64 `json:"cpu"` // of the server
	Lost      int     `json:"lost,omitempty"`
	Resident  int64   `json:"resident,omitempty"` // KiB
}

// figure is a median over rounds.
type figure struct {
	What   string  `json:"what"`
	Median float64 `json:"median"`
	Bound  float64 `json:"bound95"` // lower; of memory, which is measured once, the figure itself
	Mark   float64 `json:"mark"`    // 0: shown without a mark
	Met    bool    `json:"met"`
}

// figures computes all figures from the rounds.
func (r *report) figures() {
	perCore := func(one round) float64 { return float64(one.Questions) / one.CPU }
	overall := func(one round) float64 { return float64(one.Questions) / one.Wall }
	for _, kind := range []string{cached, fresh} {
		mark := map[string]float64{cached: 1.3, fresh: 0.9}[kind]
		for _, name := range []string{"hexapod", "unbound"} {
			r.add(kind+": questions per CPU-second, "+name, r.values(kind, name, perCore), 0)
			r.add(kind+": questions per second, "+name, r.values(kind, name, overall), 0)
		}
		r.add(kind+": per CPU-second, hexapod over unbound", r.ratios(kind, perCore), mark)
		r.add(kind+": per second, hexapod over unbound", r.ratios(kind, overall), 0)
	}
	size := func(one round) float64 { return float64(one.Resident) / 1024 }
	for _, name := range []string{"hexapod", "unbound"} {
		r.add("memory: MiB, "+name, r.values(memory, name, size), 0)
	}
	ratio := r.ratios(memory, size)[0]
	r.Figures = append(r.Figures, figure{"memory: hexapod over unbound, at most", ratio, ratio, 1.5, ratio <= 1.5})
}

func (r *report) values(kind, system string, of func(round) float64) (list []float64) {
	for _, one := range r.Rounds {
		if one.Kind == kind && one.System == system {
			list = append(list, of(one))
		}
	}
	return list
}

// ratios are ours over theirs, by pair.
func (r *report) ratios(kind string, of func(round) float64) (list []float64) {
	theirs := r.values(kind, "unbound", of)
	for i, v := range r.values(kind, "hexapod", of) {
		list = append(list, v/theirs[i])
	}
	return list
}

func (r *report) add(what string, values []float64, mark float64) {
	low, _ := paired.Bounds(values)
	r.Figures = append(r.Figures, figure{what, paired.Median(values), low, mark, low >= mark})
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
