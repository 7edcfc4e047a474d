package services

import (
	"context"
	"errors"

	"hexapod.dev/linux/netns"
)

// noteGone remembers backends of datagram services that went. The caller holds mu.
func (k *Keeper) noteGone() {
	if gone := k.hooks.TakeDropped(); len(gone) > 0 {
		k.gone = append(k.gone, gone...)
		k.options.Sockets()
	}
}

// CutSockets ends the datagram sockets of the host and of all its endpoints that are connected to a backend that is gone. A namespace that
// went meanwhile has none.
func (k *Keeper) CutSockets(ctx context.Context) error {
	k.mu.Lock()
	gone, hooks := k.gone, k.hooks
	k.gone = nil
	k.mu.Unlock()
	if len(gone) == 0 || hooks == nil {
		return nil
	}
	total, err := hooks.Cut(k.options.NS, gone)
	errs := []error{err}
	for _, e := range k.options.Snapshot().Endpoints.All() {
		ns, err := netns.Open(e.NetNS)
		if err != nil || ctx.Err() != nil {
			continue
		}
		n, err := hooks.Cut(ns, gone)
		total += n
		errs = append(errs, err, ns.Close())
	}
	if total > 0 {
		k.options.Log.Info("UDP sockets ended: their backends are gone", "sockets", total, "backends", len(gone))
	}
	if err := errors.Join(errs...); err != nil {
		k.mu.Lock()
		k.gone = append(k.gone, gone...)
		k.mu.Unlock()
		return err
	}
	return nil
}
