package agent

import (
	"context"
	"sync"

	"hexapod.dev/model/desired"
)

// keyLocks lets one request per endpoint in: an ADD and a DEL of one key, or two ADDs, come one after the other.
type keyLocks struct {
	mu   sync.Mutex
	held map[desired.EndpointKey]*keyLock
}

type keyLock struct {
	turn  chan struct{} // holds one token while the key is free
	users int           // holder and those who wait
}

// Lock waits for its turn at k and returns the function that gives it back.
func (l *keyLocks) Lock(ctx context.Context, k desired.EndpointKey) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[desired.EndpointKey]*keyLock{}
	}
	lock := l.held[k]
	if lock == nil {
		lock = &keyLock{turn: make(chan struct{}, 1)}
		lock.turn <- struct{}{}
		l.held[k] = lock
	}
	lock.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if lock.users--; lock.users == 0 {
			delete(l.held, k)
		}
	}
	select {
	case <-lock.turn:
		return func() { lock.turn <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
