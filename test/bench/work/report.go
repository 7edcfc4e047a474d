package work

import (
	"fmt"
	"io"

	"hexapod.dev/test/paired"
)

// Report is what a run leaves behind. It names no host and no path.
type Report struct {
	paired.Machine
	Load    string   `json:"load"`  // of the machine when the run began, over 1, 5 and 15 minutes
	Ended   string   `json:"ended"` // and when it ended
	Slice   string   `json:"slice"`
	Figures []Figure `json:"figures"`
	Rounds  []Round  `json:"rounds"`
}

// Round is one slice.
type Round struct {
	Kind   string  `json:"kind"`
	Way    string  `json:"way"` // between client and server
	System string  `json:"system"`
	Pair   int     `json:"pair"`
	Work   uint64  `json:"work"` // in the unit of the kind
	CPU    float64 `json:"cpu"`  // seconds
}

// Figure is the median of the ratios of paired rounds, work per CPU-second.
type Figure struct {
	What   string  `json:"what"`
	Of     string  `json:"of"`
	Over   string  `json:"over"`
	Median float64 `json:"median"`
	Bound  float64 `json:"bound95"` // lower
	Mark   float64 `json:"mark"`    // 0: shown without a mark
	Met    bool    `json:"met"`     // by the bound
}

// Mark is a ratio of two systems: what has to be reached.
type Mark struct {
	Kind, Way, Of, Over string
	Mark                float64 // 0: shown without a mark
}

// compute computes all figures from the rounds. Ratios whose rounds are missing are left out.
func (r *Report) compute(marks []Mark) {
	for _, m := range marks {
		below := r.values(m.Kind, m.Way, m.Over)
		if len(below) == 0 {
			continue
		}
		var ratios []float64
		for i, v := range r.values(m.Kind, m.Way, m.Of) {
			ratios = append(ratios, v/below[i])
		}
		low, _ := paired.Bounds(ratios)
		r.Figures = append(r.Figures, Figure{m.Kind + ", " + m.Way, m.Of, m.Over, paired.Median(ratios), low, m.Mark, low >= m.Mark})
	}
}

// values are the rates of one system, in the order of its rounds.
func (r *Report) values(kind, way, system string) (list []float64) {
	for _, one := range r.Rounds {
		if one.Kind == kind && one.Way == way && one.System == system {
			list = append(list, float64(one.Work)/one.CPU)
		}
	}
	return list
}

// Print writes the figures.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%-36s %-22s %8s %8s %6s  (load %s to %s)\n", "", "", "median", "bound", "mark", r.Load, r.Ended)
	for _, f := range r.Figures {
		verdict := map[bool]string{true: "met", false: "MISSED"}[f.Met]
		if f.Mark == 0 {
			verdict = ""
		}
		fmt.Fprintf(w, "%-36s %-22s %8.3f %8.3f %6.4g %s\n", f.What, f.Of+" / "+f.Over, f.Median, f.Bound, f.Mark, verdict)
	}
}

// Write writes figures and rounds to a file.
func (r *Report) Write(path string) error {
	return paired.Write(path, r)
}
