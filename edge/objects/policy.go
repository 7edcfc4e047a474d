package objects

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

// Policies returns everything that the policies of a set speak of. found are prefixes of a NAT64 of others that the host itself found.
func Policies(s v1alpha1.Set, m Model, found ...netip.Prefix) *policy.World {
	w := &policy.World{Identities: map[identity.Number]identity.Set{}, CloseOutside: s.Plan.Spec.Outside != v1alpha1.OutsideOpen,
		UnknownInside: s.Plan.Spec.UnknownIdentity == v1alpha1.UnknownAsInside}
	for _, e := range m.Identities.Entries() {
		w.Identities[e.Number] = e.Set
	}
	w.Named = named(s.Identities)
	for i, h := range s.Hosts {
		addrs := addressesOf(h)
		if p, err := m.Plan.PrefixOf(m.Plan.Hosts[i]); err == nil && h.Living() { // Plan keeps the order of the set
			addrs = append(addrs, routerAddr(p)...)
		}
		w.Hosts = append(w.Hosts, policy.Host{Name: h.ObjectName(), Labels: h.Metadata.Labels, Addrs: addrs})
	}
	for _, o := range s.Publications {
		w.Published = append(w.Published, policy.Publication{
			Name:    "Publication " + o.ObjectName(),
			Subject: policy.Workloads{Namespace: o.Spec.Namespace, Endpoints: selector(&o.Spec.PodSelector)},
			Ports:   ports(o.Spec.Ports),
		})
	}
	w.Carried = policy.Pref64s(append(pref64s(s), found...))
	for _, o := range s.NetworkPolicies {
		p := NetworkPolicy(o)
		p.CarryIPv4(w.Carried)
		w.Policies = append(w.Policies, &p)
	}
	for _, o := range s.ClusterNetworkPolicies {
		p := ClusterNetworkPolicy(o)
		p.CarryIPv4(w.Carried)
		w.Policies = append(w.Policies, &p)
	}
	return w
}

// pref64s are the prefixes that carry IPv4 addresses, by what the set says of translation and of names.
func pref64s(s v1alpha1.Set) (out []netip.Prefix) {
	for _, o := range s.Translations {
		out = append(out, bare(o.Spec.Prefixes)...)
	}
	if s.Plan.Spec.DNS != nil {
		for _, p := range s.Plan.Spec.DNS.Prefixes {
			out = append(out, p.Prefix.Prefix)
		}
	}
	return out
}

// named lists the ports that the endpoints of each identity have names for.
func named(identities []*v1alpha1.Identity) map[identity.Number][]policy.NamedPort {
	out := map[identity.Number][]policy.NamedPort{}
	for _, o := range identities {
		n := identity.Number(o.Spec.Number)
		for _, p := range o.Spec.Ports {
			out[n] = append(out[n], policy.NamedPort{Name: p.Name, Protocol: protocols[p.Protocol], Port: p.Port})
		}
	}
	return out
}

// Written returns where the policies and publications of a set were written, by the name that verdicts give them: `file:line`.
func Written(s v1alpha1.Set) map[string]string {
	out := map[string]string{}
	add := func(name string, o v1alpha1.Object) {
		if src := o.Head().Source; src.File != "" {
			out[name] = fmt.Sprintf("%s:%d", src.File, src.Position("").Line)
		}
	}
	for _, o := range s.NetworkPolicies {
		add(networkPolicyName(o), o)
	}
	for _, o := range s.ClusterNetworkPolicies {
		add(clusterPolicyName(o), o)
	}
	for _, o := range s.Publications {
		add("Publication "+o.ObjectName(), o)
	}
	return out
}

func networkPolicyName(o *v1alpha1.NetworkPolicy) string {
	return "NetworkPolicy " + o.Metadata.Namespace + "/" + o.ObjectName()
}

func clusterPolicyName(o *v1alpha1.ClusterNetworkPolicy) string {
	return "ClusterNetworkPolicy " + o.ObjectName()
}

// An annotation by which a policy has its host write down what it denies.
const (
	LogAnnotation = "hexapod.dev/log"
	LogDenied     = "denied"
)

