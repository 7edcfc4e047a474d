package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// Times of single runners.
const (
	reapGather = time.Second // links of deleted endpoints wait so long for others: removing 64 costs little more than removing one
	hostResync = time.Minute // the kernel tells nobody of a change of accept_ra
)

// addRunners makes the runners. They begin to work in Run.
func (a *Agent) addRunners() {
	for name, pass := range map[string]func(context.Context) error{
		partHost:       a.careForHost,
		partLinks:      a.whole(partLinks, a.kernel.Links),
		partRoutes:     a.whole(partRoutes, a.kernel.Routes),
		partNeighbours: a.whole(partNeighbours, a.kernel.Neighbours),
		partEndpoints:  a.repair,
		partReap:       a.reap,
	} {
		a.runners[name] = newRunner(name, a.log, pass, a.metrics.passed)
	}
	a.runners[partReap].gather = reapGather
	a.runners[partHost].resync = hostResync
}

// kick asks for a pass of each part.
func (a *Agent) kick(parts ...string) {
	for _, p := range parts {
		a.runners[p].Kick()
	}
}

// careForHost sets the host's own addresses and settings.
func (a *Agent) careForHost(ctx context.Context) error {
	st := desired.For(a.sections.Snapshot())
	delta, err := a.kernel.Addresses(ctx, st)
	a.changed(partHost, delta)
	report, careErr := a.kernel.care.Reconcile(ctx, st.Uplinks)
	for _, k := range report.Delta.Change {
		a.metrics.changes.WithLabelValues(partHost, "change").Inc()
		a.log.Info("changed a setting of the kernel", "setting", string(k))
	}
	a.left.Store(&report.Left)
	return errors.Join(err, careErr)
}

// whole returns the pass that makes one part of the kernel hold the whole state. Nothing is added or removed by an ADD or DEL
// between the taking of the snapshot and the end of the pass, or it would undo their work.
func (a *Agent) whole(part string, reconcile func(context.Context, desired.State) (diff.Delta[string], error)) func(context.Context) error {
	return func(ctx context.Context) error {
		a.passing.Lock()
		defer a.passing.Unlock()
		st := desired.For(a.sections.Snapshot())
		delta, err := reconcile(ctx, st)
		a.changed(part, delta)
		if part == partLinks {
			a.judge(ctx, st)
		}
		return err
	}
}

// changed counts and logs what a pass had to do.
func (a *Agent) changed(part string, d diff.Delta[string]) {
	for _, c := range []struct {
		what  string
		names []string
	}{{"add", d.Add}, {"change", d.Change}, {"remove", d.Remove}} {
		if len(c.names) > 0 {
			a.metrics.changes.WithLabelValues(part, c.what).Add(float64(len(c.names)))
			a.log.Info("changed the kernel", "part", part, "change", c.what, "count", len(c.names), "first", c.names[0])
		}
	}
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

// reap removes the links of endpoints that are gone, all in one message.
func (a *Agent) reap(ctx context.Context) error { return a.kernel.links.Reap(ctx) }

// disturb notes that somebody changed what belongs to the endpoint of k, and asks for its repair.
func (a *Agent) disturb(k desired.EndpointKey) {
	a.metrics.events.WithLabelValues(partEndpoints).Inc()
	a.dirty.Add(k)
	a.runners[partEndpoints].Kick()
}

// repair makes each disturbed endpoint as wanted again. It costs what an ADD costs, so one container that ends does not make the
// agent look at all of them.
func (a *Agent) repair(ctx context.Context) error {
	var errs []error
	for _, k := range a.dirty.Take() {
		if err := a.repairOne(ctx, k); err != nil {
			a.dirty.Add(k) // the runner comes back
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (a *Agent) repairOne(ctx context.Context, k desired.EndpointKey) error {
	unlock, err := a.keys.Lock(ctx, k)
	if err != nil {
		return err
	}
	defer unlock()
	e, living := a.sections.Endpoint(k)
	if !living {
		return nil
	}
	if why := a.abandoned(e); why != "" {
		a.log.Info("endpoint retired", "endpoint", k, "why", why)
		return a.disconnect(ctx, e)
	}
	err = a.connect(ctx, e)
	if err == nil {
		a.log.Info("endpoint repaired: something else had changed its link, route or neighbour", "endpoint", k)
	}
	return err
}

// Why an endpoint that nobody deleted is no more.
const (
	netNSGone  desired.Why = "its network namespace has gone"
	netNSHosts desired.Why = "the path of its network namespace leads to the host's own"
)

// abandoned tells why the namespace of e is not e's any more; empty when it is.
func (a *Agent) abandoned(e desired.Endpoint) desired.Why {
	ns, err := netns.Open(e.NetNS)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return netNSGone
	case err != nil:
		return "" // not known: kept
	}
	defer ns.Close()
	if id, err := ns.ID(); err == nil && id == a.ownNS {
		return netNSHosts
	}
	return ""
}
