package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"hexapod.dev/test/paired"
)

// report is what a run leaves behind. It names no host and no path.
type report struct {
	paired.Machine
	Load    string   `json:"load"`  // of the machine when the run began, over 1, 5 and 15 minutes
	Ended   string   `json:"ended"` // and when it ended
	Slice   string   `json:"slice"`
	Figures []figure `json:"figures"`
	Rounds  []round  `json:"rounds"`
}

// round is one slice.
type round struct {
	Kind   string  `json:"kind"`
	Way    string  `json:"way"` // across hosts, or on the same host
	System string  `json:"system"`
	Pair   int     `json:"pair"`
	Work   uint64  `json:"work"` // in the unit of the kind
	CPU    float64 `json:"cpu"`  // seconds
}

// figure is the median of the ratios of paired rounds, work per CPU-second.
type figure struct {
	What   string  `json:"what"`
	Of     string  `json:"of"`
	Over   string  `json:"over"`
	Median float64 `json:"median"`
	Bound  float64 `json:"bound95"` // lower
	Mark   float64 `json:"mark"`    // 0: shown without a mark
	Met    bool    `json:"met"`     // by the bound
}

// marks are what has to be reached.
var marks = map[string][]mark{"policy": {
	// Established flows cost at most 1.05 times what they cost without policies, new ones 1.15 times that with 10.
	{"request-response", "across", "10000", "none", 1 / 1.05},
	{"udp 64 bytes", "across", "10000", "none", 1 / 1.05},
	{"connections", "across", "10000", "10", 1 / 1.15},
	{"connections", "across", "10000", "none", 0},
}, "paths": {
	{"request-response", "across", "hexapod", "routed", 1.05},
	{"udp 64 bytes", "across", "hexapod", "routed", 1.10},
	{"connections", "across", "hexapod", "routed", 0.97},
	{"connections", "across", "hexapod", "conntrack", 1.12},
	{"request-response", "same host", "hexapod", "routed", 1.02},
	{"one stream", "across", "big", "routed", 2.2},
	{toService, "across", "services", "kube-proxy", 1.2},
	{toService, "across", "services", "hexapod", 0.92},
	{"udp 64 bytes", "same host", "hexapod", "routed", 0},
	{"connections", "same host", "hexapod", "routed", 0},
	{"one stream", "across", "hexapod", "routed", 0},
	{"one stream", "same host", "big", "routed", 0},
	{"request-response", "across", "hexapod", "conntrack", 0},
	{"request-response", "across", "big", "routed", 0},
}}

// mark is a ratio that the lower bound has to reach; 0: it is shown without one.
type mark struct {
	kind, way, of, over string
	mark                float64
}

// wanted tells whether a figure of the set needs a kind.
func wanted(set, kind string) bool {
	return slices.ContainsFunc(marks[set], func(m mark) bool { return m.kind == kind })
}

// figures computes all figures from the rounds.
func (r *report) figures(set string) {
	for _, m := range marks[set] {
		below := r.values(m.kind, m.way, m.over)
		var ratios []float64
		for i, v := range r.values(m.kind, m.way, m.of) {
			ratios = append(ratios, v/below[i])
		}
		if len(ratios) == 0 {
			continue // the kind was left out
		}
		low, _ := paired.Bounds(ratios)
		r.Figures = append(r.Figures, figure{m.kind + ", " + m.way, m.of, m.over, paired.Median(ratios), low, m.mark, low >= m.mark})
	}
}

// values are the rates of one system, in the order of its rounds.
func (r *report) values(kind, way, system string) (list []float64) {
	for _, one := range r.Rounds {
		if one.Kind == kind && one.Way == way && one.System == system {
			list = append(list, float64(one.Work)/one.CPU)
		}
	}
	return list
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%-30s %-22s %8s %8s %6s  (load %s to %s)\n", "", "", "median", "bound", "mark", r.Load, r.Ended)
	for _, f := range r.Figures {
		verdict := map[bool]string{true: "met", false: "MISSED"}[f.Met]
		if f.Mark == 0 {
			verdict = ""
		}
		fmt.Fprintf(w, "%-30s %-22s %8.3f %8.3f %6.4g %s\n", f.What, f.Of+" / "+f.Over, f.Median, f.Bound, f.Mark, verdict)
	}
}

func (r *report) write(path string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// One round a line, so that two runs can be compared.
	lines := strings.NewReplacer(`{"kind"`, "\n"+`{"kind"`, `{"what"`, "\n"+`{"what"`).Replace(string(text))
	return os.WriteFile(path, []byte(lines+"\n"), 0o644)
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
