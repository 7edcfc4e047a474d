package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Retain removes the segments that ended before day, and returns them. With shipped, those not shipped yet stay. The last segment
// always stays: a start needs it.
func Retain(fsys FS, day int64, shipped bool) ([]Segment, error) {
	all, err := Segments(fsys)
	if err != nil {
		return nil, err
	}
	through := uint64(1<<64 - 1)
	if shipped {
		if through, err = shippedThrough(fsys); err != nil {
			return nil, err
		}
	}
	var gone []Segment
	for i := 0; i+1 < len(all) && all[i+1].Day < day && all[i].Number <= through; i++ {
		if err := fsys.Remove(all[i].Name()); err != nil {
			return gone, fmt.Errorf("remove journal segment %s: %w", all[i].Name(), err)
		}
		gone = append(gone, all[i])
	}
	return gone, nil
}

// Sink takes closed segments to a place that outlives the host. Put is called again for the same name when it failed or when the
// host died before it was noted; it replaces what it left.
type Sink interface {
	Put(ctx context.Context, name string, segment io.Reader) error
}

// shippedName is the file that holds the number of the last shipped segment, 8 bytes little-endian.
const shippedName = "shipped"

// Ship gives every closed segment that was not shipped yet to the sink, oldest first, and returns how many it took. It goes on
// where an earlier call ended.
func Ship(ctx context.Context, fsys FS, sink Sink) (int, error) {
	all, err := Segments(fsys)
	if err != nil {
		return 0, err
	}
	through, err := shippedThrough(fsys)
	if err != nil {
		return 0, err
	}
	n := 0
	for i := 0; i+1 < len(all); i++ {
		if all[i].Number <= through {
			continue
		}
		if err := shipOne(ctx, fsys, all, i, sink); err != nil {
			return n, fmt.Errorf("ship journal segment %s: %w", all[i].Name(), err)
		}
		n++
	}
	return n, nil
}

func shipOne(ctx context.Context, fsys FS, all []Segment, i int, sink Sink) error {
	limit, err := limitOf(fsys, all, i)
	if err != nil {
		return err
	}
	f, err := fsys.Open(all[i].Name())
	if err != nil {
		return err
	}
	if limit < 0 {
		if limit, err = f.Size(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	err = sink.Put(ctx, all[i].Name(), io.NewSectionReader(f, 0, limit))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return noteShipped(fsys, all[i].Number)
}

func shippedThrough(fsys FS) (uint64, error) {
	names, err := fsys.List()
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	for _, name := range names {
		if name != shippedName {
			continue
		}
		f, err := fsys.Open(name)
		if err != nil {
			return 0, fmt.Errorf("journal: %w", err)
		}
		var b [8]byte
		_, rerr := f.ReadAt(b[:], 0)
		if err := f.Close(); err != nil {
			return 0, fmt.Errorf("journal: %w", err)
		}
		if rerr != nil { // too short: shipping again is harmless
			return 0, nil
		}
		return binary.LittleEndian.Uint64(b[:]), nil
	}
	return 0, nil
}

func noteShipped(fsys FS, number uint64) error {
	const temp = shippedName + tempSuffix
	if err := fsys.Remove(temp); err != nil {
		return err
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, number), 0)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(fsys.Rename(temp, shippedName), fsys.SyncDir())
}

// Report is what Verify found in one segment.
type Report struct {
	Segment  Segment
	Bytes    int64 // that count
	Torn     int64 // behind them: never answered for
	Records  int   // since its beginning
	Problem  error // nil: whole
	Previous uint64
}

// Verify reads every segment and its checksums. check (or nil) is called with each record and may object to it. It may run beside
// the writer.
func Verify(fsys FS, check func(record []byte) error) ([]Report, error) {
	all, err := Segments(fsys)
	if err != nil {
		return nil, err
	}
	var reports []Report
	for i, s := range all {
		report := Report{Segment: s}
		limit, err := limitOf(fsys, all, i)
		if err == nil {
			var r *reader
			r, err = readSegment(fsys, s, limit, func(b []byte) error {
				report.Records++
				if check == nil {
					return nil
				}
				return check(b)
			})
			if r != nil {
				report.Bytes, report.Previous = r.offset, r.header.previous
				report.Torn = r.size - r.offset
			}
		}
		if !errors.Is(err, errLive) {
			report.Problem = err
		}
		reports = append(reports, report)
	}
	return reports, nil
}
