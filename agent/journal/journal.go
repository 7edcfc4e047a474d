package journal

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// segmentLimit is the size in bytes behind which a segment is closed within its day, so that a start stays fast.
const segmentLimit = 256 << 20

// Options of a journal.
type Options struct {
	FS FS
	// Checkpoint calls emit with the records a start needs in place of all older ones: the state as of the last record that was
	// applied. emit keeps nothing of what it is given.
	Checkpoint func(emit func(record []byte))
	// SegmentLimit in bytes; 0: 256 MiB.
	SegmentLimit int64
}

// Journal is the one writer of a folder. Its methods may be called from many goroutines.
//
// There is no goroutine inside: of those who wait for their records, one at a time commits for all (group commit).
type Journal struct {
	fs         FS
	checkpoint func(emit func([]byte))
	limit      int64
	lock       io.Closer

	turn chan struct{} // holds one token: whoever takes it commits

	mu     sync.Mutex
	next   *commit // collects the records of the next commit
	closed bool

	// The rest belongs to the holder of the token.
	file     File    // of the segment being written; nil: one must be begun first
	current  Segment // the last one begun, or found by Open
	length   int64   // bytes of it that count
	highest  uint64  // number of a segment ever tried
	sequence uint64
}

// commit is a group of records that is written and answered at once.
type commit struct {
	day     int64
	frame   []byte // room for the batch header, then the records
	applied []func()
	done    chan struct{} // closed when err is final
	err     error
}

func newCommit() *commit {
	return &commit{frame: make([]byte, batchHeader, 4096), done: make(chan struct{})}
}

// FullError says that the disk has no room. Nothing of the record stays; the next one is tried afresh.
type FullError struct {
	File string
	Err  error
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the journal has no room on its disk (%s): %v; make room, nothing needs to be restarted", e.File, e.Err)
}

func (e *FullError) Unwrap() error { return e.Err }

// WriteError says that the disk refused a write or did not confirm it. The record may or may not be found after a restart.
type WriteError struct {
	File string
	Err  error
}

func (e *WriteError) Error() string {
	return fmt.Sprintf("the journal could not be written (%s): %v; look at the disk, the next record begins a new segment", e.File, e.Err)
}

func (e *WriteError) Unwrap() error { return e.Err }

// ErrClosed is the answer to records that came after Close.
var ErrClosed = errors.New("the journal is closed")

// Open takes the folder and calls replay with the records of the last segment: the state at its beginning, then what happened
// since. What a power cut tore is left out, for nobody was answered for it; damage anywhere else is a *CorruptError. Nothing is
// written before the first record or Settle.
func Open(o Options, replay func(record []byte) error) (*Journal, error) {
	lock, err := o.FS.Lock()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{fs: o.FS, checkpoint: o.Checkpoint, limit: o.SegmentLimit, lock: lock, turn: make(chan struct{}, 1), next: newCommit()}
	if j.limit == 0 {
		j.limit = segmentLimit
	}
	if err := j.resume(replay); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	j.turn <- struct{}{}
	return j, nil
}

// resume reads the last segment and remembers where its valid bytes end.
func (j *Journal) resume(replay func([]byte) error) error {
	names, err := j.fs.List()
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, tempSuffix) { // a segment that was never begun
			if err := j.fs.Remove(name); err != nil {
				return fmt.Errorf("journal: %w", err)
			}
		}
	}
	all, err := Segments(j.fs)
	if err != nil || len(all) == 0 {
		return err
	}
	last := all[len(all)-1]
	r, err := readSegment(j.fs, last, -1, replay)
	if err != nil && !errors.Is(err, errLive) {
		return err
	}
	j.current, j.length, j.highest, j.sequence = last, r.offset, last.Number, r.sequence
	return nil
}

// Ticket is a record on its way to the disk.
type Ticket struct {
	journal *Journal
	commit  *commit
}

// Enqueue puts a record behind all that were enqueued before. day is the one it belongs to, in days since the owner's epoch. It is
// on its way only when somebody waits for a ticket. applied (or nil) is called once when the record is durable, before anybody is
// answered, in the order of the journal, and never beside Checkpoint: what it changes is what Checkpoint tells.
func (j *Journal) Enqueue(day int64, record []byte, applied func()) Ticket {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.refuse(record); err != nil {
		c := newCommit()
		c.err = err
		close(c.done)
		return Ticket{j, c}
	}
	c := j.next
	c.day = max(c.day, day)
	c.frame = appendRecord(c.frame, record)
	if applied != nil {
		c.applied = append(c.applied, applied)
	}
	return Ticket{j, c}
}

func (j *Journal) refuse(record []byte) error {
	switch {
	case j.closed:
		return ErrClosed
	case len(record) > MaxRecord:
		return fmt.Errorf("the record has %d bytes, the journal takes %d", len(record), MaxRecord)
	case len(j.next.frame)+len(record) > maxBatch:
		return fmt.Errorf("%d bytes of records wait for the disk already; it does not keep up", len(j.next.frame))
	}
	return nil
}

// Wait returns when the record is durable, or with a *FullError, *WriteError or ErrClosed when it is not known to be.
func (t Ticket) Wait() error {
	for {
		select {
		case <-t.commit.done:
			return t.commit.err
		case <-t.journal.turn:
		}
		select {
		case <-t.commit.done: // by the one who had the turn before
		default:
			t.journal.commit()
		}
		t.journal.turn <- struct{}{}
	}
}

// commit writes what was enqueued so far. The caller holds the turn.
func (j *Journal) commit() {
	j.mu.Lock()
	c := j.next
	j.next = newCommit()
	j.mu.Unlock()
	if c.err = j.write(c); c.err == nil {
		for _, applied := range c.applied {
			applied()
		}
	}
	close(c.done)
}

// Settle begins a segment of a day if none is being written, so that what Open replayed is durable for certain: a process that
// died between write and sync leaves records that a later power cut may still take.
func (j *Journal) Settle(day int64) error {
	<-j.turn
	defer func() { j.turn <- struct{}{} }()
	if j.file != nil && j.current.Day >= day {
		return nil
	}
	return j.begin(day)
}

// Close answers what was enqueued, ends the segment and gives the folder back.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	<-j.turn
	j.commit()
	defer func() { j.turn <- struct{}{} }()
	return errors.Join(j.drop(), j.lock.Close())
}
