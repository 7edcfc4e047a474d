package sysctl

import (
	"context"
	"errors"
	"slices"
	"time"

	"hexapod.dev/linux/rtnl"
)

// Watch keeps the host cared for until ctx ends, and returns its error. It looks at the host at the start, whenever an
// uplink appears or changes or somebody changes forwarding, and every so often besides: the kernel tells nobody of a
// change of accept_ra. uplinks is called at each look.
//
// tell is called after each look that changed something, failed, or left other uplinks alone than the one before.
func (c *Care) Watch(ctx context.Context, uplinks func() []string, every time.Duration, tell func(Report, error)) error {
	events, err := rtnl.Subscribe(c.ns, rtnl.Links, rtnl.Settings)
	if err != nil {
		return err
	}
	defer events.Close()
	var last Report
	for first := true; ; first = false {
		names := uplinks()
		report, err := c.Reconcile(ctx, names)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if first || err != nil || !report.Empty() || !slices.Equal(report.Left, last.Left) {
			tell(report, err)
		}
		last = report
		if err := await(ctx, events, every, names); err != nil {
			return err
		}
	}
}

// await returns when there is reason to look again.
func await(ctx context.Context, events *rtnl.Subscription, every time.Duration, uplinks []string) error {
	timed, cancel := context.WithTimeout(ctx, every)
	defer cancel()
	for {
		list, err := events.Receive(timed)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return nil
		case err != nil:
			return err
		case slices.ContainsFunc(list, func(e rtnl.Event) bool { return concerns(e, uplinks) }):
			return nil
		}
	}
}

// concerns keeps the many events about links of endpoints from causing a look.
func concerns(e rtnl.Event, uplinks []string) bool {
	switch {
	case e.Resync:
		return true
	case e.Setting != nil:
		return e.Setting.Index == rtnl.AllLinks && e.Setting.Forwarding == 0
	case e.Link != nil:
		return slices.Contains(uplinks, e.Link.Name)
	}
	return false
}
