package agent

import (
	"context"

	"hexapod.dev/agent/local"
	"hexapod.dev/agent/services"
	"hexapod.dev/linux/datapath"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/service"
)

// Parts of what clients on this host are led to: partServices leads them, partBypass leaves the sockets of endpoints alone whose owner asks
// for that, partSockets ends datagram sockets that talk to backends that are gone.
const (
	partServices = "services"
	partBypass   = "bypass"
	partSockets  = "sockets"
)

// newServices introduces the keeper of services to the host.
func (a *Agent) newServices() *services.Keeper {
	o := servicesOptions(a.options)
	o.Cluster = a.options.Cluster != nil
	o.Snapshot, o.Here, o.Asks = a.sections.Snapshot, a.ledHere, a.asksForPackets
	o.Off = func() bool { return a.config.Load().noServices }
	o.Programs = func() *datapath.Table { return a.datapath.table }
	o.Again = func() { a.kick(partServices) }
	o.Sockets = func() { a.kick(partSockets) }
	o.Look = func() { a.kick(partBypass) }
	return services.New(o)
}

func servicesOptions(o Options) services.Options {
	return services.Options{RunDir: o.RunDir, BPF: o.BPF, Cgroup: o.Cgroup, NS: o.NS, Log: o.Log}
}

// serveAll makes the kernel lead clients as the snapshot says.
func (a *Agent) serveAll(ctx context.Context) error {
	delta, err := a.services.Reconcile(ctx)
	a.changed(partServices, delta)
	return err
}

// asksForPackets tells whether the pod of an endpoint carries the annotation, as far as that is known already.
func (a *Agent) asksForPackets(e desired.Endpoint) bool {
	pod, ok := a.podNow(e)
	return ok && pod.Packets
}

// runServices follows the services of a cluster until ctx ends.
func (a *Agent) runServices(ctx context.Context) error {
	if a.options.Cluster == nil {
		return nil
	}
	return a.options.Cluster.FollowServices(ctx, clusterServices{a})
}

// clusterServices writes down what a cluster tells.
type clusterServices struct{ a *Agent }

// Whole implements kube.ServiceSink.
func (c clusterServices) Whole(_ context.Context, all []service.Source) {
	c.a.sections.SetClusterServices(all)
	c.a.services.Told()
	c.a.kick(partDNS)
}

// Put implements kube.ServiceSink.
func (c clusterServices) Put(ctx context.Context, src service.Source) {
	c.a.sections.SetService(src)
	c.a.services.Put(ctx, src)
	if c.a.isDNS(src.Service.Name) {
		c.a.kick(partDNS)
	}
}

// Drop implements kube.ServiceSink.
func (c clusterServices) Drop(ctx context.Context, n service.Name) {
	c.a.sections.DeleteService(n)
	c.a.services.Drop(ctx, n)
}

// Where implements kube.ServiceSink: which endpoints are near follows from it.
func (c clusterServices) Where(p service.Place) {
	if c.a.sections.SetPlace(p) {
		c.a.kick(partServices)
	}
}

// Services implements local.Serving.
func (a *Agent) Services() []local.Service { return a.services.List() }

// reportServices tells of what clients are led to.
func (a *Agent) reportServices() []local.Object {
	return a.services.Report(stateOf(local.Object{}, a.runners[partServices]))
}
