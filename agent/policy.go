package agent

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"

	"hexapod.dev/agent/local"
	"hexapod.dev/agent/policies"
	"hexapod.dev/edge/kube"
	"hexapod.dev/edge/objects"
	"hexapod.dev/linux/datapath"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

// partPolicy keeps the policies of endpoints in force.
const partPolicy = "policy"

var _ local.Policing = (*Agent)(nil)

// clusterPolicies are what a cluster says of policies.
type clusterPolicies struct {
	newest atomic.Pointer[objects.ClusterPolicies] // nil: outside a cluster, or nothing is known yet

	setting sync.Mutex // held while the section is written; guards memo
	memo    objects.PolicyMemo
}

// newPolicies introduces the enforcer of policies to the host.
func (a *Agent) newPolicies() *policies.Enforcer {
	return policies.New(policies.Options{
		Host: a.options.Host, Log: a.log, Snapshot: a.sections.Snapshot, Holder: a.sections.Holder, Pod: a.policedPod,
		Seal:     func(p netip.Prefix) *ipam.Seal { return a.config.Load().sealFor(p) },
		Programs: func() (*datapath.Table, string) { return a.datapath.table, a.datapath.why },
		Again:    func() { a.kick(partPolicy) },
		Behind:   a.reportSoon,
	})
}

// policeAll puts the policies of all endpoints in force. Nothing is added or removed by an ADD or DEL meanwhile.
func (a *Agent) policeAll(context.Context) error {
	a.passing.Lock()
	defer a.passing.Unlock()
	delta, err := a.policies.Reconcile()
	a.changed(partPolicy, delta)
	return err
}

// awaitPolicies waits for the policies of the cluster: an endpoint that comes before them would meet none.
func (a *Agent) awaitPolicies(ctx context.Context) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	err := a.options.Cluster.FollowPolicies(waiting, func(p *objects.ClusterPolicies) {
		a.told.newest.Store(p)
		stop()
	})
	a.setPolicies()
	return errors.Join(err, ctx.Err())
}

// runPolicies follows the policies of a cluster until ctx ends.
func (a *Agent) runPolicies(ctx context.Context) error {
	if a.options.Cluster == nil {
		return nil
	}
	return a.options.Cluster.FollowPolicies(ctx, func(p *objects.ClusterPolicies) {
		a.told.newest.Store(p)
		a.setPolicies()
		a.kick(partPolicy)
	})
}

// setPolicies writes the section of policies: what the configuration says of them and, in a cluster, what that says.
func (a *Agent) setPolicies() {
	t := &a.told
	t.setting.Lock() // configuration and policies come by two ways
	defer t.setting.Unlock()
	next := a.config.Load().policies
	if a.options.Cluster != nil {
		c := t.newest.Load()
		if c == nil {
			return
		}
		next.World, next.Believed = c.Policies(&t.memo, next.World, next.Believed)
	}
	a.sections.SetPolicies(next)
}

// policedPod is what policies ask of the pod of an endpoint.
func (a *Agent) policedPod(e desired.Endpoint) (policies.Pod, bool) {
	pod, ok := a.podNow(e)
	return policies.Pod{Labels: pod.Labels, Named: namedPorts(pod)}, ok
}

// namedPorts are the ports of a pod that have names.
func namedPorts(pod kube.Pod) (out []policy.NamedPort) {
	for _, p := range pod.Ports {
		protocol, known := transport.Parse(p.Protocol)
		if p.Name != "" && known {
			out = append(out, policy.NamedPort{Name: p.Name, Protocol: protocol, Port: p.ContainerPort})
		}
	}
	return out
}

// ExplainPolicy implements local.Policing.
func (a *Agent) ExplainPolicy(q local.PolicyQuestion) (local.PolicyAnswer, error) {
	return a.policies.Explain(q)
}

// ShowPolicy implements local.Policing.
func (a *Agent) ShowPolicy(endpoint string) (local.PolicyTables, error) {
	return a.policies.Show(endpoint)
}

// reportPolicy tells of the policies of this host.
func (a *Agent) reportPolicy() []local.Object {
	return a.policies.Report(stateOf(local.Object{}, a.runners[partPolicy]))
}
