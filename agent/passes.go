package agent

import (
	"context"
	"time"

	"hexapod.dev/agent/services"
	"hexapod.dev/agent/translator"
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
		partRoutes:     a.routeAll,
		partNeighbours: a.neighbourAll,
		partPeers:      a.followPeers,
		partDatapath:   a.judgeAll,
		partEndpoints:  a.repair,
		partAnswers:    a.answerAll,
		partBGP:        a.speak,
		partLearned:    a.learn,
		partServices:   a.serveAll,
		partNAT64:      a.translator.Translate,
		partHostPorts:  a.translator.LookAtPorts,
		partPolicy:     a.policeAll,
		partSockets:    a.services.CutSockets,
		partBypass:     a.services.Bypass,
		partDNS:        a.dnsPass,
		partReap:       a.reap,
		partComplete:   a.kernel.links.Complete,
	} {
		a.runners[name] = newRunner(name, a.log, pass, a.metrics.passed)
	}
	a.runners[partReap].gather = reapGather
	a.runners[partComplete].gather = completeGather
	a.runners[partHost].resync = hostResync
	a.runners[partHostPorts].resync = translator.PortsLook
	a.runners[partDatapath].resync = guardResync
	a.runners[partBypass].resync = services.LookAgain
	a.kick(partComplete) // what an earlier agent left
}

// kick asks for a pass of each part.
func (a *Agent) kick(parts ...string) {
	for _, p := range parts {
		a.runners[p].Kick()
	}
}

// neighbourAll makes all permanent neighbours of this host as wanted. As with routeAll, nothing is added or removed by an ADD or DEL meanwhile.
func (a *Agent) neighbourAll(ctx context.Context) error {
	a.passing.Lock()
	defer a.passing.Unlock()
	delta, err := a.kernel.Neighbours(ctx, desired.For(a.sections.Snapshot()))
	a.changed(partNeighbours, delta)
	return err
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
