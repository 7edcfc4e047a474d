package agent

import (
	"context"
	"errors"

	"hexapod.dev/edge/kube"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

// awaitPolicies waits for the policies of the cluster: an endpoint that comes before them would meet none.
func (a *Agent) awaitPolicies(ctx context.Context) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	err := a.options.Cluster.FollowPolicies(waiting, func(p *objects.ClusterPolicies) {
		a.policies.cluster.Store(p)
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
		a.policies.cluster.Store(p)
		a.setPolicies()
		a.kick(partPolicy)
	})
}

// setPolicies writes the section of policies: what the configuration says of them and, in a cluster, what that says.
func (a *Agent) setPolicies() {
	p := &a.policies
	p.setting.Lock() // configuration and policies come by two ways
	defer p.setting.Unlock()
	next := a.config.Load().policies
	if a.options.Cluster != nil {
		c := p.cluster.Load()
		if c == nil {
			return
		}
		next.World, next.Believed = c.Policies(&p.memo, next.World, next.Believed)
	}
	a.sections.SetPolicies(next)
}

// subject is an endpoint as policies ask for it. In a cluster it has the labels of its pod as far as policies select by them, also those
// that are no part of its identity; its number may be late. Elsewhere an endpoint whose labels have no number has its namespace alone.
func (a *Agent) subject(e desired.Endpoint) policy.Subject {
	p := &a.policies
	n := identity.Number(e.Identity)
	s := policy.Subject{Number: n, Set: identity.Set{Namespace: e.Namespace}, Named: p.section.World.Named[n], Host: p.host}
	set, known := p.section.World.Identities[n]
	if known {
		s.Set = set
	}
	if pod, ok := a.podNow(e); ok {
		s.Set = p.compiler.Seen(identity.Set{Namespace: e.Namespace, Labels: pod.Labels})
		s.Named = namedPorts(pod)
	}
	return s
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
