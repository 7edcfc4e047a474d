package addtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"hexapod.dev/test/paired"
)

// Result is what a run leaves behind. It names no host and no path.
type Result struct {
	paired.Machine
	Pairs  int      `json:"pairs"`
	Pods   int      `json:"pods"` // of each round, made together
	Times  []*Times `json:"times"`
	Ratio  Ratio    `json:"ratio"`
	Rounds []*Round `json:"rounds"`
}

// Times are the percentiles of one network over all rounds, in microseconds.
type Times struct {
	Network string `json:"network"`
	N       int    `json:"n"`
	P50     int64  `json:"p50"`
	P99     int64  `json:"p99"`
}

// Ratio is how many times longer ptp takes than Hexapod: the median of the pairs' ratios of medians, and of their slowest ADDs, with the
// lower 95 % bound of each.
type Ratio struct {
	P50     float64 `json:"p50"`
	P50Low  float64 `json:"p50Low"`
	Last    float64 `json:"slowest"`
	LastLow float64 `json:"slowestLow"`
}

func (r *Result) figures() {
	all := map[string][]int64{}
	var middle, last []float64
	ours := map[int][2]int64{}
	for _, x := range r.Rounds {
		all[x.Network] = append(all[x.Network], x.Add...)
		if x.Network == networks[0].name {
			ours[x.Pair] = [2]int64{paired.Percentile(x.Add, 50), paired.Percentile(x.Add, 100)}
		}
	}
	for _, x := range r.Rounds {
		if x.Network != networks[0].name {
			middle = append(middle, float64(paired.Percentile(x.Add, 50))/float64(ours[x.Pair][0]))
			last = append(last, float64(paired.Percentile(x.Add, 100))/float64(ours[x.Pair][1]))
		}
	}
	for _, n := range networks {
		took := all[n.name]
		r.Times = append(r.Times, &Times{n.name, len(took), paired.Percentile(took, 50), paired.Percentile(took, 99)})
	}
	r.Ratio.P50, r.Ratio.Last = paired.Median(middle), paired.Median(last)
	r.Ratio.P50Low, _ = paired.Bounds(middle)
	r.Ratio.LastLow, _ = paired.Bounds(last)
}

// Print writes the figures for people.
func (r *Result) Print(w io.Writer) error {
	var errs error
	for _, t := range r.Times {
		_, err := fmt.Fprintf(w, "add times: %-8s p50 %9.2f ms  p99 %9.2f ms  (%d pods)\n", t.Network, float64(t.P50)/1000, float64(t.P99)/1000, t.N)
		errs = errors.Join(errs, err)
	}
	_, err := fmt.Fprintf(w, "add times: ptp takes %.1f times as long (at least %.1f), the slowest of a round %.1f times (at least %.1f)\n",
		r.Ratio.P50, r.Ratio.P50Low, r.Ratio.Last, r.Ratio.LastLow)
	return errors.Join(errs, err)
}

// Write keeps the result.
func (r *Result) Write(file string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.WriteFile(file, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep the times: %w", err)
	}
	return nil
}
