package v1alpha1

// ClusterNetworkPolicyVersion is the apiVersion of ClusterNetworkPolicy: the kind and its fields are those of network-policy-api.
const ClusterNetworkPolicyVersion = "policy.networking.k8s.io/v1alpha2"

// ClusterNetworkPolicy is a rule of those who run the network: before (Admin) or behind (Baseline) what the owners of namespaces say.
type ClusterNetworkPolicy struct {
	Header `yaml:",inline"`
	Spec   ClusterNetworkPolicySpec `json:"spec" yaml:"spec"`
}

// ClusterNetworkPolicySpec is the part of a ClusterNetworkPolicy that the user writes.
type ClusterNetworkPolicySpec struct {
	Tier PolicyTier `json:"tier" yaml:"tier"`
	// Priority orders the policies of a tier, from 0 to 1000: low numbers are asked first.
	Priority int32         `json:"priority" yaml:"priority"`
	Subject  PolicySubject `json:"subject" yaml:"subject"`
	// Ingress and Egress are asked in their order; the first rule that matches decides. Each has at most 25 rules.
	Ingress []ClusterIngressRule `json:"ingress,omitempty" yaml:"ingress,omitempty"`
	Egress  []ClusterEgressRule  `json:"egress,omitempty" yaml:"egress,omitempty"`
}

// PolicyTier is a group of policies that are asked together.
type PolicyTier string

// The tiers.
const (
	TierAdmin    PolicyTier = "Admin"
	TierBaseline PolicyTier = "Baseline"
)

// PolicySubject selects the endpoints that a policy is about: exactly one field is set.
type PolicySubject struct {
	Namespaces *LabelSelector `json:"namespaces,omitempty" yaml:"namespaces,omitempty"`
	Pods       *NamespacedPod `json:"pods,omitempty" yaml:"pods,omitempty"`
}

// NamespacedPod selects endpoints of the namespaces that a selector selects.
type NamespacedPod struct {
	NamespaceSelector LabelSelector `json:"namespaceSelector" yaml:"namespaceSelector"`
	PodSelector       LabelSelector `json:"podSelector" yaml:"podSelector"`
}

// ClusterIngressRule is what becomes of flows from one of From.
type ClusterIngressRule struct {
	Name      string               `json:"name,omitempty" yaml:"name,omitempty"`
	Action    PolicyAction         `json:"action" yaml:"action"`
	From      []ClusterIngressPeer `json:"from" yaml:"from"`
	Protocols []PolicyProtocol     `json:"protocols,omitempty" yaml:"protocols,omitempty"`
}

// ClusterEgressRule is what becomes of flows to one of To.
type ClusterEgressRule struct {
	Name      string              `json:"name,omitempty" yaml:"name,omitempty"`
	Action    PolicyAction        `json:"action" yaml:"action"`
	To        []ClusterEgressPeer `json:"to" yaml:"to"`
	Protocols []PolicyProtocol    `json:"protocols,omitempty" yaml:"protocols,omitempty"`
}

// PolicyAction is what a rule does.
type PolicyAction string

// The actions.
const (
	ActionAccept PolicyAction = "Accept"
	ActionDeny   PolicyAction = "Deny"
	ActionPass   PolicyAction = "Pass" // the next tier decides
)

// ClusterIngressPeer is who begins a flow: exactly one field is set.
type ClusterIngressPeer struct {
	Namespaces *LabelSelector `json:"namespaces,omitempty" yaml:"namespaces,omitempty"`
	Pods       *NamespacedPod `json:"pods,omitempty" yaml:"pods,omitempty"`
}

// ClusterEgressPeer is whom a flow goes to: exactly one field is set.
type ClusterEgressPeer struct {
	Namespaces *LabelSelector `json:"namespaces,omitempty" yaml:"namespaces,omitempty"`
	Pods       *NamespacedPod `json:"pods,omitempty" yaml:"pods,omitempty"`
	// Nodes selects hosts by their labels.
	Nodes    *LabelSelector `json:"nodes,omitempty" yaml:"nodes,omitempty"`
	Networks []Prefix       `json:"networks,omitempty" yaml:"networks,omitempty"`
}

// PolicyProtocol is a transport with its ports, or the name of a port: exactly one field is set.
type PolicyProtocol struct {
	TCP                  *PolicyTransport `json:"tcp,omitempty" yaml:"tcp,omitempty"`
	UDP                  *PolicyTransport `json:"udp,omitempty" yaml:"udp,omitempty"`
	SCTP                 *PolicyTransport `json:"sctp,omitempty" yaml:"sctp,omitempty"`
	DestinationNamedPort string           `json:"destinationNamedPort,omitempty" yaml:"destinationNamedPort,omitempty"`
}

// PolicyTransport says which ports of a transport; left out: all.
type PolicyTransport struct {
	DestinationPort *PolicyPort `json:"destinationPort,omitempty" yaml:"destinationPort,omitempty"`
}

// PolicyPort is one port or a range: exactly one field is set.
type PolicyPort struct {
	Number int32            `json:"number,omitempty" yaml:"number,omitempty"`
	Range  *PolicyPortRange `json:"range,omitempty" yaml:"range,omitempty"`
}

// PolicyPortRange is a range of ports, both ends included.
type PolicyPortRange struct {
	Start int32 `json:"start" yaml:"start"`
	End   int32 `json:"end" yaml:"end"`
}

// Bounds of ClusterNetworkPolicy (network-policy-api v1alpha2).
const (
	MaxPolicyPriority = 1000
	MaxPolicyRules    = 25
	MaxPolicyPeers    = 25
)

func (p *ClusterNetworkPolicy) setDefaults() {}
