package paired

import "testing"

// The bounds of the sign test are tabulated: for n pairs the one-sided 95 % bound is the k-th smallest.
func TestBounds(t *testing.T) {
	for n, k := range map[int]int{4: 0, 5: 1, 8: 2, 10: 2, 15: 4, 20: 6, 25: 8} {
		var values []float64
		for i := range n {
			values = append(values, float64(n-i)) // 1 to n, largest first
		}
		low, high := Bounds(values)
		wantLow, wantHigh := float64(k), float64(n-k+1)
		if k == 0 {
			wantLow, wantHigh = 0, NoBound
		}
		if low != wantLow || high != wantHigh {
			t.Errorf("n=%d: %v and %v, want %v and %v", n, low, high, wantLow, wantHigh)
		}
	}
}

func TestPercentile(t *testing.T) {
	values := []int64{5, 1, 4, 2, 3}
	for p, want := range map[int]int64{1: 1, 50: 3, 99: 5, 100: 5} {
		if got := Percentile(values, p); got != want {
			t.Errorf("p%d = %d, want %d", p, got, want)
		}
	}
	if got := Median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median %v, want 2.5", got)
	}
}