// NetworkPolicy returns a policy in the form that both kinds have in common.
func NetworkPolicy(o *v1alpha1.NetworkPolicy) policy.Policy {
	ns := o.Metadata.Namespace
	p := policy.Policy{
		Name: networkPolicyName(o), Tier: policy.Namespace, Log: o.Metadata.Annotations[LogAnnotation] == LogDenied,
		Subject: policy.Workloads{Namespace: ns, Endpoints: selector(&o.Spec.PodSelector)},
	}
	p.Governs[policy.Ingress] = slices.Contains(o.Spec.PolicyTypes, v1alpha1.PolicyIngress)
	p.Governs[policy.Egress] = slices.Contains(o.Spec.PolicyTypes, v1alpha1.PolicyEgress)
	add := func(d policy.Direction, i int, peers []v1alpha1.NetworkPolicyPeer, on []v1alpha1.NetworkPolicyPort) {
		r := policy.Rule{Name: fmt.Sprintf("%s %d", d, i), Ports: ports(on)}
		for _, q := range peers {
			r.Peers = append(r.Peers, policyPeer(ns, q))
		}
		p.Rules[d] = append(p.Rules[d], r)
	}
	for i, r := range o.Spec.Ingress {
		add(policy.Ingress, i, r.From, r.Ports)
	}
	for i, r := range o.Spec.Egress {
		add(policy.Egress, i, r.To, r.Ports)
	}
	return p
}

func policyPeer(ns string, q v1alpha1.NetworkPolicyPeer) policy.Peer {
	if b := q.IPBlock; b != nil {
		block := policy.Block{Prefix: b.CIDR.Masked()}
		for _, e := range b.Except {
			block.Except = append(block.Except, e.Masked())
		}
		return policy.Peer{Networks: []policy.Block{block}}
	}
	w := policy.Workloads{Namespace: ns}
	if q.NamespaceSelector != nil {
		w.Namespaces = some(q.NamespaceSelector)
	}
	if q.PodSelector != nil {
		w.Endpoints = selector(q.PodSelector)
	}
	return policy.Peer{Workloads: &w}
}

func ports(in []v1alpha1.NetworkPolicyPort) (out []policy.Port) {
	for _, p := range in {
		q := policy.Port{Protocol: protocols[p.Protocol], First: 0, Last: 65535}
		if p.Port != nil {
			if n, ok := p.Port.Number(); ok {
				q.First, q.Last = n, max(n, uint16(p.EndPort))
			} else {
				q = policy.Port{Protocol: q.Protocol, Name: string(*p.Port)}
			}
		}
		out = append(out, q)
	}
	return out
}

var protocols = map[v1alpha1.PortProtocol]transport.Protocol{
	v1alpha1.ProtocolTCP: transport.TCP, v1alpha1.ProtocolUDP: transport.UDP, v1alpha1.ProtocolSCTP: transport.SCTP,
}

// ClusterNetworkPolicy returns a policy in the form that both kinds have in common. A rule with a name and its place would be
// two words for one thing, so the name stands alone.
func ClusterNetworkPolicy(o *v1alpha1.ClusterNetworkPolicy) policy.Policy {
	p := policy.Policy{Name: clusterPolicyName(o), Tier: tierOf[o.Spec.Tier], Priority: int(o.Spec.Priority), Log: o.Metadata.Annotations[LogAnnotation] == LogDenied}
	p.Subject = workloads(o.Spec.Subject.Namespaces, o.Spec.Subject.Pods)
	p.Governs = [2]bool{policy.Ingress: len(o.Spec.Ingress) > 0, policy.Egress: len(o.Spec.Egress) > 0}
	add := func(d policy.Direction, i int, name string, a v1alpha1.PolicyAction, peers []policy.Peer, on []v1alpha1.PolicyProtocol) {
		if name == "" {
			name = fmt.Sprintf("%s %d", d, i)
		}
		p.Rules[d] = append(p.Rules[d], policy.Rule{Name: name, Action: actions[a], Peers: peers, Ports: protocolPorts(on)})
	}
	for i, r := range o.Spec.Ingress {
		var peers []policy.Peer
		for _, q := range r.From {
			w := workloads(q.Namespaces, q.Pods)
			peers = append(peers, policy.Peer{Workloads: &w})
		}
		add(policy.Ingress, i, r.Name, r.Action, peers, r.Protocols)
	}
	for i, r := range o.Spec.Egress {
		var peers []policy.Peer
		for _, q := range r.To {
			peers = append(peers, egressPeer(q))
		}
		add(policy.Egress, i, r.Name, r.Action, peers, r.Protocols)
	}
	return p
}

var (
	tierOf  = map[v1alpha1.PolicyTier]policy.Tier{v1alpha1.TierAdmin: policy.Admin, v1alpha1.TierBaseline: policy.Baseline}
	actions = map[v1alpha1.PolicyAction]policy.Action{
		v1alpha1.ActionAccept: policy.Accept, v1alpha1.ActionDeny: policy.Deny, v1alpha1.ActionPass: policy.Pass,
	}
)

func egressPeer(q v1alpha1.ClusterEgressPeer) policy.Peer {
	switch {
	case q.Nodes != nil:
		return policy.Peer{Hosts: some(q.Nodes)}
	case len(q.Networks) > 0:
		var blocks []policy.Block
		for _, n := range q.Networks {
			blocks = append(blocks, policy.Block{Prefix: n.Masked()})
		}
		return policy.Peer{Networks: blocks}
	}
	w := workloads(q.Namespaces, q.Pods)
	return policy.Peer{Workloads: &w}
}

