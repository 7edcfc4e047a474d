package controller

import (
	"context"
	"sync"
	"testing"
	"time"
)

// TestQueue: a task that is asked for while it is worked on is done once more, and never twice at a time.
func TestQueue(t *testing.T) {
	q := newQueue()
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	working, done := map[task]int{}, map[task]int{}
	began, goOn := make(chan struct{}), make(chan struct{})
	all := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		q.run(ctx, 4, func(_ context.Context, k task) {
			mu.Lock()
			if working[k]++; working[k] > 1 {
				t.Errorf("%v is done twice at a time", k)
			}
			first := k.name == "a" && done[k] == 0
			mu.Unlock()
			if first {
				close(began)
				<-goOn
			}
			mu.Lock()
			working[k]--
			done[k]++
			if done[task{taskHost, "a"}] == 2 && done[task{taskHost, "late"}] == 1 && done[task{taskHost, "b"}] == 1 {
				select {
				case <-all:
				default:
					close(all)
				}
			}
			mu.Unlock()
		})
	})
	q.add(task{taskHost, "a"})
	<-began
	q.add(task{taskHost, "a"})
	q.add(task{taskHost, "a"})
	q.add(task{taskHost, "b"})
	q.after(task{taskHost, "late"}, time.Millisecond)
	q.after(task{taskHost, "late"}, time.Hour)
	close(goOn)
	<-all
	stop()
	running.Wait()
	if n := done[task{taskHost, "a"}]; n != 2 {
		t.Errorf("a was done %d times, want 2", n)
	}
	q.add(task{taskHost, "after the end"}) // and nothing happens
}
