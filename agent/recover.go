package agent

import (
	"context"
	"errors"
	"fmt"

	"hexapod.dev/model/desired"
)

// recover fills the section of endpoints from the book and compares it with the kernel: an endpoint that has its link lives; one
// without link whose namespace has gone is retired; any other was cut off half way, and the first pass makes it whole.
func (a *Agent) recover(ctx context.Context) error {
	have, err := a.kernel.links.Observe(ctx)
	if err != nil {
		return err
	}
	linked := make(map[desired.EndpointKey]bool, len(have))
	for _, l := range have {
		linked[l.Key] = true
	}
	var errs []error
	for _, given := range a.book.Living() {
		e := endpointOf(given)
		if why := a.abandoned(e); why != "" && !linked[e.Key] {
			a.log.Info("endpoint retired", "endpoint", e.Key, "why", why)
			if err := a.book.Retire(ctx, e.Key); err != nil {
				errs = append(errs, fmt.Errorf("retire endpoint %s: %w", e.Key, err))
			}
			continue
		}
		a.sections.SetEndpoint(e)
	}
	return errors.Join(errs...)
}
