//go:build cluster

package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hexapod.dev/edge/kube/kubetest"
	"hexapod.dev/edge/kube/lease"
)

// TestOneLeads: of three candidates one leads at a time, each in its turn, and terms grow.
func TestOneLeads(t *testing.T) {
	s := kubetest.Start(t)
	timing := lease.Timing{Duration: 2 * time.Second, Deadline: time.Second, Retry: 50 * time.Millisecond}
	var leading, last atomic.Int64
	var running sync.WaitGroup
	led := make(chan int, 3)
	for i := range 3 {
		e := &lease.Election{Client: s.Client(), Namespace: "kube-system", Name: "test", Identity: fmt.Sprint("c", i), Timing: timing, Log: slog.New(slog.DiscardHandler)}
		running.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := e.Run(ctx, func(ctx context.Context, term int64) error {
				if n := leading.Add(1); n != 1 {
					t.Errorf("%d lead at a time", n)
				}
				if before := last.Swap(term); before >= term {
					t.Errorf("term %d after %d", term, before)
				}
				led <- i
				leading.Add(-1)
				return errDone
			})
			if !errors.Is(err, errDone) {
				t.Errorf("candidate %d: %v", i, err)
			}
		})
	}
	running.Wait()
	if len(led) != 3 {
		t.Errorf("%d of 3 led", len(led))
	}
}

var errDone = errors.New("done")

// TestDeadServer: a leader whose API server is away stops before another could begin.
func TestDeadServer(t *testing.T) {
	s := kubetest.Start(t)
	timing := lease.Timing{Duration: 2 * time.Second, Deadline: 500 * time.Millisecond, Retry: 50 * time.Millisecond}
	e := &lease.Election{Client: s.Client(), Namespace: "kube-system", Name: "test", Identity: "a", Timing: timing, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan struct{})
	err := e.Run(ctx, func(leading context.Context, _ int64) error {
		s.StopAPI()
		<-leading.Done() // the test's own time limit is the failure
		if ctx.Err() == nil {
			close(stopped)
		}
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	select {
	case <-stopped:
	default:
		t.Error("it went on leading")
	}
}
