// Package policy decides by identity which flows may begin: NetworkPolicy and ClusterNetworkPolicy as one form of rule, and as tables.
//
// The forms are NetworkPolicy v1 and ClusterNetworkPolicy v1alpha2. The size of the tables depends on identities and not on endpoints.
//
// A World is all that policies speak of. Judge reads its rules from the top and is the slow twin; Compile turns what concerns one
// endpoint into two Tables, one for each direction, which answer with three lookups and one bitwise and. Both give a Verdict
// that names the rule.
package policy

import (
	"net/netip"

	"hexapod.dev/model/transport"
)

// Direction is seen from the endpoint whose policies are asked.
type Direction uint8

// The directions.
const (
	Ingress Direction = iota // towards the endpoint
	Egress                   // from the endpoint
)

func (d Direction) String() string { return [...]string{"ingress", "egress"}[d] }

// Action is what a rule does with the flows it matches.
type Action uint8

// The actions.
const (
	Accept Action = iota
	Deny
	Pass // leave the decision to the next tier (ClusterNetworkPolicy)
)

func (a Action) String() string { return [...]string{"accept", "deny", "pass"}[a] }

// Tier is a group of policies. Tiers are asked in this order; the first rule that matches decides, unless it passes.
type Tier uint8

// The tiers.
const (
	Admin     Tier = iota // ClusterNetworkPolicy: before the owners of namespaces are asked
	Namespace             // NetworkPolicy: an endpoint that a policy selects is closed but for what its rules accept
	Baseline              // ClusterNetworkPolicy: where no NetworkPolicy selects the endpoint
	tiers     = 3
)

func (t Tier) String() string { return [...]string{"admin", "namespace", "baseline"}[t] }

// Policy is one NetworkPolicy or ClusterNetworkPolicy. Names are unique in a World: `NetworkPolicy web/allow-front`.
type Policy struct {
	Name     string
	Tier     Tier
	Priority int // within Admin and Baseline: low numbers are asked first; equal ones in the order of their names
	Subject  Workloads
	// Governs tells for each Direction whether the policy has a say. In tier Namespace a policy that governs a direction
	// closes it, with or without rules (policyTypes of NetworkPolicy).
	Governs [2]bool
	Rules   [2][]Rule // by Direction, asked in order
	Log     bool      // what it denies is to be written down
}

// Rule matches a flow when one of Peers and one of Ports do.
type Rule struct {
	Name   string // of the rule, or its place: `ingress 0`
	Action Action
	Peers  []Peer // at the other end; none means anybody, also from outside
	Ports  []Port // of the destination; none means every port of every protocol
}

// Peer is one way to say who is at the other end. Exactly one field is set.
type Peer struct {
	Workloads *Workloads
	Hosts     *Selector // by the labels of hosts (nodes)
	Networks  []Block
}

// Workloads selects endpoints by labels.
type Workloads struct {
	Namespace  string    // this one, if Namespaces is nil
	Namespaces *Selector // by the labels of namespaces
	Endpoints  Selector  // by the labels of endpoints
}

// Block is a prefix less others inside it (ipBlock).
type Block struct {
	Prefix netip.Prefix
	Except []netip.Prefix
}

// Port is a port, a range of them or a name of one, of one protocol.
type Port struct {
	Protocol    transport.Protocol
	First, Last uint16 // both included; 0 and 65535 for every port
	Name        string // of a port of the destination, which must be known by its labels; First and Last are not used then
}

// Verdict is the answer to a flow.
type Verdict struct {
	Action Action // Accept or Deny
	Rule   string // what decided: a policy and its rule, or one of the implicit reasons
}

// The implicit reasons. They are rules too, and `hexapod policy explain` names them.
const (
	ByDefault   = "default: no policy selects the endpoint"
	ByIsolation = "closed: policies select the endpoint and none of their rules matches"
	ByHost      = "implicit: the endpoint's own host, which probes it"
	ByNothing   = "closed: the endpoint has no tables yet"
	ByOutside   = "default: nobody outside reaches an endpoint that is not published"
)
