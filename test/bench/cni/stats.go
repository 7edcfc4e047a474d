package main

import (
	"math"
	"slices"
)

// percentile is the p-th percentile by nearest rank, 0 of nothing.
func percentile(values []int64, p int) int64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

func medianOf(values []float64) float64 {
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

// noBound stands for infinity, which JSON cannot write.
const noBound = 1e9

// bounds are the lower and the upper 95 % bound of the median, each one-sided, by the sign test: they are order statistics and
// assume nothing about the distribution. Fewer than five values have no bounds: those are 0 and noBound then.
func bounds(values []float64) (low, high float64) {
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
		return 0, noBound
	}
	return sorted[k-1], sorted[n-k]
}