// workloads reads the two ways to select endpoints of several namespaces.
func workloads(namespaces *v1alpha1.LabelSelector, pods *v1alpha1.NamespacedPod) policy.Workloads {
	if pods != nil {
		return policy.Workloads{Namespaces: some(&pods.NamespaceSelector), Endpoints: selector(&pods.PodSelector)}
	}
	return policy.Workloads{Namespaces: some(namespaces)}
}

// protocolPorts reads transports with their ports. The name of a port stands for it in every transport.
func protocolPorts(in []v1alpha1.PolicyProtocol) (out []policy.Port) {
	for _, p := range in {
		if p.DestinationNamedPort != "" {
			for _, t := range []transport.Protocol{transport.TCP, transport.UDP, transport.SCTP} {
				out = append(out, policy.Port{Protocol: t, Name: p.DestinationNamedPort})
			}
			continue
		}
		for _, t := range []struct {
			is *v1alpha1.PolicyTransport
			as transport.Protocol
		}{{p.TCP, transport.TCP}, {p.UDP, transport.UDP}, {p.SCTP, transport.SCTP}} {
			if t.is == nil {
				continue
			}
			q := policy.Port{Protocol: t.as, First: 0, Last: 65535}
			switch d := t.is.DestinationPort; {
			case d == nil:
			case d.Range != nil:
				q.First, q.Last = uint16(d.Range.Start), uint16(d.Range.End)
			default:
				q.First, q.Last = uint16(d.Number), uint16(d.Number)
			}
			out = append(out, q)
		}
	}
	return out
}

// selector returns the requirements of a selector, those of labels by name first.
func selector(in *v1alpha1.LabelSelector) policy.Selector {
	out := policy.Selector{}
	for _, k := range slices.Sorted(maps.Keys(in.MatchLabels)) {
		out = append(out, policy.Requirement{Key: k, Op: policy.In, Values: []string{in.MatchLabels[k]}})
	}
	for _, e := range in.MatchExpressions {
		out = append(out, policy.Requirement{Key: e.Key, Op: operators[e.Operator], Values: e.Values})
	}
	return out
}

func some(in *v1alpha1.LabelSelector) *policy.Selector {
	out := selector(in)
	return &out
}

var operators = map[v1alpha1.LabelOperator]policy.Operator{
	v1alpha1.LabelIn: policy.In, v1alpha1.LabelNotIn: policy.NotIn, v1alpha1.LabelExists: policy.Exists, v1alpha1.LabelDoesNotExist: policy.DoesNotExist,
}

// excludedLabels warns of selectors that name a label which is no part of an identity: nobody can be told by it.
func excludedLabels(s v1alpha1.Set, rules identity.Rules) (out v1alpha1.Problems) {
	excluded := rules.Excluded()
	warn := func(o v1alpha1.Object, w policy.Workloads) {
		w.Endpoints.Keys(func(key string) {
			if !slices.Contains(excluded, key) {
				return
			}
			p := v1alpha1.ProblemAt(o, "spec", fmt.Sprintf("selects by label %s, which is no part of an identity: no endpoint has it here", key),
				"select by another label, or take this one out of spec.identity.excludeLabels of the AddressPlan")
			p.Severity = v1alpha1.Warning
			out = append(out, p)
		})
	}
	each := func(o v1alpha1.Object, p policy.Policy) {
		warn(o, p.Subject)
		for _, r := range slices.Concat(p.Rules[policy.Ingress], p.Rules[policy.Egress]) {
			for _, q := range r.Peers {
				if q.Workloads != nil {
					warn(o, *q.Workloads)
				}
			}
		}
	}
	for _, o := range s.NetworkPolicies {
		each(o, NetworkPolicy(o))
	}
	for _, o := range s.ClusterNetworkPolicies {
		each(o, ClusterNetworkPolicy(o))
	}
	for _, o := range s.Publications {
		warn(o, policy.Workloads{Endpoints: selector(&o.Spec.PodSelector)})
	}
	return out
}

// UnknownLabels lists the labels that the rules of a policy tell others by and that are no part of an identity: nobody is known by them.
func UnknownLabels(p policy.Policy, rules identity.Rules) (labels []string) {
	excluded := rules.Excluded()
	for _, r := range slices.Concat(p.Rules[policy.Ingress], p.Rules[policy.Egress]) {
		for _, q := range r.Peers {
			if q.Workloads == nil {
				continue
			}
			q.Workloads.Endpoints.Keys(func(key string) {
				if slices.Contains(excluded, key) && !slices.Contains(labels, key) {
					labels = append(labels, key)
				}
			})
		}
	}
	return labels
}
