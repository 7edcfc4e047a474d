package objects

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hexapod.dev/api/v1alpha1"
)

// NetworkPolicy is a policy of the owner of a namespace as it is held here: what cannot be read accepts nothing.
type NetworkPolicy struct {
	v1alpha1.NetworkPolicy
	Problem string // what of it is not held, and why; empty: nothing
}

// ClusterNetworkPolicy is a policy of those who run the cluster as it is held here: of rules that cannot be read, those that accept
// match nothing and all others deny everything, as network-policy-api wants it of fields that an implementation does not know.
type ClusterNetworkPolicy struct {
	v1alpha1.ClusterNetworkPolicy
	Status  v1alpha1.Status
	Problem string // what of it is not held, and why; empty: nothing
}

// NetworkPolicies is the resource of Kubernetes' network policies.
func NetworkPolicies() Resource[NetworkPolicy] {
	return NewResource[NetworkPolicy](v1alpha1.NetworkPolicyVersion, v1alpha1.KindNetworkPolicy, "networkpolicies", true)
}

// ClusterNetworkPolicies is the resource of cluster network policies. It is there when somebody installed its kind.
func ClusterNetworkPolicies() Resource[ClusterNetworkPolicy] {
	return NewResource[ClusterNetworkPolicy](v1alpha1.ClusterNetworkPolicyVersion, v1alpha1.KindClusterNetworkPolicy, "clusternetworkpolicies", false)
}

// ClusterNetworkPolicyKind is the name of the definition of the kind.
const ClusterNetworkPolicyKind = "clusternetworkpolicies.policy.networking.k8s.io"

// written is a policy before anything of it is understood.
type written struct {
	v1alpha1.Header
	Spec   map[string]any  `json:"spec"`
	Status v1alpha1.Status `json:"status"`
}

// MarshalJSON writes what is held.
func (p *NetworkPolicy) MarshalJSON() ([]byte, error) { return json.Marshal(&p.NetworkPolicy) }

// UnmarshalJSON reads a policy. Any object is one: a part that cannot be read closes what it should have opened.
func (p *NetworkPolicy) UnmarshalJSON(data []byte) error {
	var w written
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	left := leavings{known: []string{"podSelector", "namespaceSelector", "ipBlock"}}
	left.rules(w.Spec, "ingress", "from")
	left.rules(w.Spec, "egress", "to")
	p.Header = w.Header
	p.APIVersion, p.Kind = v1alpha1.NetworkPolicyVersion, v1alpha1.KindNetworkPolicy
	if err := left.read(w.Spec, &p.Spec, func() error { return valid(&p.NetworkPolicy) }); err != nil {
		left.say("no rule of it: %v", err)
		closed := v1alpha1.NetworkPolicySpec{PolicyTypes: []v1alpha1.PolicyType{v1alpha1.PolicyIngress, v1alpha1.PolicyEgress}}
		only := map[string]any{"podSelector": w.Spec["podSelector"]}
		p.Spec = closed
		if err := left.read(only, &p.Spec, func() error { return valid(&p.NetworkPolicy) }); err != nil {
			p.Spec = closed // of all endpoints of its namespace
		}
	}
	p.Problem = left.words()
	return nil
}

// MarshalJSON writes what is held.
func (p *ClusterNetworkPolicy) MarshalJSON() ([]byte, error) {
	return json.Marshal(&p.ClusterNetworkPolicy)
}

// UnmarshalJSON reads a policy. Any object is one: a part that cannot be read closes what it is about.
func (p *ClusterNetworkPolicy) UnmarshalJSON(data []byte) error {
	var w written
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	left := leavings{known: []string{"namespaces", "pods", "nodes", "networks"}, cluster: true}
	left.rules(w.Spec, "ingress", "from")
	left.rules(w.Spec, "egress", "to")
	p.Header, p.Status = w.Header, w.Status
	p.APIVersion, p.Kind = v1alpha1.ClusterNetworkPolicyVersion, v1alpha1.KindClusterNetworkPolicy
	if err := left.read(w.Spec, &p.Spec, func() error { return valid(&p.ClusterNetworkPolicy) }); err != nil {
		left.say("the policy: %v", err)
		p.Spec = v1alpha1.ClusterNetworkPolicySpec{Tier: v1alpha1.TierAdmin, Subject: v1alpha1.PolicySubject{Namespaces: &v1alpha1.LabelSelector{
			MatchExpressions: []v1alpha1.LabelRequirement{{Key: nobody, Operator: v1alpha1.LabelExists}}}}}
	}
	p.Problem = left.words()
	return nil
}

