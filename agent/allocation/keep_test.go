package allocation

import (
	"os"
	"path/filepath"
	"testing"

	"hexapod.dev/agent/journal"
	"hexapod.dev/model/ipam"
)

// TestJournalIsShippedAndRetained: what the configuration says of closed segments is asked for each time, so that a change of it
// needs no restart.
func TestJournalIsShippedAndRetained(t *testing.T) {
	clock := &fakeClock{now: day0}
	d := disk()
	o := options(t, d, clock)
	var keep Keep
	var told []Event
	o.Keep = func() Keep { return keep }
	o.Event = func(e Event) { told = append(told, e) }
	b := open(t, o)
	for day := range 5 {
		clock.set(day0 + ipam.Seconds(day)*ipam.Day)
		allocate(t, b, request(day))
		b.keep(t.Context())
	}
	if n := segmentsOf(t, d); n != 5 || len(told) > 0 {
		t.Fatalf("%d segments and events %v before anything is configured, want one for each day and none", n, told)
	}
	mount := filepath.Join(t.TempDir(), "mnt")
	folder := filepath.Join(mount, "r1h2")
	keep = Keep{Sink: journal.FolderSink(folder), Retention: 2 * ipam.Day}
	b.keep(t.Context())
	if n := segmentsOf(t, d); n != 5 || len(told) != 1 || told[0].Why != NotShipped {
		t.Fatalf("%d segments and events %v while the sink is not mounted, want all and %q", n, told, NotShipped)
	}
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	told = nil
	b.keep(t.Context())
	copies := segmentsOf(t, journal.Dir(folder))
	if n := segmentsOf(t, d); n != 4 || copies != 4 { // the last one is open, and day 1 ended two days ago, not earlier
		t.Errorf("%d segments stay and %d are copied, want 4 and 4; events %v", n, copies, told)
	}
	if want := (Event{SegmentsTaken, "4 segments"}); len(told) != 2 || told[0] != want || told[1].Why != SegmentLeft {
		t.Errorf("events %v, want the copies and one segment removed", told)
	}
	// Without retention all copies stay here as well, and nothing is shipped twice.
	keep.Retention, told = 0, nil
	b.keep(t.Context())
	if len(told) > 0 {
		t.Errorf("events %v, want none", told)
	}
}

func segmentsOf(t *testing.T, fsys journal.FS) int {
	t.Helper()
	all, err := journal.Segments(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
