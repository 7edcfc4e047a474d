package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Times of a runner. A burst of changes costs two passes, not one each; a failing pass is tried again at growing distance.
const (
	runnerPause  = 100 * time.Millisecond // least time between the end of a pass and the begin of the next
	runnerRetry  = time.Second            // after the first failure; doubles
	runnerSlow   = time.Minute            // longest distance of retries
	runnerResync = 10 * time.Minute       // a full pass even if no event told of a change
)

// runner brings one part of the kernel to what is wanted, one pass at a time. A pass takes the newest snapshot itself, so the
// mailbox needs room for one word only: something changed.
type runner struct {
	name string
	pass func(context.Context) error
	log  *slog.Logger
	done func(name string, took time.Duration, err error) // told after each pass

	gather time.Duration // between the first kick and the pass, so that many kicks cost one pass
	resync time.Duration // a pass even if no event told of a change

	mail chan struct{}

	mu      sync.Mutex
	last    error
	passes  int
	pending bool // asked for and not yet passed
}

func newRunner(name string, log *slog.Logger, pass func(context.Context) error, done func(string, time.Duration, error)) *runner {
	return &runner{name: name, pass: pass, log: log, done: done, resync: runnerResync, mail: make(chan struct{}, 1)}
}

// Kick asks for a pass. It never waits; a second kick before the pass begins is the same kick.
func (r *runner) Kick() {
	r.mu.Lock()
	r.pending = true
	r.mu.Unlock()
	select {
	case r.mail <- struct{}{}:
	default:
	}
}

// Pass makes one pass now. The error is kept for the status as well.
func (r *runner) Pass(ctx context.Context) error {
	r.mu.Lock()
	r.pending = false // what comes from here on needs another pass
	r.mu.Unlock()
	start := time.Now()
	err := r.pass(ctx)
	r.mu.Lock()
	changed := (err == nil) != (r.last == nil) || err != nil && err.Error() != r.last.Error()
	r.last = err
	r.passes++
	r.mu.Unlock()
	switch {
	case err != nil && changed && ctx.Err() == nil:
		r.log.Error("cannot make the kernel hold what is wanted, trying again", "part", r.name, "error", err)
	case err == nil && changed:
		r.log.Info("the kernel holds what is wanted again", "part", r.name)
	}
	r.done(r.name, time.Since(start), err)
	return err
}

// State returns how many passes there were, whether one is due, and the error of the last.
func (r *runner) State() (passes int, pending bool, last error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passes, r.pending, r.last
}

// Run makes passes until ctx ends: after a kick, after a failure, and once per runnerResync.
func (r *runner) Run(ctx context.Context) error {
	retry := runnerRetry
	next := time.NewTimer(r.resync)
	defer next.Stop()
	if _, _, last := r.State(); last != nil {
		next.Reset(retry)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.mail:
			if !rest(ctx, r.gather) {
				return nil
			}
		case <-next.C:
		}
		if err := r.Pass(ctx); err != nil {
			next.Reset(retry)
			retry = min(2*retry, runnerSlow)
		} else {
			next.Reset(r.resync)
			retry = runnerRetry
		}
		if !rest(ctx, runnerPause) { // kicks gather in the mailbox meanwhile
			return nil
		}
	}
}

// rest waits for d and reports whether ctx goes on.
func rest(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