// nobody is a label that nothing has: the subject of a policy whose own subject cannot be read.
const nobody = "hexapod.dev/nobody"

// valid fills the defaults of an object and reports what is wrong with its spec. Names are the API server's to judge.
func valid(o v1alpha1.Object) error {
	for _, p := range v1alpha1.Validate(o).Errors() {
		if strings.HasPrefix(p.Field, "spec") {
			return errors.New(p.Field + ": " + p.What)
		}
	}
	return nil
}

// leavings collects what is left out of one policy.
type leavings struct {
	known   []string // the ways to name a peer
	cluster bool     // a rule that does not accept is made to deny everything
	said    []string
}

func (l *leavings) say(format string, args ...any) {
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

func (l *leavings) words() string { return strings.Join(l.said, "; ") }

// read turns what is left of a spec into its form and judges that.
func (l *leavings) read(spec map[string]any, into any, judge func() error) error {
	data, err := json.Marshal(spec)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return err
	}
	return judge()
}

// rules cleans the rules of one direction: prefixes lose the bits behind their length, which Kubernetes allows, and peers that cannot
// be read are left out with what follows from that.
func (l *leavings) rules(spec map[string]any, direction, peers string) {
	rules, ok := spec[direction].([]any)
	if !ok {
		return
	}
	var kept []any
	for i, r := range rules {
		rule, ok := r.(map[string]any)
		if !ok {
			l.say("%s[%d] is no rule", direction, i)
			continue
		}
		if l.peers(rule, peers, fmt.Sprintf("%s[%d].%s", direction, i, peers)) {
			kept = append(kept, rule)
		}
	}
	spec[direction] = kept
	if len(kept) == 0 {
		delete(spec, direction) // the types of a NetworkPolicy, which the API server has filled in, go on closing the direction
	}
}

// peers cleans the peers of one rule, and reports whether the rule stays.
func (l *leavings) peers(rule map[string]any, field, at string) bool {
	list, ok := rule[field].([]any)
	if !ok || len(list) == 0 {
		return true // none are named: everybody, or a mistake that the checks find
	}
	var kept []any
	for i, p := range list {
		if why := l.peer(p); why != "" {
			l.say("%s[%d] %s", at, i, why)
			continue
		}
		kept = append(kept, p)
	}
	accepts := !l.cluster || rule["action"] == string(v1alpha1.ActionAccept)
	if len(kept) < len(list) && !accepts {
		rule["action"] = string(v1alpha1.ActionDeny)
		everybody := map[string]any{"namespaces": map[string]any{}}
		kept = []any{everybody}
		if field == "to" {
			kept = append(kept, map[string]any{"networks": []any{"::/0", "0.0.0.0/0"}})
		}
		delete(rule, "protocols")
	}
	rule[field] = kept
	return len(kept) > 0
}

// peer masks the prefixes of a peer, and tells why it cannot be read.
func (l *leavings) peer(p any) string {
	peer, ok := p.(map[string]any)
	if !ok {
		return "is no peer"
	}
	if !slices.ContainsFunc(l.known, func(k string) bool { _, there := peer[k]; return there }) {
		return "names nobody that is known here"
	}
	if block, ok := peer["ipBlock"].(map[string]any); ok {
		for _, field := range []string{"cidr", "except"} {
			if why := mask(block, field); why != "" {
				return why
			}
		}
	}
	return mask(peer, "networks")
}

// mask clears the bits of prefixes behind their length.
func mask(in map[string]any, field string) string {
	one := func(v any) (string, bool) {
		s, ok := v.(string)
		if !ok {
			return "", false
		}
		p, err := netip.ParsePrefix(s)
		return p.Masked().String(), err == nil
	}
	switch v := in[field].(type) {
	case nil:
	case []any:
		for i := range v {
			p, ok := one(v[i])
			if !ok {
				return fmt.Sprintf("has %s %v, which is no prefix", field, v[i])
			}
			v[i] = p
		}
	default:
		p, ok := one(v)
		if !ok {
			return fmt.Sprintf("has %s %v, which is no prefix", field, v)
		}
		in[field] = p
	}
	return ""
}
