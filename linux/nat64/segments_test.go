package nat64

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/xlat/nat64"
)

// shelf is a folder of segments, the translator's side of them, and what was told to it.
type shelf struct {
	*testing.T
	GrantFolder
	file *os.File
	log  *Grants
	told []Record
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{T: t, GrantFolder: GrantFolder(t.TempDir())}
	s.restart("2026-01-30")
	return s
}

// restart is what a translator does that is started after another one was killed, on a day; it has no more than the files.
func (s *shelf) restart(day string) (living []nat64.Grant) {
	s.Helper()
	if s.file != nil {
		s.file.Close()
	}
	var err error
	if s.file, err = s.Open(day); err == nil {
		s.log, living, err = openGrants(s.file, nil)
	}
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { s.file.Close() })
	return living
}

// next begins the segment of a day.
func (s *shelf) next(day string) {
	s.Helper()
	segment, f, err := s.Next(day)
	if err != nil {
		s.Fatal(err)
	}
	if taken, err := s.log.begin(segment.Number, f); err != nil || !taken {
		s.Fatal(segment, taken, err)
	}
	s.file.Close()
	s.file = f
}

func (s *shelf) write(r Record) {
	s.Helper()
	if err := s.log.write(r); err != nil {
		s.Fatal(err)
	}
	s.told = append(s.told, r)
}

// whole wants every record that was told in the segments that are there, once and in order.
func (s *shelf) whole() {
	s.Helper()
	list, err := s.Segments()
	if err != nil {
		s.Fatal(err)
	}
	var got []Record
	for _, segment := range list {
		f, err := os.Open(s.Path(segment))
		if err != nil {
			s.Fatal(err)
		}
		records, _, err := ReadRecords(f)
		f.Close()
		if err != nil {
			s.Fatal(err)
		}
		for _, r := range records {
			if !r.Carried && r.Segment == 0 {
				r.Time = time.Time{}
				got = append(got, r)
			}
		}
	}
	if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", s.told); a != b {
		s.Errorf("the segments say\n%s\nwant\n%s", a, b)
	}
}

