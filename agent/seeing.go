package agent

import (
	"context"

	"hexapod.dev/agent/local"
	"hexapod.dev/agent/seeing"
	"hexapod.dev/linux/datapath"
)

var _ local.Seeing = (*Agent)(nil)

// openSeeing introduces the observer to the host. It costs nothing while nobody follows.
func (a *Agent) openSeeing() {
	a.seeing = seeing.New(seeing.Options{
		Own: a.ownNS, Conn: a.kernel.conn, Log: a.log, Snapshot: a.sections.Snapshot, Holder: a.sections.Holder,
		Programs: func() *datapath.Table { return a.datapath.table },
		Denied:   a.policies.Denied,
	})
	a.metrics.registry.MustRegister(seeing.Collector{Observer: a.seeing})
}

// Flows implements local.Seeing.
func (a *Agent) Flows() ([]local.Flow, error) { return a.seeing.Flows() }

// Trace implements local.Seeing.
func (a *Agent) Trace(q local.Question) ([]local.Step, error) { return a.seeing.Trace(q) }

// FollowDrops implements local.Seeing.
func (a *Agent) FollowDrops(ctx context.Context, told func(local.Drop) error) error {
	return a.seeing.FollowDrops(ctx, told)
}
