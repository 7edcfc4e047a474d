package v1alpha1

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// NetworkPolicyVersion is the apiVersion of NetworkPolicy: the kind and its fields are those of Kubernetes.
const NetworkPolicyVersion = "networking.k8s.io/v1"

// NetworkPolicy closes the endpoints it selects but for what its rules accept. It is written in files in the form that Kubernetes
// has; a cluster has its own.
type NetworkPolicy struct {
	Header `yaml:",inline"`
	Spec   NetworkPolicySpec `json:"spec" yaml:"spec"`
}

// NetworkPolicySpec is the part of a NetworkPolicy that the user writes.
type NetworkPolicySpec struct {
	// PodSelector selects endpoints of the policy's namespace; {} selects all of them.
	PodSelector LabelSelector `json:"podSelector,omitempty" yaml:"podSelector,omitempty"`
	// PolicyTypes are the directions that the policy closes. Left out: Ingress, and Egress where the policy has rules for it.
	PolicyTypes []PolicyType               `json:"policyTypes,omitempty" yaml:"policyTypes,omitempty"`
	Ingress     []NetworkPolicyIngressRule `json:"ingress,omitempty" yaml:"ingress,omitempty"`
	Egress      []NetworkPolicyEgressRule  `json:"egress,omitempty" yaml:"egress,omitempty"`
}

// PolicyType is a direction.
type PolicyType string

// The directions.
const (
	PolicyIngress PolicyType = "Ingress"
	PolicyEgress  PolicyType = "Egress"
)

// NetworkPolicyIngressRule accepts flows from one of From to one of Ports. A list that is left out matches everything.
type NetworkPolicyIngressRule struct {
	Ports []NetworkPolicyPort `json:"ports,omitempty" yaml:"ports,omitempty"`
	From  []NetworkPolicyPeer `json:"from,omitempty" yaml:"from,omitempty"`
}

// NetworkPolicyEgressRule accepts flows to one of To on one of Ports. A list that is left out matches everything.
type NetworkPolicyEgressRule struct {
	Ports []NetworkPolicyPort `json:"ports,omitempty" yaml:"ports,omitempty"`
	To    []NetworkPolicyPeer `json:"to,omitempty" yaml:"to,omitempty"`
}

// NetworkPolicyPort is a port, a range of them, or all of one protocol where port is left out.
type NetworkPolicyPort struct {
	Protocol PortProtocol `json:"protocol,omitempty" yaml:"protocol,omitempty"`
	Port     *PortRef     `json:"port,omitempty" yaml:"port,omitempty"`
	EndPort  int32        `json:"endPort,omitempty" yaml:"endPort,omitempty"`
}

// NetworkPolicyPeer is who is at the other end: endpoints, of the policy's namespace unless namespaceSelector names others, or addresses.
type NetworkPolicyPeer struct {
	PodSelector       *LabelSelector `json:"podSelector,omitempty" yaml:"podSelector,omitempty"`
	NamespaceSelector *LabelSelector `json:"namespaceSelector,omitempty" yaml:"namespaceSelector,omitempty"`
	IPBlock           *IPBlock       `json:"ipBlock,omitempty" yaml:"ipBlock,omitempty"`
}

// IPBlock is a prefix less others inside it.
type IPBlock struct {
	CIDR   Prefix   `json:"cidr" yaml:"cidr"`
	Except []Prefix `json:"except,omitempty" yaml:"except,omitempty"`
}

// LabelSelector selects by labels: all of its conditions must hold. {} selects everything.
type LabelSelector struct {
	MatchLabels      map[string]string  `json:"matchLabels,omitempty" yaml:"matchLabels,omitempty"`
	MatchExpressions []LabelRequirement `json:"matchExpressions,omitempty" yaml:"matchExpressions,omitempty"`
}

// LabelRequirement is one condition on a label.
type LabelRequirement struct {
	Key      string        `json:"key" yaml:"key"`
	Operator LabelOperator `json:"operator" yaml:"operator"`
	Values   []string      `json:"values,omitempty" yaml:"values,omitempty"`
}

// LabelOperator is how a LabelRequirement compares.
type LabelOperator string

// The operators.
const (
	LabelIn           LabelOperator = "In"
	LabelNotIn        LabelOperator = "NotIn"
	LabelExists       LabelOperator = "Exists"
	LabelDoesNotExist LabelOperator = "DoesNotExist"
)

// PortRef is a port by its number or by its name.
type PortRef string

// MarshalText returns number or name.
func (p PortRef) MarshalText() ([]byte, error) { return []byte(p), nil }

// UnmarshalText takes any text; the checks judge it.
func (p *PortRef) UnmarshalText(text []byte) error {
	*p = PortRef(text)
	return nil
}

// MarshalJSON writes a number as a number, as Kubernetes does.
func (p PortRef) MarshalJSON() ([]byte, error) {
	if n, ok := p.Number(); ok {
		return strconv.AppendInt(nil, int64(n), 10), nil
	}
	return json.Marshal(string(p))
}

// UnmarshalJSON reads a number or a text.
func (p *PortRef) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		*p = PortRef(v)
	case float64:
		*p = PortRef(data)
	default:
		return fmt.Errorf("%s is neither the number nor the name of a port", data)
	}
	return nil
}

// Number returns the number, if the reference is one from 0 to 65535.
func (p PortRef) Number() (uint16, bool) {
	n, err := strconv.ParseUint(string(p), 10, 16)
	return uint16(n), err == nil
}

// DefaultNamespace is the namespace of documents that name none.
const DefaultNamespace = "default"

func (p *NetworkPolicy) setDefaults() {
	orDefault(&p.Metadata.Namespace, DefaultNamespace)
	if len(p.Spec.PolicyTypes) == 0 {
		p.Spec.PolicyTypes = []PolicyType{PolicyIngress}
		if len(p.Spec.Egress) > 0 {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, PolicyEgress)
		}
	}
	for i := range p.Spec.Ingress {
		defaultPorts(p.Spec.Ingress[i].Ports)
	}
	for i := range p.Spec.Egress {
		defaultPorts(p.Spec.Egress[i].Ports)
	}
}

func defaultPorts(ports []NetworkPolicyPort) {
	for i := range ports {
		orDefault(&ports[i].Protocol, ProtocolTCP)
	}
}
