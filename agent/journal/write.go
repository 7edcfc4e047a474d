package journal

import (
	"encoding/binary"
	"errors"
	"syscall"
)

func appendRecord(b, record []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(record))), record...)
}

// write makes a commit durable.
func (j *Journal) write(c *commit) error {
	if len(c.frame) == batchHeader {
		return nil
	}
	if j.file == nil || c.day > j.current.Day || j.length >= j.limit {
		if err := j.begin(max(c.day, j.current.Day)); err != nil {
			return err
		}
	}
	err := j.append(c.frame)
	var unsure *syncError
	if !errors.As(err, &unsure) {
		return err
	}
	// After a failed sync the kernel may have dropped the pages and call them clean, so that a second sync would lie. Only bytes
	// that are written again, to another file, can be answered for.
	if err := j.begin(j.current.Day); err != nil {
		return err
	}
	return j.append(c.frame)
}

// append writes one batch behind the bytes that count.
func (j *Journal) append(frame []byte) error {
	j.sequence++
	sealBatch(frame, batchRecords, j.sequence)
	if _, err := j.file.WriteAt(frame, j.length); err != nil {
		// Nothing half written may stay. If it cannot be cut off, the segment ends here.
		if terr := j.file.Truncate(j.length); terr != nil {
			err = errors.Join(err, terr, j.drop())
		}
		return writeError(j.current.Name(), err)
	}
	if err := j.file.Sync(); err != nil {
		return writeError(j.current.Name(), &syncError{errors.Join(err, j.drop())})
	}
	j.length += int64(len(frame))
	return nil
}

// drop ends the writing of the current segment, so that the next record begins another.
func (j *Journal) drop() error {
	if j.file == nil {
		return nil
	}
	file := j.file
	j.file = nil
	return file.Close()
}

// syncError marks a write whose bytes may or may not be on disk.
type syncError struct{ error }

func (e *syncError) Unwrap() error { return e.error }

func writeError(name string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &FullError{name, err}
	}
	return &WriteError{name, err}
}

// begin makes a new segment: its header, the state, then its name. It has its name only when it is whole and durable.
func (j *Journal) begin(day int64) error {
	previous := header{day: day}
	if j.current.Number > 0 {
		previous.previous, previous.previousLength = j.current.Number, uint64(j.length)
	}
	j.highest++ // whatever comes of it: after a failure nobody knows which names the folder has
	s := Segment{Number: j.highest, Day: day}
	temp := s.Name() + tempSuffix
	file, length, err := j.writeState(temp, previous)
	if err != nil {
		return writeError(s.Name(), errors.Join(err, j.fs.Remove(temp)))
	}
	if err := errors.Join(j.fs.Rename(temp, s.Name()), j.fs.SyncDir()); err != nil {
		// It may have its name all the same, and then no more counts of the segment before than its header says.
		return writeError(s.Name(), errors.Join(err, file.Close(), j.drop()))
	}
	old := j.file
	j.file, j.current, j.length = file, s, length
	if old != nil {
		_ = old.Close() // all of it that counts was synced; nothing is left that could fail
	}
	return nil
}

// writeState makes a file with header and checkpoint, durable, not yet under its name.
func (j *Journal) writeState(name string, h header) (File, int64, error) {
	file, err := j.fs.Create(name)
	if err != nil {
		return nil, 0, err
	}
	var length int64
	flush := func(frame []byte, kind batchKind) {
		if err != nil {
			return
		}
		j.sequence++
		sealBatch(frame, kind, j.sequence)
		_, err = file.WriteAt(frame, length)
		length += int64(len(frame))
	}
	frame := make([]byte, batchHeader, 4096)
	flush(h.append(frame), batchHead)
	if j.checkpoint != nil {
		j.checkpoint(func(record []byte) {
			frame = appendRecord(frame, record)
			if len(frame) > maxBatch/8 {
				flush(frame, batchState)
				frame = frame[:batchHeader]
			}
		})
	}
	if len(frame) > batchHeader {
		flush(frame, batchState)
	}
	flush(make([]byte, batchHeader), batchEnd)
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, length, nil
}
