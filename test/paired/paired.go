// Package paired holds what benchmarks of several systems in turn have in common: the figures of paired rounds, and the machine
// they were taken on.
package paired

import (
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// FewestPairs make a figure.
const FewestPairs = 15

// Machine says where a run was made. It names no host and no path.
type Machine struct {
	Version string `json:"version"` // of what is measured
	Go      string `json:"go"`
	Kernel  string `json:"kernel"` // x.y
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
}

// This is the machine that the program runs on.
func This(version string) Machine {
	return Machine{Version: version, Go: runtime.Version(), Kernel: kernel(), CPU: cpu(), CPUs: runtime.NumCPU()}
}

// Percentile is the p-th percentile by nearest rank, 0 of nothing.
func Percentile(values []int64, p int) int64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

// Median is the middle value, or the mean of the two in the middle; 0 of nothing.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[mid-1] + sorted[mid]) / 2
	}
	return sorted[mid]
}

// NoBound stands for infinity, which JSON cannot write.
const NoBound = 1e9

// Bounds are the lower and the upper 95 % bound of the median, each one-sided, by the sign test: they are order statistics and
// assume nothing about the distribution. Fewer than five values have no bounds: those are 0 and NoBound then.
func Bounds(values []float64) (low, high float64) {
	n := len(values)
	sorted := slices.Sorted(slices.Values(values))
	// The k-th smallest is above the median with the probability that fewer than k of n coins show heads.
	k, tail, term := 0, 0.0, math.Pow(0.5, float64(n))
	for k < n/2 && tail+term <= 0.05 {
		tail += term
		term *= float64(n-k) / float64(k+1)
		k++
	}
	if k == 0 {
		return 0, NoBound
	}
	return sorted[k-1], sorted[n-k]
}

// Turns lists 0 to n-1, beginning with another one each time, so that none is always measured after the same one.
func Turns(n, first int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (first + i) % n
	}
	return order
}

func kernel() string {
	var u syscall.Utsname
	if syscall.Uname(&u) != nil {
		return "unknown"
	}
	var release []byte
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	parts := strings.SplitN(string(release), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func cpu() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "unknown"
}
