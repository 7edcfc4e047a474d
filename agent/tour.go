package agent

import (
	"context"
	"errors"
	"fmt"

	"hexapod.dev/linux/link"
	"hexapod.dev/model/desired"
)

// firstLinks makes all links as wanted before anything is served, and removes those that a killed agent left half made.
func (a *Agent) firstLinks(ctx context.Context) error {
	st := desired.For(a.sections.Snapshot())
	delta, err := a.kernel.Links(ctx, st)
	a.changed(partLinks, delta)
	a.judge(ctx, st)
	return err
}

// judge looks which endpoints have their link after a pass.
func (a *Agent) judge(ctx context.Context, st desired.State) {
	have, err := a.kernel.links.Observe(ctx)
	if err != nil {
		return // the pass itself fails for the same reason and says so
	}
	living := make(map[string]bool, len(have))
	for _, l := range have {
		living[l.Name] = !l.Retired && l.Up
	}
	for k, l := range st.Links {
		switch {
		case living[l.Name]:
			a.board.set(k, nil)
		default:
			a.board.set(k, fmt.Errorf("link %s does not exist", l.Name))
		}
	}
}

// tourLinks looks at the link of every endpoint, one after the other, so that ADDs and DELs of others go on: with a thousand
// endpoints a tour takes some tenths of a second.
func (a *Agent) tourLinks(ctx context.Context) error {
	have, err := a.kernel.links.Observe(ctx) // before the snapshot: an endpoint is in there before its link is made
	if err != nil {
		return err
	}
	snapshot := a.sections.Snapshot()
	var errs []error
	for _, l := range have {
		if _, wanted := snapshot.Endpoints.Get(l.Key); !wanted && !l.Retired {
			errs = append(errs, a.dismiss(ctx, l))
		}
	}
	for k := range snapshot.Endpoints.All() {
		errs = append(errs, a.inspect(ctx, k))
	}
	return errors.Join(errs...)
}

// inspect repairs the endpoint of k if its link is not as wanted.
func (a *Agent) inspect(ctx context.Context, k desired.EndpointKey) error {
	unlock, err := a.keys.Lock(ctx, k)
	if err != nil {
		return err
	}
	defer unlock()
	e, living := a.sections.Endpoint(k)
	if !living {
		return nil
	}
	if a.kernel.links.Check(ctx, desired.LinkFor(e, a.sections.Snapshot().Sizes())) == nil {
		a.board.set(k, nil)
		return nil
	}
	return a.repairHeld(ctx, e)
}

// dismiss removes a link with our mark that no endpoint has.
func (a *Agent) dismiss(ctx context.Context, l link.Observed) error {
	if l.Key == (desired.EndpointKey{}) {
		return nil // one that is only being made, or half made by a killed agent: the next start removes that
	}
	unlock, err := a.keys.Lock(ctx, l.Key)
	if err != nil {
		return err
	}
	defer unlock()
	if _, living := a.sections.Endpoint(l.Key); living {
		return nil // added since
	}
	a.log.Info("link removed: no endpoint has it", "link", l.Name, "endpoint", l.Key)
	err = a.kernel.Disconnect(ctx, desired.Endpoint{Key: l.Key})
	a.runners[partReap].Kick()
	return err
}