func (s *shelf) names() (names []string) {
	s.Helper()
	entries, err := os.ReadDir(string(s.GrantFolder))
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func block(n uint16) nat64.Block {
	return nat64.Block{Addr: poolAddr, First: nat64.BlockSize * n}
}

// Segments of days answer who had a port as one log does; what an older one held lives on in the next, so that it can be removed.
func TestSegments(t *testing.T) {
	s := newShelf(t)
	other := netip.MustParseAddr("2001:db8:1::6")
	begin := time.Now().Add(-time.Hour)
	s.write(Record{Gateways: []string{"g1", "g2"}})
	s.write(record(EventGranted, "", block(2), endpointAddr))
	s.write(record(EventGranted, "", block(3), other))
	s.write(record(EventGranted, "g2", block(4), other))
	s.next("2026-01-31")
	s.write(record(EventReturned, "", block(3), other))
	s.write(record(EventGranted, "g2", block(2), endpointAddr)) // it goes on there
	s.next("2026-02-01")
	s.write(record(EventGranted, "", block(5), endpointAddr))
	s.whole()
	want := []string{"grants-0000000001-2026-01-30.log", "grants-0000000002-2026-01-31.log", "grants-0000000003-2026-02-01.log"}
	if got := s.names(); !slices.Equal(got, want) {
		t.Fatalf("files %q, want %q", got, want)
	}
	who := func(what string, n uint16, at time.Time, want string) {
		t.Helper()
		h, found, err := s.Who(poolAddr, nat64.BlockSize*n+7, at)
		if err != nil {
			t.Fatal(err)
		}
		got := "nobody"
		if found {
			got = strings.TrimSpace(h.Endpoint.String() + " " + h.Gateway)
		}
		if got != want {
			t.Errorf("%s: block %d: %s, want %s", what, n, got, want)
		}
	}
	end := time.Now().Add(time.Second)
	check := func(what string) {
		who(what, 2, begin, "nobody")
		who(what, 2, end, "2001:db8:1::5 g2")
		who(what, 3, end, "nobody")
		who(what, 4, end, "2001:db8:1::6 g2")
		who(what, 5, end, "2001:db8:1::5")
	}
	check("all segments")
	h, _, _ := s.Who(poolAddr, nat64.BlockSize*2, end)

	for _, c := range []struct {
		day     string
		through uint64
		want    []string
	}{{"2026-01-31", 9, nil}, {"2026-02-01", 0, nil}, {"2026-02-01", 9, want[:1]}, {"2026-03-01", 9, want[1:2]}, {"2027-01-01", 9, nil}} {
		gone, err := s.Retain(c.day, c.through)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, g := range gone {
			names = append(names, g.Name())
		}
		if !slices.Equal(names, c.want) {
			t.Errorf("before %s: gone %q, want %q", c.day, names, c.want)
		}
		check("what began before " + c.day + " is gone")
	}
	if again, _, _ := s.Who(poolAddr, nat64.BlockSize*2, end); again.From != h.From {
		t.Errorf("a grant that was carried began %v, want %v", again.From, h.From)
	}
	if living := s.restart("2026-02-02"); len(living) != 1 || living[0].Block != block(5) {
		t.Errorf("living %+v", living)
	}
	if got := fmt.Sprint(s.log.gateways); got != "[g1 g2]" {
		t.Errorf("gateways %s", got)
	}
}

// A log of before there were segments is the first one.
func TestSegmentsFollowOneFile(t *testing.T) {
	folder := GrantFolder(t.TempDir())
	line := `{"observationTimeMilliseconds":"2026-01-01T00:00:00Z","natEvent":16,"sourceIPv6Address":"2001:db8:1::5","postNATSourceIPv4Address":"45.0.0.1","portRangeStart":2048,"portRangeEnd":3071}` + "\n"
	if err := os.WriteFile(filepath.Join(string(folder), "grants.log"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &shelf{T: t, GrantFolder: folder}
	if living := s.restart("2026-01-31"); len(living) != 1 {
		t.Fatalf("living %+v", living)
	}
	s.next("2026-01-31")
	if gone, err := s.Retain("2026-02-01", 9); err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	if h, found, err := s.Who(poolAddr, 2050, time.Now()); err != nil || !found || h.From.Year() != 2026 || h.From.YearDay() != 1 {
		t.Errorf("%+v, %v, %v", h, found, err)
	}
}

// dying is a file whose writer ends after so many bytes, as by kill -9, or has no room for more; Truncate may come too late, too.
type dying struct {
	*os.File
	room int
	full bool // else it died
}

var errDied = errors.New("killed")

func (d *dying) Write(b []byte) (int, error) {
	if len(b) <= d.room {
		d.room -= len(b)
		return d.File.Write(b)
	}
	n, err := d.File.Write(b[:d.room])
	d.room = 0
	if err == nil {
		err = errDied
		if d.full {
			err = unix.ENOSPC
		}
	}
	return n, err
}

func (d *dying) Truncate(size int64) error {
	if d.room == 0 && !d.full {
		return errDied
	}
	return d.File.Truncate(size)
}

// Whenever translator and agent end while a segment begins, no record is lost and none is there twice; and the next segment begins well.
func TestSegmentBeginsWholeOrNot(t *testing.T) {
	for _, full := range []bool{false, true} {
		for room := 0; ; room += 7 {
			s := newShelf(t)
			s.write(record(EventGranted, "", block(2), endpointAddr))
			s.write(record(EventGranted, "g2", block(3), endpointAddr))
			segment, f, err := s.Next("2026-01-31")
			if err != nil {
				t.Fatal(err)
			}
			taken, err := s.log.begin(segment.Number, &dying{f, room, full})
			if taken != (err == nil) {
				t.Fatal(taken, err)
			}
			if full && err != nil {
				s.write(record(EventReturned, "", block(2), endpointAddr)) // it goes on in the one before
				s.write(record(EventGranted, "", block(2), endpointAddr))
			}
			f.Close()
			living := s.restart("2026-01-31")
			if len(living) != 1 || living[0].Block != block(2) {
				t.Fatalf("room for %d bytes: living %+v", room, living)
			}
			s.write(record(EventGranted, "", block(4), endpointAddr))
			s.next("2026-01-31") // in the same file, if that was not begun
			s.write(record(EventReturned, "", block(4), endpointAddr))
			s.whole()
			if living := s.restart("2026-01-31"); len(living) != 1 || living[0].Block != block(2) {
				t.Fatalf("room for %d bytes: living after the next segment %+v", room, living)
			}
			if _, err := s.Retain("2026-01-01", 99); err != nil {
				t.Fatal(err)
			}
			s.whole()
			list, err := s.Segments()
			if err != nil || len(s.names()) != len(list) {
				t.Fatalf("room for %d bytes: files %q, segments %v, %v", room, s.names(), list, err)
			}
			if h, found, err := s.Who(poolAddr, 2*nat64.BlockSize, time.Now().Add(time.Second)); err != nil || !found || h.Endpoint != endpointAddr {
				t.Fatalf("room for %d bytes: %+v, %v, %v", room, h, found, err)
			}
			if taken {
				break
			}
		}
	}
}

// An agent asks again for what the one before it asked for; a segment that is over, or that somebody else began, is never written to.
func TestSegmentAskedAgain(t *testing.T) {
	s := newShelf(t)
	s.write(record(EventGranted, "", block(2), endpointAddr))
	empty, f, err := s.Next("2026-01-31")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	again, f, err := s.Next("2026-01-31")
	if err != nil || again != empty {
		t.Fatalf("%v, want %v again: %v", again, empty, err)
	}
	defer f.Close()
	if taken, err := s.log.begin(again.Number, f); err != nil || !taken {
		t.Fatal(taken, err)
	}
	if taken, err := s.log.begin(again.Number, f); err != nil || taken {
		t.Fatalf("asked again: %v, %v", taken, err)
	}
	s.write(record(EventGranted, "", block(3), endpointAddr))
	if taken, err := s.log.begin(again.Number-1, f); err == nil || taken {
		t.Fatalf("one that is over: %v, %v", taken, err)
	}
	other, err := os.OpenFile(s.Path(again), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if taken, err := s.log.begin(again.Number+1, other); err == nil || taken {
		t.Fatalf("one that another began: %v, %v", taken, err)
	}
	s.whole()
}

// limited takes so many bytes and then has no room, as a full disk.
type limited struct {
	bytes.Buffer
	room int
}

func (l *limited) Write(b []byte) (int, error) {
	n, _ := l.Buffer.Write(b[:min(len(b), l.room)])
	if l.room -= n; n < len(b) {
		return n, unix.ENOSPC
	}
	return n, nil
}

// On a full disk lines wait, whole or in part; with room again, or in the next translator, they are written, each once. Those that are
// too many are counted.
func TestGrantsOnFullDisk(t *testing.T) {
	grant := record(EventGranted, "", block(2), endpointAddr)
	for room := range 400 {
		file := &limited{room: room}
		g, _, err := openGrants(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		var last error
		for i := range 4 {
			grant.First = uint16(i+2) * nat64.BlockSize
			last = g.write(grant)
		}
		if n, _ := g.behind(); !errors.Is(last, unix.ENOSPC) || n < 1 {
			t.Fatalf("room %d: %d lines wait, %v", room, n, last)
		}
		file.room = 1 << 20
		if room%2 == 0 {
			err = g.flush()
		} else { // another one takes over, with what this one leaves
			read := bytes.NewReader(bytes.Clone(file.Bytes()))
			var living []nat64.Grant
			g, living, err = openGrants(struct {
				io.Reader
				io.Writer
			}{read, file}, g.waiting)
			if len(living) != 4 {
				t.Fatalf("room %d: living %+v", room, living)
			}
		}
		if n, lost := g.behind(); err != nil || n != 0 || lost != 0 {
			t.Fatalf("room %d: %d lines wait, %d are lost, %v", room, n, lost, err)
		}
		records, whole, err := ReadRecords(bytes.NewReader(file.Bytes()))
		if err != nil || !whole || len(records) != 4 || strings.Count(file.String(), "\n") != 4 {
			t.Fatalf("room %d: %v, %v:\n%s", room, whole, err, file.String())
		}
	}

	file := &limited{}
	g, _, _ := openGrants(file, nil)
	n := 0
	for ; g.lost < 3; n++ {
		if err := g.write(grant); err == nil {
			t.Fatal("written to a full disk")
		}
	}
	if waiting, lost := g.behind(); waiting+int(lost) != n || len(g.waiting) > mostWaiting {
		t.Errorf("%d wait and %d are lost of %d", waiting, lost, n)
	}
	if taken, err := g.begin(5, nil); taken || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a segment begins while lines wait for the one before: %v, %v", taken, err)
	}
	file.room = 1 << 30
	if err := g.write(grant); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(file.String(), "\n"); got != n-3+1 {
		t.Errorf("%d lines are written, want %d", got, n-3+1)
	}
}
