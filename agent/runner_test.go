package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func nothingDone(string, time.Duration, error) {}

func startRunner(t *testing.T, pass func(context.Context) error) *runner {
	t.Helper()
	r := newRunner("test", slog.New(slog.DiscardHandler), pass, nothingDone)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	return r
}

func TestRunnerGathersKicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int32
		r := startRunner(t, func(context.Context) error { passes.Add(1); return nil })
		for range 1000 {
			r.Kick()
			synctest.Wait()
		}
		if passes.Load() != 1 {
			t.Errorf("%d passes before the pause is over, want 1", passes.Load())
		}
		time.Sleep(2 * runnerPause)
		synctest.Wait()
		if passes.Load() != 2 {
			t.Errorf("%d passes for 1,000 kicks, want 2", passes.Load())
		}
	})
}

func TestRunnerRetriesAtGrowingDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Duration
		start := time.Now()
		broken := true
		r := startRunner(t, func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(start))
			if broken {
				return errors.New("refused")
			}
			return nil
		})
		r.Kick()
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		mu.Lock()
		for i := 2; i < len(at); i++ {
			if d := at[i] - at[i-1]; d < at[i-1]-at[i-2] || d > runnerSlow+runnerPause {
				t.Errorf("distance %d is %v after %v, want growing up to %v", i, d, at[i-1]-at[i-2], runnerSlow)
			}
		}
		if len(at) < 10 || len(at) > 20 {
			t.Errorf("%d tries in ten minutes, want 10 to 20", len(at))
		}
		if _, _, last := r.State(); last == nil {
			t.Error("the error of the last pass is not kept")
		}
		broken = false
		mu.Unlock()
		time.Sleep(runnerSlow + runnerPause)
		synctest.Wait()
		if _, _, last := r.State(); last != nil {
			t.Errorf("after a good pass the error is still %v", last)
		}
	})
}

func TestRunnerResyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int32
		startRunner(t, func(context.Context) error { passes.Add(1); return nil })
		time.Sleep(runnerResync - time.Second)
		synctest.Wait()
		if passes.Load() != 0 {
			t.Errorf("%d passes without a kick before the resync time, want 0: no polling", passes.Load())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if passes.Load() != 1 {
			t.Errorf("%d passes after the resync time, want 1", passes.Load())
		}
	})
}

// A kick that comes while a pass runs leads to another pass: the running one may have taken an older snapshot.
func TestRunnerKickDuringPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int32
		hold := make(chan struct{})
		r := startRunner(t, func(context.Context) error { passes.Add(1); <-hold; return nil })
		r.Kick()
		synctest.Wait()
		r.Kick()
		close(hold)
		time.Sleep(2 * runnerPause)
		synctest.Wait()
		if passes.Load() != 2 {
			t.Errorf("%d passes, want 2", passes.Load())
		}
	})
}
