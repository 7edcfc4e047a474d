package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Segment is one file of a journal.
type Segment struct {
	Number uint64
	Day    int64 // of its first records, in days since the owner's epoch
}

const (
	segmentSuffix = ".hxj"
	tempSuffix    = ".new"
)

// Name returns the segment's file name: number and day, so that a folder sorts by time.
func (s Segment) Name() string {
	return fmt.Sprintf("%010d-day%06d%s", s.Number, s.Day, segmentSuffix)
}

func parseName(name string) (Segment, bool) {
	number, day, ok := strings.Cut(strings.TrimSuffix(name, segmentSuffix), "-day")
	if !ok || !strings.HasSuffix(name, segmentSuffix) {
		return Segment{}, false
	}
	n, err1 := strconv.ParseUint(number, 10, 63)
	d, err2 := strconv.ParseInt(day, 10, 63)
	s := Segment{n, d}
	return s, err1 == nil && err2 == nil && s.Name() == name
}

// Segments returns the segments of a folder, oldest first.
func Segments(fs FS) ([]Segment, error) {
	names, err := fs.List()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var all []Segment
	for _, name := range names {
		if s, ok := parseName(name); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Segment) int { return cmp.Compare(a.Number, b.Number) })
	return all, nil
}

// CorruptError says that bytes which were once answered for are not as they were written. Nothing was changed.
type CorruptError struct {
	File   string
	Offset int64
	What   string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal segment %s is damaged at byte %d: %s; restore the file from a copy (the sink's, a backup), or move the journal away to begin a new one", e.File, e.Offset, e.What)
}

// errLive ends the reading of a segment that is still being written, at the first batch that is not whole.
var errLive = errors.New("end of what is written so far")

// reader goes through one segment batch by batch.
type reader struct {
	name     string
	file     File
	limit    int64 // bytes that count
	size     int64 // of the file
	offset   int64 // of the next batch
	sequence uint64
	ended    bool // the checkpoint is complete
	header   header
	buf      []byte
}

// read calls visit with each record of the segment up to limit bytes; -1 means the whole file.
//
// A batch that is not valid ends the reading: with a *CorruptError when it had been answered for, which is so before the end of
// the checkpoint, below an explicit limit, or when a valid batch follows; otherwise with errLive, and r.offset is where the valid
// bytes end.
func (r *reader) read(visit func([]byte) error) error {
	size, err := r.file.Size()
	if err != nil {
		return fmt.Errorf("journal segment %s: %w", r.name, err)
	}
	r.size = size
	explicit, head := r.limit >= 0, r.limit == headOnly
	if !explicit {
		r.limit = size
	}
	if size < r.limit {
		return r.corrupt(size, "the file is shorter than it was")
	}
	for r.offset < r.limit || !r.ended {
		b, ok, err := r.next()
		if err != nil {
			return err
		}
		if !ok {
			return r.judge(explicit)
		}
		if err := r.take(b, visit); err != nil {
			return err
		}
		r.offset += int64(batchHeader + len(b.payload))
		if head {
			return errLive
		}
	}
	return nil
}

// next reads the batch at r.offset. It is false when there is no valid one.
func (r *reader) next() (batch, bool, error) {
	if r.limit-r.offset < int64(batchHeader) {
		return batch{}, false, nil
	}
	r.grow(batchHeader)
	if err := r.fill(r.buf[:batchHeader], r.offset); err != nil {
		return batch{}, false, err
	}
	n, ok := batchLength(r.buf[:batchHeader])
	if !ok || int64(n) > r.limit-r.offset {
		return batch{}, false, nil
	}
	r.grow(n)
	if err := r.fill(r.buf[:n], r.offset); err != nil {
		return batch{}, false, err
	}
	b, ok := parseBatch(r.buf[:n])
	return b, ok && b.sequence > r.sequence, nil
}

func (r *reader) grow(n int) {
	if cap(r.buf) < n {
		r.buf = make([]byte, n, 2*n)
	}
	r.buf = r.buf[:n]
}

func (r *reader) fill(b []byte, at int64) error {
	if n, err := r.file.ReadAt(b, at); n < len(b) {
		return fmt.Errorf("read journal segment %s at byte %d: %w", r.name, at, err)
	}
	return nil
}

// take hands the records of a valid batch on.
func (r *reader) take(b batch, visit func([]byte) error) error {
	var err error
	switch first := r.offset == 0; {
	case first != (b.kind == batchHead), r.ended == (b.kind != batchRecords):
		return r.corrupt(r.offset, fmt.Sprintf("a batch of kind %q does not belong here", b.kind))
	case b.kind == batchHead:
		r.header, err = parseHeader(b.payload)
	case b.kind == batchEnd:
		r.ended = true
	default:
		err = records(b.payload, visit)
	}
	if errors.Is(err, errPayload) || errors.Is(err, errHeader) {
		return r.corrupt(r.offset, err.Error())
	}
	r.sequence = b.sequence
	return err
}

func (r *reader) corrupt(at int64, what string) error {
	return &CorruptError{File: r.name, Offset: at, What: what}
}

// judge decides about the invalid batch at r.offset. A batch is written only after the one before it was made durable, so a
// valid batch behind an invalid one proves that this was once answered for.
func (r *reader) judge(explicit bool) error {
	switch {
	case !r.ended:
		return r.corrupt(r.offset, "the state at its beginning is not whole")
	case explicit:
		return r.corrupt(r.offset, "a record that had been answered for is not whole")
	}
	at, err := r.laterBatch()
	if err != nil {
		return err
	}
	if at >= 0 {
		return r.corrupt(r.offset, fmt.Sprintf("what follows at byte %d is whole", at))
	}
	return errLive
}

// laterBatch looks for a valid batch with a later sequence behind r.offset, at any byte: a damaged length leads nowhere.
func (r *reader) laterBatch() (int64, error) {
	const step = 1 << 20
	window := make([]byte, step+len(batchMagic)-1)
	for start := r.offset + 1; start < r.limit; start += step {
		w := window[:min(int64(len(window)), r.limit-start)]
		if err := r.fill(w, start); err != nil {
			return 0, err
		}
		for i := 0; ; i++ {
			n := bytes.Index(w[i:], []byte(batchMagic))
			if n < 0 || i+n >= step {
				break
			}
			i += n
			probe := reader{name: r.name, file: r.file, limit: r.limit, offset: start + int64(i), sequence: r.sequence}
			if _, ok, err := probe.next(); err != nil || ok {
				return probe.offset, err
			}
		}
	}
	return -1, nil
}

// Read calls visit with each record of the i-th segment of all, the state at its beginning included. It may run beside the
// writer: of the segment that is being written it reads what is whole so far.
func Read(fs FS, all []Segment, i int, visit func(record []byte) error) error {
	limit, err := limitOf(fs, all, i)
	if err != nil {
		return err
	}
	_, err = readSegment(fs, all[i], limit, visit)
	if errors.Is(err, errLive) {
		return nil
	}
	return err
}

// limitOf returns how many bytes of the i-th segment count, as the segment says that went on from it; -1 when none did.
func limitOf(fs FS, all []Segment, i int) (int64, error) {
	for _, later := range all[i+1:] {
		r, err := readSegment(fs, later, headOnly, nil)
		if err != nil && !errors.Is(err, errLive) {
			return 0, err
		}
		switch {
		case r.header.previous == all[i].Number:
			return int64(r.header.previousLength), nil
		case r.header.previous > all[i].Number:
			return -1, nil
		}
	}
	return -1, nil
}

// headOnly as a limit reads nothing but the header.
const headOnly = -2

// readSegment reads a segment whose first limit bytes count; -1: as many as are whole.
func readSegment(fs FS, s Segment, limit int64, visit func([]byte) error) (*reader, error) {
	f, err := fs.Open(s.Name())
	if err != nil {
		return nil, fmt.Errorf("journal segment %s: %w", s.Name(), err)
	}
	r := &reader{name: s.Name(), file: f, limit: limit}
	err = r.read(visit)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("journal segment %s: %w", s.Name(), cerr)
	}
	return r, err
}
