package agent

import (
	"context"
	"errors"

	"hexapod.dev/linux/netns"
)

// partSockets ends datagram sockets that talk to backends that are gone.
const partSockets = "sockets"

// noteGone remembers backends of datagram services that went. The caller holds the lock of services.
func (a *Agent) noteGone() {
	s := &a.services
	if gone := s.hooks.TakeDropped(); len(gone) > 0 {
		s.gone = append(s.gone, gone...)
		a.kick(partSockets)
	}
}

// cutSockets ends the sockets of the host and of all its endpoints that are connected to a backend that is gone. A namespace that
// went meanwhile has none.
func (a *Agent) cutSockets(ctx context.Context) error {
	s := &a.services
	s.mu.Lock()
	gone, hooks := s.gone, s.hooks
	s.gone = nil
	s.mu.Unlock()
	if len(gone) == 0 || hooks == nil {
		return nil
	}
	total, err := hooks.Cut(a.options.NS, gone)
	errs := []error{err}
	for _, e := range a.sections.Snapshot().Endpoints.All() {
		ns, err := netns.Open(e.NetNS)
		if err != nil || ctx.Err() != nil {
			continue
		}
		n, err := hooks.Cut(ns, gone)
		total += n
		errs = append(errs, err, ns.Close())
	}
	if total > 0 {
		a.log.Info("UDP sockets ended: their backends are gone", "sockets", total, "backends", len(gone))
	}
	if err := errors.Join(errs...); err != nil {
		s.mu.Lock()
		s.gone = append(s.gone, gone...)
		s.mu.Unlock()
		return err
	}
	return nil
}
