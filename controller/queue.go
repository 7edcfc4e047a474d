package controller

import (
	"context"
	"sync"
	"time"
)

// task is one thing to make true, by name. The same task is never worked on twice at a time, and is done again if it was asked for
// meanwhile.
type task struct{ kind, name string }

// The kinds of tasks.
const (
	taskHost     = "host"     // the objects of one node
	taskNode     = "node"     // what one node is told: conditions and the taint
	taskIdentity = "identity" // the number of one set of labels; the name is its key
	taskClaim    = "claim"    // the fixed address of one pod
	taskPolicy   = "policy"   // what of one policy cannot be held; the name is its kind and key
	taskSlices   = "slices"   // who has the addresses of one host that do not say it
	taskCheck    = "check"    // the conditions of what people wrote
	taskSweep    = "sweep"    // what is looked at from time to time
)

// queue hands tasks to workers.
type queue struct {
	mu      sync.Mutex
	wake    *sync.Cond
	waiting []task
	queued  map[task]bool
	working map[task]bool
	again   map[task]bool
	timers  map[task]*time.Timer
	closed  bool
}

func newQueue() *queue {
	q := &queue{queued: map[task]bool{}, working: map[task]bool{}, again: map[task]bool{}, timers: map[task]*time.Timer{}}
	q.wake = sync.NewCond(&q.mu)
	return q
}

// add asks for a task now.
func (q *queue) add(t task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.put(t)
}

func (q *queue) put(t task) {
	switch {
	case q.closed || q.queued[t]:
	case q.working[t]:
		q.again[t] = true
	default:
		q.queued[t] = true
		q.waiting = append(q.waiting, t)
		q.wake.Signal()
	}
}

// after asks for a task in a while. The first of two wishes counts.
func (q *queue) after(t task, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.timers[t] != nil {
		return
	}
	q.timers[t] = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.timers, t)
		q.put(t)
	})
}

// run works on tasks with so many workers until ctx ends. do must return soon after that.
func (q *queue) run(ctx context.Context, workers int, do func(context.Context, task)) {
	stop := context.AfterFunc(ctx, q.close)
	defer stop()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				t, ok := q.next()
				if !ok {
					return
				}
				do(ctx, t)
				q.done(t)
			}
		})
	}
	all.Wait()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, timer := range q.timers {
		timer.Stop()
	}
	q.wake.Broadcast()
}

func (q *queue) next() (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.wake.Wait()
	}
	if q.closed {
		return task{}, false
	}
	t := q.waiting[0]
	q.waiting = q.waiting[1:]
	delete(q.queued, t)
	q.working[t] = true
	return t, true
}

func (q *queue) done(t task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.working, t)
	if q.again[t] {
		delete(q.again, t)
		q.put(t)
	}
}

// length returns how many tasks wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
