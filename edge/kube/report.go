package kube

import (
	"context"
	"errors"
	"reflect"
	"time"

	"hexapod.dev/api/v1alpha1"
	kobjects "hexapod.dev/edge/kube/objects"
)

// Times of reports.
const (
	reportEvery  = 10 * time.Second // between two writes, and between two looks when nobody asks
	witnessEvery = time.Minute      // a witness alone is no news before
	reportLimit  = 5 * time.Second  // for one write
	entriesEvery = 2 * time.Second  // between two writes of what is in force of what others have
	exactEvery   = time.Second      // between two writes of who has addresses that do not say it: others wait for that
)

// ReportSoon asks for a look at what this host tells.
func (s *Source) ReportSoon() { kick(s.soon) }

// Witness returns the latest moment for which this host may have given an address out, as its HostStatus had it at the start.
func (s *Source) Witness() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.witness
}

// reporter remembers what it wrote.
type reporter struct {
	s       *Source
	written *v1alpha1.HostStatus // nil: not known what the API server has
	at      time.Time
}

// reportAll writes the HostStatus of this host when it changed, until ctx ends.
func (s *Source) reportAll(ctx context.Context, report func() v1alpha1.HostReport) error {
	r := reporter{s: s}
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.soon:
		case <-look.C:
		}
		look.Reset(r.step(ctx, report()))
		if !pause(ctx, gather) {
			return nil
		}
	}
}

// step writes next if it is news and time for it, and returns when to look again.
func (r *reporter) step(ctx context.Context, next v1alpha1.HostReport) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, reportLimit)
	defer cancel()
	if r.written == nil {
		if err := r.read(ctx); err != nil {
			r.s.reached(err)
			return time.Second
		}
	}
	wait := r.due(next)
	if wait > 0 {
		return wait
	}
	if err := r.write(ctx, next); err != nil {
		r.s.reached(err)
		r.written = nil
		return time.Second
	}
	r.s.reached(nil)
	return reportEvery
}

// reached logs the first failure to reach the API server and the success after it.
func (s *Source) reached(err error) {
	s.mu.Lock()
	before := s.away
	s.away = err
	s.mu.Unlock()
	switch {
	case err != nil && before == nil && !errors.Is(err, context.Canceled):
		s.o.Log.Warn("the status of this host cannot be written, trying again", "error", err)
	case err == nil && before != nil:
		s.o.Log.Info("the status of this host is written again")
	}
}

// read learns what the API server has of this host.
func (r *reporter) read(ctx context.Context) error {
	o, err := kobjects.In(r.s.o.Client, kobjects.HostStatuses()).Get(ctx, r.s.o.Host)
	switch {
	case errors.Is(err, kobjects.ErrNotFound):
		r.written = v1alpha1.NewHostStatus(r.s.o.Host, v1alpha1.HostReport{})
		return nil
	case err != nil:
		return err
	}
	r.written = o
	if w := o.Status.Witness; w != nil {
		r.s.mu.Lock()
		if r.s.witness.IsZero() {
			r.s.witness = w.Time
		}
		r.s.mu.Unlock()
	}
	return nil
}

// due tells how long a report has to wait: 0, it is to be written now.
func (r *reporter) due(next v1alpha1.HostReport) time.Duration {
	have := r.written.Status
	since := time.Since(r.at)
	switch {
	case r.written.Metadata.ResourceVersion == "", have.Round != next.Round, readiness(have) != readiness(next):
		return 0 // somebody waits for that
	case !reflect.DeepEqual(have.Exact, next.Exact):
		return max(0, exactEvery-since)
	case have.Entries != next.Entries:
		return max(0, entriesEvery-since)
	case !reflect.DeepEqual(plain(have), plain(next)):
		return max(0, reportEvery-since)
	case !reflect.DeepEqual(have.Witness, next.Witness) && since >= witnessEvery:
		return 0
	}
	return reportEvery
}

func readiness(r v1alpha1.HostReport) v1alpha1.ConditionStatus {
	c, _ := r.Condition(v1alpha1.ConditionReady)
	return c.Status
}

// plain is a report without what changes all the time.
func plain(r v1alpha1.HostReport) v1alpha1.HostReport {
	r.Witness = nil
	conditions := make([]v1alpha1.Condition, len(r.Conditions))
	for i, c := range r.Conditions {
		c.LastTransitionTime = v1alpha1.Time{}
		conditions[i] = c
	}
	r.Conditions = conditions
	return r
}

func (r *reporter) write(ctx context.Context, next v1alpha1.HostReport) error {
	o := *r.written
	conditions := next.Conditions
	next.Conditions = o.Status.Conditions
	for _, c := range conditions {
		next.Set(c) // keeps the time of what did not change
	}
	o.Status = next
	all := kobjects.In(r.s.o.Client, kobjects.HostStatuses())
	var err error
	var got *v1alpha1.HostStatus
	if o.Metadata.ResourceVersion == "" {
		got, err = all.Create(ctx, &o)
	} else {
		got, err = all.Update(ctx, &o)
	}
	if err != nil {
		return err
	}
	r.written, r.at = got, time.Now()
	return nil
}
