package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/agent/journal"
	"hexapod.dev/agent/journal/crashfs"
)

// notebook is the smallest owner of a journal: it keeps every record it was ever told of.
type notebook struct {
	*journal.Journal
	lines []string
}

func (n *notebook) checkpoint(emit func([]byte)) {
	for _, l := range n.lines {
		emit([]byte(l))
	}
}

func openNotebook(t testing.TB, fs journal.FS) *notebook {
	t.Helper()
	n, err := tryNotebook(fs)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryNotebook(fs journal.FS) (*notebook, error) {
	n := &notebook{}
	var err error
	n.Journal, err = journal.Open(journal.Options{FS: fs, Checkpoint: n.checkpoint}, func(b []byte) error {
		n.lines = append(n.lines, string(b))
		return nil
	})
	return n, err
}

func (n *notebook) write(day int64, line string) error {
	return n.Enqueue(day, []byte(line), func() { n.lines = append(n.lines, line) }).Wait()
}

func (n *notebook) mustWrite(t testing.TB, day int64, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if err := n.write(day, l); err != nil {
			t.Fatal(err)
		}
	}
}

func newDisk(seed uint64) *crashfs.Disk { return crashfs.New(rand.New(rand.NewPCG(seed, 0))) }

func segments(t testing.TB, fs journal.FS) []journal.Segment {
	t.Helper()
	all, err := journal.Segments(fs)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func equal(t testing.TB, what string, want, got []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestRecordsComeBackAfterCloseAndAfterAPowerCut(t *testing.T) {
	disk := newDisk(1)
	n := openNotebook(t, disk)
	n.mustWrite(t, 7, "one", "two", "")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = openNotebook(t, disk)
	n.mustWrite(t, 7, "three")
	n.mustWrite(t, 8, "four")
	n = openNotebook(t, disk.Reboot())
	equal(t, "after the cut", []string{"one", "two", "", "three", "four"}, n.lines)
}

func TestSegmentsAreByDayAndBySize(t *testing.T) {
	disk := newDisk(1)
	n := &notebook{}
	var err error
	n.Journal, err = journal.Open(journal.Options{FS: disk, Checkpoint: n.checkpoint, SegmentLimit: 2000}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.mustWrite(t, 1, "a")
	n.mustWrite(t, 1, "b")
	n.mustWrite(t, 3, "c")
	n.mustWrite(t, 2, "d") // a clock that stepped back opens nothing
	n.mustWrite(t, 3, strings.Repeat("x", 2000), "e")
	var days []int64
	for _, s := range segments(t, disk) {
		days = append(days, s.Day)
	}
	if !slices.Equal(days, []int64{1, 3, 3}) {
		t.Errorf("days of the segments: got %v, want [1 3 3]", days)
	}
}

func TestManyAppendersShareACommit(t *testing.T) {
	n := openNotebook(t, newDisk(1))
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			for k := range 20 {
				if err := n.write(1, fmt.Sprint(i, k)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if len(n.lines) != 4000 {
		t.Errorf("%d records, want 4000", len(n.lines))
	}
}

func TestOneWriter(t *testing.T) {
	for name, fs := range map[string]journal.FS{"simulated": newDisk(1), "real": journal.Dir(t.TempDir())} {
		n := openNotebook(t, fs)
		if _, err := tryNotebook(fs); err == nil {
			t.Errorf("%s: a second writer was let in", name)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.write(1, "late"); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("%s: after Close: got %v", name, err)
		}
		if err := openNotebook(t, fs).Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Every byte of a journal is damaged once. Damage of what was answered must be told; only the last batch, which nothing follows,
// may look torn.
func TestDamageIsTold(t *testing.T) {
	build := func() (*crashfs.Disk, journal.Segment) {
		disk := newDisk(1)
		n := openNotebook(t, disk)
		n.mustWrite(t, 1, "one", "two", "three", "four")
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		return disk, segments(t, disk)[0]
	}
	disk, s := build()
	reports, err := journal.Verify(disk, nil)
	if err != nil || len(reports) != 1 || reports[0].Problem != nil || reports[0].Records != 4 {
		t.Fatalf("undamaged: %+v, %v", reports, err)
	}
	size := reports[0].Bytes
	last := size - 21 - 5 // header and "four" behind its length
	for at := range size {
		disk, _ := build()
		if err := disk.Damage(s.Name(), at); err != nil {
			t.Fatal(err)
		}
		n, err := tryNotebook(disk)
		var corrupt *journal.CorruptError
		if at < last {
			if !errors.As(err, &corrupt) || corrupt.File != s.Name() || corrupt.Offset > at {
				t.Errorf("byte %d: got %v, want damage at or before it", at, err)
			}
			continue
		}
		if err != nil || !slices.Equal(n.lines, []string{"one", "two", "three"}) {
			t.Errorf("byte %d of the last batch: got %v, %v", at, n.lines, err)
		}
	}
}

func TestDamageBelowALaterSegmentIsTold(t *testing.T) {
	disk := newDisk(1)
	n := openNotebook(t, disk)
	n.mustWrite(t, 1, "one")
	n.mustWrite(t, 2, "two")
	first := segments(t, disk)[0]
	reports, err := journal.Verify(disk, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.Damage(first.Name(), reports[0].Bytes-1); err != nil {
		t.Fatal(err)
	}
	var corrupt *journal.CorruptError
	if err := journal.Read(disk, segments(t, disk), 0, func([]byte) error { return nil }); !errors.As(err, &corrupt) {
		t.Errorf("got %v, want damage: a later segment says that byte was answered for", err)
	}
}

// After a failed sync the running system shows bytes the disk does not have. Whoever is answered must survive a cut all the same.
func TestFailedSyncBeginsANewSegment(t *testing.T) {
	for _, fails := range []int{1, 2, 3} {
		disk := newDisk(uint64(fails))
		n := openNotebook(t, disk)
		n.mustWrite(t, 1, "one")
		disk.FailSyncs(fails)
		var answered []string
		for _, line := range []string{"two", "three", "four"} {
			err := n.write(1, line)
			var write *journal.WriteError
			if err != nil && !errors.As(err, &write) {
				t.Fatal(err)
			}
			if err == nil {
				answered = append(answered, line)
			}
		}
		if len(segments(t, disk)) < 2 || !slices.Contains(answered, "four") {
			t.Errorf("%d failed syncs: %d segments, answered %v", fails, len(segments(t, disk)), answered)
		}
		again := openNotebook(t, disk.Reboot())
		equal(t, fmt.Sprintf("%d failed syncs, then a cut", fails), append([]string{"one"}, answered...), again.lines)
	}
}

func TestFailedFolderSyncIsNotAnswered(t *testing.T) {
	disk := newDisk(1)
	n := openNotebook(t, disk)
	n.mustWrite(t, 1, "one")
	disk.FailDirSyncs(1)
	var write *journal.WriteError
	if err := n.write(2, "two"); !errors.As(err, &write) {
		t.Fatalf("got %v, want a write error", err)
	}
	n.mustWrite(t, 2, "three")
	equal(t, "after a cut", []string{"one", "three"}, openNotebook(t, disk.Reboot()).lines)
}

func TestDiskFullAndBack(t *testing.T) {
	for space := range int64(400) {
		disk := newDisk(uint64(space))
		n := openNotebook(t, disk)
		n.mustWrite(t, 1, "one")
		disk.SetSpace(space)
		answered := []string{"one"}
		for i := range 30 {
			line := fmt.Sprintf("line %d", i)
			err := n.write(1+int64(i/10), line)
			var full *journal.FullError
			switch {
			case err == nil:
				answered = append(answered, line)
			case !errors.As(err, &full):
				t.Fatalf("%d bytes left: %v", space, err)
			}
		}
		disk.SetSpace(-1)
		n.mustWrite(t, 3, "back")
		answered = append(answered, "back")
		equal(t, fmt.Sprintf("%d bytes left", space), answered, n.lines)
		if reports, err := journal.Verify(disk, nil); err != nil || slices.ContainsFunc(reports, func(r journal.Report) bool { return r.Problem != nil || r.Torn != 0 }) {
			t.Errorf("%d bytes left: %+v, %v", space, reports, err)
		}
		equal(t, fmt.Sprintf("%d bytes left, after a cut", space), answered, openNotebook(t, disk.Reboot()).lines)
	}
}

func TestTooLargeARecordIsRefused(t *testing.T) {
	n := openNotebook(t, newDisk(1))
	if err := n.write(1, strings.Repeat("x", journal.MaxRecord+1)); err == nil {
		t.Error("no error")
	}
	n.mustWrite(t, 1, strings.Repeat("x", journal.MaxRecord))
}

type listSink struct {
	got  map[string][]byte
	fail error
}

func (s *listSink) Put(_ context.Context, name string, r io.Reader) error {
	if s.fail != nil {
		return s.fail
	}
	b, err := io.ReadAll(r)
	s.got[name] = b
	return err
}

func TestShipAndRetain(t *testing.T) {
	disk := newDisk(1)
	n := openNotebook(t, disk)
	for day := range int64(5) {
		n.mustWrite(t, day, fmt.Sprint("day ", day))
	}
	sink := &listSink{got: map[string][]byte{}, fail: errors.New("the sink is away")}
	if _, err := journal.Ship(t.Context(), disk, sink); !errors.Is(err, sink.fail) {
		t.Errorf("got %v", err)
	}
	if gone, err := journal.Retain(disk, 3, true); err != nil || len(gone) != 0 {
		t.Errorf("removed %v, %v before they were shipped", gone, err)
	}
	sink.fail = nil
	if took, err := journal.Ship(t.Context(), disk, sink); err != nil || took != 4 {
		t.Errorf("shipped %d, %v; want the 4 closed segments", took, err)
	}
	if took, err := journal.Ship(t.Context(), disk, sink); err != nil || took != 0 {
		t.Errorf("shipped %d again, %v", took, err)
	}
	if gone, err := journal.Retain(disk, 3, true); err != nil || len(gone) != 2 { // day 2 ends where day 3 begins
		t.Errorf("removed %v, %v; want days 0 and 1", gone, err)
	}
	copies := copyOf(t, sink.got)
	var lines []string
	for i := range segments(t, copies) {
		if err := journal.Read(copies, segments(t, copies), i, func(b []byte) error { lines = append(lines, string(b)); return nil }); err != nil {
			t.Error(err)
		}
	}
	if !slices.Contains(lines, "day 0") || !slices.Contains(lines, "day 3") {
		t.Errorf("the copies say %v", lines)
	}
	n = openNotebook(t, disk.Reboot())
	equal(t, "after retention and a cut", []string{"day 0", "day 1", "day 2", "day 3", "day 4"}, n.lines)
}

// copyOf writes shipped segments into a folder of the real file system.
func copyOf(t *testing.T, files map[string][]byte) journal.Dir {
	dir := t.TempDir()
	for name, b := range files {
		if err := journal.FolderSink(dir).Put(t.Context(), name, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	return journal.Dir(dir)
}

// TestFolderSinkBelowAMount: what is not mounted is not there, and nothing is written in its place.
func TestFolderSinkBelowAMount(t *testing.T) {
	mount := filepath.Join(t.TempDir(), "mnt")
	sink := journal.FolderSink(filepath.Join(mount, "elm"))
	if err := sink.Put(t.Context(), "segment", strings.NewReader("bytes")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that the folder is not there", err)
	}
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"half", "whole"} { // the second replaces what the first left
		if err := sink.Put(t.Context(), "segment", strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(mount, "elm", "segment")); err != nil || string(got) != "whole" {
		t.Errorf("the folder holds %q, %v", got, err)
	}
}

func TestCommandSink(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	sink := journal.CommandSink{"sh", "-c", `{ echo "$0"; cat; } > ` + out}
	if err := sink.Put(t.Context(), "segment", strings.NewReader("bytes")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "segment\nbytes" {
		t.Errorf("the command got %q, %v", got, err)
	}
	if err := (journal.CommandSink{"sh", "-c", "echo no room >&2; exit 3"}).Put(t.Context(), "segment", strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a failing command: got %v, want its words", err)
	}
}

func TestRealFolder(t *testing.T) {
	dir, err := journal.MakeDir(filepath.Join(t.TempDir(), "state", "journal"))
	if err != nil {
		t.Fatal(err)
	}
	n := openNotebook(t, dir)
	n.mustWrite(t, 1, "one", "two")
	n.mustWrite(t, 2, "three")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = openNotebook(t, dir)
	equal(t, "reopened", []string{"one", "two", "three"}, n.lines)
	if err := n.Settle(2); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzJournal(f *testing.F) {
	disk := newDisk(1)
	n := openNotebook(f, disk)
	n.mustWrite(f, 1, "one", "two")
	s := segments(f, disk)[0]
	file, err := disk.Open(s.Name())
	if err != nil {
		f.Fatal(err)
	}
	size, err := file.Size()
	if err != nil {
		f.Fatal(err)
	}
	whole := make([]byte, size)
	if _, err := file.ReadAt(whole, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(slices.Clone(whole), make([]byte, 512)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := newDisk(1)
		file, err := disk.Create(s.Name())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		n, err := tryNotebook(disk)
		if err != nil {
			var corrupt *journal.CorruptError
			if !errors.As(err, &corrupt) || corrupt.Offset > int64(len(b)) {
				t.Fatalf("got %v, want where the damage is", err)
			}
			return
		}
		// Whatever was accepted must be there again, with what follows, after the next start.
		before := slices.Clone(n.lines)
		n.mustWrite(t, 1, "next")
		again := openNotebook(t, disk.Reboot())
		equal(t, "reopened", append(before, "next"), again.lines)
	})
}
