package agent

import (
	"context"
	"time"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// Times of single runners.
const (
	reapGather     = time.Second      // links of deleted endpoints wait so long for others: removing 64 costs little more than removing one
	completeGather = time.Second      // a burst of endpoints comes first
	guardResync    = 10 * time.Second // nobody tells the agent of a change of nftables
	hostResync     = time.Minute      // the kernel tells nobody of a change of accept_ra
)

// addRunners makes the runners. They begin to work in Run.
func (a *Agent) addRunners() {
	for name, pass := range map[string]func(context.Context) error{
		partHost:       a.careForHost,
		partLinks:      a.tourLinks,
		partRoutes:     a.whole(partRoutes, a.kernel.Routes),
		partNeighbours: a.whole(partNeighbours, a.kernel.Neighbours),
		partDatapath:   a.judgeAll,
		partEndpoints:  a.repair,
		partAnswers:    a.answerAll,
		partBGP:        a.speak,
		partLearned:    a.learn,
		partServices:   a.serveAll,
		partNAT64:      a.translate,
		partHostPorts:  a.lookAtPorts,
		partPolicy:     a.policeAll,
		partSockets:    a.cutSockets,
		partBypass:     a.bypass,
		partDNS:        a.dnsPass,
		partReap:       a.reap,
		partComplete:   a.kernel.links.Complete,
	} {
		a.runners[name] = newRunner(name, a.log, pass, a.metrics.passed)
	}
	a.runners[partReap].gather = reapGather
	a.runners[partComplete].gather = completeGather
	a.runners[partHost].resync = hostResync
	a.runners[partHostPorts].resync = portsLook
	a.runners[partDatapath].resync = guardResync
	a.runners[partBypass].resync = redirectLook
}

// kick asks for a pass of each part.
func (a *Agent) kick(parts ...string) {
	for _, p := range parts {
		a.runners[p].Kick()
	}
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

// reap removes the links of endpoints that are gone, all in one message.
func (a *Agent) reap(ctx context.Context) error { return a.kernel.links.Reap(ctx) }
