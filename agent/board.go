package agent

import (
	"sync"

	"hexapod.dev/model/desired"
)

// board remembers of each endpoint whether the kernel was made to hold it, and if not, why.
type board struct {
	mu    sync.Mutex
	state map[desired.EndpointKey]error // nil: done
}

// set records the outcome of making k; nil is done.
func (b *board) set(k desired.EndpointKey, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == nil {
		b.state = map[desired.EndpointKey]error{}
	}
	b.state[k] = err
}

// forget drops k.
func (b *board) forget(k desired.EndpointKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.state, k)
}

// get returns the outcome of making k; tried is false when it was not tried yet.
func (b *board) get(k desired.EndpointKey) (err error, tried bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err, tried = b.state[k]
	return err, tried
}

// done reports whether the kernel holds k.
func (b *board) done(k desired.EndpointKey) bool {
	err, tried := b.get(k)
	return tried && err == nil
}
