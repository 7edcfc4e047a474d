package objects

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"
)

// Sink takes what Follow reads. Its methods are called one after the other.
type Sink[T any] interface {
	// Replace gives all objects there are: what is not among them is gone.
	Replace(l Listing[T])
	// Apply gives one change.
	Apply(c Change[T])
}

// Listing is a whole list.
type Listing[T any] struct {
	Objects []*T
	// Version of the list. In one store versions grow (https://kep.k8s.io/5504).
	Version uint64
	// Again says that this is not the first list: what happened since the last change before it is not known. The store may have been
	// put back to an earlier state meanwhile. Its versions do not tell: others write on, and some ways to put a store back raise them.
	Again bool
}

// retryFirst and retryLast are the distances of attempts to reach an API server that does not answer.
const (
	retryFirst = 100 * time.Millisecond
	retryLast  = 5 * time.Second
)

// Follow lists and then watches, for as long as ctx lasts. A watch that ends is taken up where it was; one that lost its place, or
// whose API server was away, begins with a whole list again. An API server that does not answer is asked again, ever more slowly, down to every 5 s; log
// tells of the first failure and of the success after it.
func (s Collection[T]) Follow(ctx context.Context, log *slog.Logger, sink Sink[T]) error {
	f := follower[T]{s: s, sink: sink, log: log.With("resource", s.resource.Plural)}
	for ctx.Err() == nil {
		err := f.once(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, ErrGone) {
			f.version, f.broken = "", false
			continue
		}
		if err != nil {
			if f.pause == 0 {
				f.log.Warn("cannot watch, trying again", "error", err)
			}
			f.pause = min(max(2*f.pause, retryFirst), retryLast)
			wait(ctx, f.pause)
		}
	}
	return ctx.Err()
}

type follower[T any] struct {
	s       Collection[T]
	sink    Sink[T]
	log     *slog.Logger
	version string // last seen; "": list first
	listed  bool   // once
	highest uint64 // of all lists and changes
	pause   time.Duration
	broken  bool // the last watch did not end in good order: another server, or another past, may answer next
}

// once lists if need be and watches once.
func (f *follower[T]) once(ctx context.Context) error {
	if f.broken && f.version != "" {
		// A watch from a version that a restored store has not reached yet is no error to the API server, and silent. One that it has
		// reached, by other writes, is none either; but no store is put back while an API server answers from it.
		now, err := f.s.versionNow(ctx)
		if err != nil {
			f.version = ""
			return err
		}
		if number(now) < f.highest {
			f.version = ""
		}
	}
	f.broken = false
	if f.version == "" {
		all, version, err := f.s.List(ctx)
		if err != nil {
			return err
		}
		f.answered()
		n := number(version)
		f.sink.Replace(Listing[T]{Objects: all, Version: n, Again: f.listed})
		f.version, f.highest, f.listed = version, n, true
	}
	begun := time.Now()
	version, err := f.s.Watch(ctx, f.version, func(c Change[T]) {
		f.answered()
		f.s.client.hears(f.s.resource.Plural)
		f.sink.Apply(c)
	})
	f.version, f.highest = version, max(f.highest, number(version))
	f.broken = err != nil
	if err == nil && time.Since(begun) < time.Second {
		wait(ctx, retryFirst) // a server that ends every watch at once is not asked in a circle
	}
	return err
}

func (f *follower[T]) answered() {
	if f.pause > 0 {
		f.log.Info("watching again")
	}
	f.pause = 0
}

// number reads a version; one that is none is 0, older than all.
func number(version string) uint64 {
	n, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
