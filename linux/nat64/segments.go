package nat64

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GrantFolder is the folder that the log of grants lies in: a row of segments, one for each day in UTC.
//
// A segment begins with the grants that hold on, so that any before it may be removed, and counts from the record on that ends this. The
// first of a folder has nothing to carry and counts always.
type GrantFolder string

// Segment is a segment of the log of grants.
type Segment struct {
	Number uint64
	Day    string // in UTC, like 2026-01-31; empty: it is older than all that have one
}

// firstSegment is the name that the whole log had before there were segments. It is number 0.
const firstSegment = "grants.log"

// Name is the name of a segment's file.
func (s Segment) Name() string {
	if s.Number == 0 {
		return firstSegment
	}
	return fmt.Sprintf("grants-%010d-%s.log", s.Number, s.Day)
}

func parseSegment(name string) (Segment, bool) {
	if name == firstSegment {
		return Segment{}, true
	}
	number, day, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(name, "grants-"), ".log"), "-")
	n, err := strconv.ParseUint(number, 10, 63)
	_, derr := time.Parse(time.DateOnly, day)
	s := Segment{n, day}
	return s, ok && err == nil && derr == nil && s.Name() == name
}

// Path is the path of a segment's file.
func (d GrantFolder) Path(s Segment) string { return filepath.Join(string(d), s.Name()) }

// list returns all segments, oldest first, also those that do not count.
func (d GrantFolder) list() (all []Segment, err error) {
	entries, err := os.ReadDir(string(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("log of NAT64 grants: %w", err)
	}
	for _, e := range entries {
		if s, ok := parseSegment(e.Name()); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Segment) int { return cmp.Compare(a.Number, b.Number) })
	return all, nil
}

// begun reports whether a segment has the record that its begin ends with.
func (d GrantFolder) begun(s Segment) (yes bool, err error) {
	f, err := os.Open(d.Path(s))
	if err != nil {
		return false, fmt.Errorf("log of NAT64 grants: %w", err)
	}
	defer f.Close()
	_, err = eachRecord(f, func(r Record) bool { yes = r.Segment != 0; return r.Carried })
	return yes, err
}

// Segments returns the segments that count, oldest first: the last one is written.
func (d GrantFolder) Segments() (list []Segment, err error) {
	all, err := d.list()
	if err != nil {
		return nil, err
	}
	for i, s := range all {
		counts := i == 0
		if !counts {
			counts, err = d.begun(s)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // it was removed meanwhile
		case err != nil:
			return nil, err
		case counts:
			list = append(list, s)
		}
	}
	return list, nil
}

// Open opens the segment that is written, to be read and appended to. In a folder without any it makes the first, of a day.
func (d GrantFolder) Open(day string) (*os.File, error) {
	list, err := d.Segments()
	if err != nil {
		return nil, err
	}
	s := Segment{1, day}
	if len(list) > 0 {
		s = list[len(list)-1]
	}
	return d.open(s)
}

func (d GrantFolder) open(s Segment) (*os.File, error) {
	f, err := os.OpenFile(d.Path(s), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of NAT64 grants: %w", err)
	}
	return f, nil
}

// Next opens the file of the segment that is to be begun on a day: a new one, or one of that day that was not begun.
func (d GrantFolder) Next(day string) (s Segment, f *os.File, err error) {
	all, err := d.list()
	if err != nil {
		return s, nil, err
	}
	s = Segment{1, day}
	if n := len(all); n > 0 {
		last := all[n-1]
		begun := true
		if n > 1 && last.Day == day {
			if begun, err = d.begun(last); err != nil {
				return s, nil, err
			}
		}
		if s.Number = last.Number; begun {
			s.Number++
		}
	}
	f, err = d.open(s)
	return s, f, err
}

// Retain removes the segments that ended before a day, those not above a number alone, and the files before the last segment that were
// never begun. It returns the segments that are gone.
func (d GrantFolder) Retain(day string, through uint64) (gone []Segment, err error) {
	all, err := d.list()
	if err != nil {
		return nil, err
	}
	list, err := d.Segments()
	if err != nil || len(list) == 0 {
		return nil, err
	}
	for _, s := range all { // first, or one of them could become the first
		if s.Number < list[len(list)-1].Number && !slices.Contains(list, s) {
			if err := os.Remove(d.Path(s)); err != nil {
				return nil, fmt.Errorf("log of NAT64 grants: %w", err)
			}
		}
	}
	for i := 0; i+1 < len(list) && list[i+1].Day < day && list[i].Number <= through; i++ {
		if err := os.Remove(d.Path(list[i])); err != nil {
			return gone, fmt.Errorf("log of NAT64 grants: %w", err)
		}
		gone = append(gone, list[i])
	}
	return gone, nil
}

// Who answers who had a port of an address at a time, from all segments; false: nobody. It may run beside the translator.
func (d GrantFolder) Who(addr netip.Addr, port uint16, at time.Time) (h Had, found bool, err error) {
	list, err := d.Segments()
	if err != nil {
		return h, false, err
	}
	var records []Record
	for _, s := range list {
		f, err := os.Open(d.Path(s))
		if errors.Is(err, fs.ErrNotExist) { // it was removed meanwhile
			continue
		}
		if err == nil {
			_, err = eachRecord(f, func(r Record) bool {
				if r.about(addr, port) {
					records = append(records, r)
				}
				return true
			})
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return h, false, fmt.Errorf("log of NAT64 grants: segment %s: %w", s.Name(), err)
		}
	}
	h, found = Who(records, addr, port, at)
	return h, found, nil
}
