package services

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"hexapod.dev/linux/redirect"
	"hexapod.dev/model/desired"
)

// LookAgain is how often tables of the older iptables are looked at: they tell nobody of a change.
const LookAgain = 10 * time.Second

// redirects are the watches over what endpoints do to their own traffic. A pass of Bypass alone changes them.
type redirects struct {
	running sync.WaitGroup

	mu      sync.Mutex // guards all following fields
	watches map[desired.EndpointKey]*redirect.Watch
	closed  bool
}

// Close ends all watches.
func (r *redirects) Close() error {
	r.mu.Lock()
	var errs []error
	for _, w := range r.watches {
		errs = append(errs, w.Close())
	}
	r.watches, r.closed = nil, true
	r.mu.Unlock()
	r.running.Wait()
	return errors.Join(errs...)
}

// watch returns the watch over an endpoint; nil when its namespace is gone.
func (r *redirects) watch(ctx context.Context, e desired.Endpoint, changed func()) (*redirect.Watch, error) {
	if w := r.watches[e.Key]; w != nil || r.closed {
		return w, nil
	}
	w, err := redirect.Open(e.NetNS)
	if errors.Is(err, fs.ErrNotExist) { // it ends
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if r.watches == nil {
		r.watches = map[desired.EndpointKey]*redirect.Watch{}
	}
	r.watches[e.Key] = w
	r.running.Go(func() { w.Run(ctx, changed) })
	return w, nil
}

// keep ends the watches over endpoints that are not among those that live.
func (r *redirects) keep(living map[desired.EndpointKey]bool) error {
	var errs []error
	for k, w := range r.watches {
		if !living[k] {
			errs = append(errs, w.Close())
			delete(r.watches, k)
		}
	}
	return errors.Join(errs...)
}

// redirecting returns the endpoints that lead their own traffic elsewhere, to a proxy beside them. One that cannot be looked at is none.
func (k *Keeper) redirecting(ctx context.Context, all []desired.Endpoint) (map[desired.EndpointKey]bool, error) {
	if k.options.Programs() == nil { // nobody would lead their packets
		return nil, nil
	}
	r := &k.redirects
	r.mu.Lock()
	defer r.mu.Unlock()
	living, found := map[desired.EndpointKey]bool{}, map[desired.EndpointKey]bool{}
	var errs []error
	for _, e := range all {
		living[e.Key] = true
		w, err := r.watch(ctx, e, k.options.Look)
		if err == nil && w != nil {
			found[e.Key], err = w.Look()
		}
		errs = append(errs, err)
	}
	return found, errors.Join(append(errs, r.keep(living))...)
}
