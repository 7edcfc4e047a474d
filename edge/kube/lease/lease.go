// Package lease lets one of several processes lead, by a Lease of the Kubernetes API.
//
// It is a courtesy, not a lock: a leader that was stopped for a moment may write a last time after another has begun. What must
// never happen twice is prevented elsewhere, by the names of objects.
package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// Timing of an election.
type Timing struct {
	Duration time.Duration // others take over when a leader was not heard of for this long
	Deadline time.Duration // a leader that could not renew for this long stops leading; shorter than Duration
	Retry    time.Duration // distance of attempts
}

// DefaultTiming is that of the controller.
func DefaultTiming() Timing { return Timing{5 * time.Second, 3 * time.Second, time.Second} }

// Election is the candidature of one process.
type Election struct {
	Client    *objects.Client
	Namespace string
	Name      string // of the Lease
	Identity  string // of this process, different from all others'
	Timing    Timing
	Log       *slog.Logger

	// What was last seen of the Lease, and when by the clock of this process: clocks of two machines are never compared.
	seen   string
	seenAt time.Time
}

// Run leads whenever it is elected, until ctx ends. lead must return soon after its own context ends; it gets the number of the
// term, which grows. An error of lead ends Run, after the lease was given back.
func (e *Election) Run(ctx context.Context, lead func(ctx context.Context, term int64) error) error {
	leases := objects.In(e.Client, objects.Leases()).Namespace(e.Namespace)
	for ctx.Err() == nil {
		held, err := e.acquire(ctx, leases)
		switch {
		case err != nil && ctx.Err() == nil:
			e.Log.Warn("cannot ask who leads", "lease", e.Namespace+"/"+e.Name, "error", err)
		case held != nil:
			if err := e.term(ctx, leases, held, lead); err != nil {
				return err
			}
		}
		pause(ctx, e.Timing.Retry)
	}
	return ctx.Err()
}

// acquire takes the lease if it is free, or was not renewed for its duration. nil: somebody else has it.
func (e *Election) acquire(ctx context.Context, leases objects.Collection[objects.Lease]) (*objects.Lease, error) {
	l, err := leases.Get(ctx, e.Name)
	if errors.Is(err, objects.ErrNotFound) {
		l = &objects.Lease{Header: v1alpha1.Header{Metadata: v1alpha1.Metadata{Name: v1alpha1.Name(e.Name), Namespace: e.Namespace}}}
		e.claim(l)
		l, err = leases.Create(ctx, l)
		if errors.Is(err, objects.ErrExists) {
			return nil, nil
		}
		return l, err
	}
	if err != nil {
		return nil, err
	}
	if l.Metadata.ResourceVersion != e.seen {
		e.seen, e.seenAt = l.Metadata.ResourceVersion, time.Now()
	}
	other := l.Spec.HolderIdentity != "" && l.Spec.HolderIdentity != e.Identity
	if other && time.Since(e.seenAt) < e.Timing.Duration {
		return nil, nil
	}
	e.claim(l)
	l, err = leases.Update(ctx, l)
	if errors.Is(err, objects.ErrConflict) {
		return nil, nil
	}
	return l, err
}

func (e *Election) claim(l *objects.Lease) {
	now := &objects.MicroTime{Time: time.Now()}
	l.Spec = objects.LeaseSpec{
		HolderIdentity: e.Identity, LeaseDurationSeconds: int32(e.Timing.Duration / time.Second),
		AcquireTime: now, RenewTime: now, LeaseTransitions: l.Spec.LeaseTransitions + 1,
	}
}

// term leads until ctx ends, lead ends, or the lease cannot be renewed.
func (e *Election) term(ctx context.Context, leases objects.Collection[objects.Lease], held *objects.Lease, lead func(context.Context, int64) error) error {
	e.Log.Info("leading", "lease", e.Namespace+"/"+e.Name, "term", held.Spec.LeaseTransitions)
	leading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- lead(leading, int64(held.Spec.LeaseTransitions)) }()

	renewed := time.Now()
	tick := time.NewTicker(e.Timing.Retry)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			e.giveBack(leases, held)
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-ctx.Done():
			<-ended
			e.giveBack(leases, held)
			return nil
		case <-tick.C:
		}
		next, err := e.renew(leading, leases, held, renewed)
		if err == nil {
			held, renewed = next, time.Now()
			continue
		}
		if errors.Is(err, objects.ErrConflict) || errors.Is(err, objects.ErrNotFound) || time.Since(renewed) >= e.Timing.Deadline {
			e.Log.Warn("no longer leading", "lease", e.Namespace+"/"+e.Name, "error", err)
			stop()
			<-ended
			return nil
		}
	}
}

// renew writes that this process still leads. It takes no longer than what is left until the deadline.
func (e *Election) renew(ctx context.Context, leases objects.Collection[objects.Lease], held *objects.Lease, renewed time.Time) (*objects.Lease, error) {
	ctx, cancel := context.WithDeadline(ctx, renewed.Add(e.Timing.Deadline))
	defer cancel()
	next := *held
	next.Spec.RenewTime = &objects.MicroTime{Time: time.Now()}
	got, err := leases.Update(ctx, &next)
	if err != nil {
		return nil, fmt.Errorf("renew: %w", err)
	}
	return got, nil
}

// giveBack lets the next one lead at once. It is worth a second; without it the lease runs out by itself.
func (e *Election) giveBack(leases objects.Collection[objects.Lease], held *objects.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	held.Spec.HolderIdentity = ""
	if _, err := leases.Update(ctx, held); err != nil {
		e.Log.Info("the lease was not given back and runs out", "lease", e.Namespace+"/"+e.Name, "error", err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
