package addtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadTakesOnePlugin(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if got, err := read(log, "ptp"); err != nil || got != nil {
		t.Errorf("no log yet: %v, %v", got, err)
	}
	if err := os.WriteFile(log, []byte("ptp 1200\nhexapod-cni 300\nptp 1400\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := read(log, "ptp")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{1200, 1400}, got); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(log, []byte("ptp soon\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(log, "ptp"); err == nil {
		t.Error("a line that is none: no error")
	}
}

func TestFigures(t *testing.T) {
	r := Result{Rounds: []*Round{
		{"hexapod", 1, []int64{10, 20, 30}}, {"ptp", 1, []int64{100, 200, 600}},
		{"ptp", 2, []int64{300, 200, 100}}, {"hexapod", 2, []int64{10, 10, 10}},
	}}
	r.figures()
	want := []*Times{{"hexapod", 6, 10, 30}, {"ptp", 6, 200, 600}}
	if diff := cmp.Diff(want, r.Times); diff != "" {
		t.Error(diff)
	}
	if r.Ratio.P50 != 15 || r.Ratio.Last != 25 || r.Ratio.P50Low != 0 {
		t.Errorf("%+v: want medians of 10 and 20, and of 20 and 30; two pairs have no bound", r.Ratio)
	}
	var b strings.Builder
	if err := r.Print(&b); err != nil || strings.Count(b.String(), "\n") != 3 {
		t.Errorf("%v:\n%s", err, b.String())
	}
}
