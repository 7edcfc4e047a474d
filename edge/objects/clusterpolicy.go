package objects

import (
	"net/netip"
	"slices"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/xlat"
)

// ClusterPolicies are the policies of a Kubernetes cluster, with what they speak of that is no object of Hexapod. It is not changed
// once made.
type ClusterPolicies struct {
	NetworkPolicies        []*v1alpha1.NetworkPolicy
	ClusterNetworkPolicies []*v1alpha1.ClusterNetworkPolicy
	Namespaces             map[string]map[string]string // labels by name
	Published              []policy.Publication         // what Services and host ports open to the outside
	APIServers             []netip.Addr                 // they call webhooks in the cluster, wherever they run
}

// PolicyMemo is the policies of a cluster as the model has them, so that those that stay are not read again. Its zero value is empty; it
// is for one goroutine at a time.
type PolicyMemo struct {
	carried []xlat.Pref64
	read    map[v1alpha1.Object]*policy.Policy
}

// of reads a policy, or finds it.
func (m *PolicyMemo) of(o v1alpha1.Object, read func() policy.Policy, next map[v1alpha1.Object]*policy.Policy) *policy.Policy {
	p, known := m.read[o]
	if !known {
		q := read()
		q.CarryIPv4(m.carried)
		p = &q
	}
	next[o] = p
	return p
}

// Policies is what the policies of the cluster speak of and who has which address, when Hexapod's own objects say w and b. What m
// remembers is not read again.
func (c *ClusterPolicies) Policies(m *PolicyMemo, w *policy.World, b policy.Believed) (*policy.World, policy.Believed) {
	both := *w
	if !slices.Equal(m.carried, w.Carried) {
		*m = PolicyMemo{carried: w.Carried}
	}
	next := make(map[v1alpha1.Object]*policy.Policy, len(m.read))
	both.Policies = make([]*policy.Policy, 0, len(c.NetworkPolicies)+len(c.ClusterNetworkPolicies))
	for _, o := range c.NetworkPolicies {
		both.Policies = append(both.Policies, m.of(o, func() policy.Policy { return NetworkPolicy(o) }, next))
	}
	for _, o := range c.ClusterNetworkPolicies {
		both.Policies = append(both.Policies, m.of(o, func() policy.Policy { return ClusterNetworkPolicy(o) }, next))
	}
	m.read = next
	both.Namespaces, both.Published = c.Namespaces, c.Published
	exact := make(map[netip.Addr]identity.Number, len(b.Exact)+len(c.APIServers))
	for a, n := range b.Exact {
		exact[a] = n
	}
	for _, a := range c.APIServers {
		if _, known := exact[a]; !known {
			exact[a] = identity.Host
		}
	}
	b.Exact = exact
	return &both, b
}

// Publication opens ports of the endpoints of a namespace that have all of labels.
func Publication(name, namespace string, labels map[string]string, open []v1alpha1.NetworkPolicyPort) policy.Publication {
	return policy.Publication{
		Name:    name,
		Subject: policy.Workloads{Namespace: namespace, Endpoints: selector(&v1alpha1.LabelSelector{MatchLabels: labels})},
		Ports:   ports(open),
	}
}
