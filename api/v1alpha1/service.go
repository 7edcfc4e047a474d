package v1alpha1

import "time"

// Service is an address that stands for several others: whoever connects to it is led to one of its backends. It is written in
// files; a Kubernetes cluster has Services of its own, and Hexapod reads those there.
type Service struct {
	Header `yaml:",inline"`
	Spec   ServiceSpec `json:"spec" yaml:"spec"`
}

// ServiceSpec is the part of a Service that the user writes.
type ServiceSpec struct {
	// Addresses of the service (VIPs).
	Addresses []Addr        `json:"addresses" yaml:"addresses"`
	Ports     []ServicePort `json:"ports" yaml:"ports"`
	// Backends that answer. None: whoever connects is refused at once.
	Backends []ServiceBackend `json:"backends,omitempty" yaml:"backends,omitempty"`

	// Affinity leads a client to the backend it had last, until it was silent that long. Left out: every connection is on its own.
	Affinity Duration `json:"affinity,omitzero" yaml:"affinity,omitempty"`
	// InternalTrafficPolicy Local leads clients to backends of their own host alone.
	InternalTrafficPolicy TrafficPolicy `json:"internalTrafficPolicy,omitempty" yaml:"internalTrafficPolicy,omitempty"`
	// TrafficDistribution says which backends a host prefers, where it has such: those of its rack or its own.
	TrafficDistribution TrafficDistribution `json:"trafficDistribution,omitempty" yaml:"trafficDistribution,omitempty"`
}

// ServicePort is one port of a service.
type ServicePort struct {
	// Name tells ports apart in lists.
	Name     string       `json:"name,omitempty" yaml:"name,omitempty"`
	Protocol PortProtocol `json:"protocol,omitempty" yaml:"protocol,omitempty"`
	Port     uint16       `json:"port" yaml:"port"`
	// TargetPort is where the backends listen. Left out: the same.
	TargetPort uint16 `json:"targetPort,omitempty" yaml:"targetPort,omitempty"`
}

// ServiceBackend is one that answers.
type ServiceBackend struct {
	Address Addr `json:"address" yaml:"address"`
	// Host it lives on, for internalTrafficPolicy and trafficDistribution.
	Host  string       `json:"host,omitempty" yaml:"host,omitempty"`
	State BackendState `json:"state,omitempty" yaml:"state,omitempty"`
}

// PortProtocol is the transport of a port.
type PortProtocol string

// The protocols of ports.
const (
	ProtocolTCP  PortProtocol = "TCP"
	ProtocolUDP  PortProtocol = "UDP"
	ProtocolSCTP PortProtocol = "SCTP"
)

// TrafficPolicy says where the backends may be.
type TrafficPolicy string

// The traffic policies.
const (
	TrafficCluster TrafficPolicy = "Cluster"
	TrafficLocal   TrafficPolicy = "Local"
)

// TrafficDistribution says which backends are preferred.
type TrafficDistribution string

// The distributions. A zone is a rack here.
const (
	PreferSameZone TrafficDistribution = "PreferSameZone"
	PreferSameNode TrafficDistribution = "PreferSameNode"
)

// BackendState is what the user says of a backend.
type BackendState string

// The states of backends.
const (
	BackendReady   BackendState = "ready"
	BackendLeaving BackendState = "leaving" // no new clients, unless no other backend is ready
	BackendDown    BackendState = "down"
)

// Bounds of services.
const (
	MaxServiceBackends = 6552               // as many as a table of the datapath holds
	MaxServiceAffinity = 7 * 24 * time.Hour // a memory of clients is not for ever
)

func (s *Service) setDefaults() {
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		orDefault(&p.Protocol, ProtocolTCP)
		orDefault(&p.TargetPort, p.Port)
	}
	for i := range s.Spec.Backends {
		orDefault(&s.Spec.Backends[i].State, BackendReady)
	}
	orDefault(&s.Spec.InternalTrafficPolicy, TrafficCluster)
}
