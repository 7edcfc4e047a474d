package objects

import "hexapod.dev/api/v1alpha1"

// Service is what Hexapod reads of a service of Kubernetes.
type Service struct {
	v1alpha1.Header
	Spec ServiceSpec `json:"spec"`
}

// ServiceSpec is the part of a service that a user and the API server write.
type ServiceSpec struct {
	Type                     string                 `json:"type,omitempty"`
	ClusterIP                string                 `json:"clusterIP,omitempty"`
	ClusterIPs               []string               `json:"clusterIPs,omitempty"`
	Ports                    []ServicePort          `json:"ports,omitempty"`
	SessionAffinity          string                 `json:"sessionAffinity,omitempty"`
	SessionAffinityConfig    *SessionAffinityConfig `json:"sessionAffinityConfig,omitempty"`
	InternalTrafficPolicy    string                 `json:"internalTrafficPolicy,omitempty"`
	TrafficDistribution      string                 `json:"trafficDistribution,omitempty"`
	PublishNotReadyAddresses bool                   `json:"publishNotReadyAddresses,omitempty"`
	Selector                 map[string]string      `json:"selector,omitempty"`
	ExternalIPs              []string               `json:"externalIPs,omitempty"`
}

// ServicePort is one port of a service.
type ServicePort struct {
	Name     string `json:"name,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Port     uint16 `json:"port"`
	// TargetPort is a number or the name of a port of the endpoints; absent: Port.
	TargetPort *v1alpha1.PortRef `json:"targetPort,omitempty"`
}

// SessionAffinityConfig bounds how long a client keeps its backend.
type SessionAffinityConfig struct {
	ClientIP *struct {
		TimeoutSeconds *uint32 `json:"timeoutSeconds,omitempty"`
	} `json:"clientIP,omitempty"`
}

// EndpointSlice is what Hexapod reads of a part of the endpoints of a service.
type EndpointSlice struct {
	v1alpha1.Header
	AddressType string          `json:"addressType"`
	Endpoints   []SliceEndpoint `json:"endpoints,omitempty"`
	Ports       []SlicePort     `json:"ports,omitempty"`
}

// SliceEndpoint is one endpoint.
type SliceEndpoint struct {
	Addresses  []string        `json:"addresses,omitempty"`
	Conditions SliceConditions `json:"conditions"`
	NodeName   string          `json:"nodeName,omitempty"`
	Zone       string          `json:"zone,omitempty"`
	Hints      *SliceHints     `json:"hints,omitempty"`
}

// SliceConditions are what is known of an endpoint; what is absent has a meaning of its own.
type SliceConditions struct {
	Ready       *bool `json:"ready,omitempty"`
	Serving     *bool `json:"serving,omitempty"`
	Terminating *bool `json:"terminating,omitempty"`
}

// SliceHints say for whom an endpoint is meant.
type SliceHints struct {
	ForZones []SliceHint `json:"forZones,omitempty"`
	ForNodes []SliceHint `json:"forNodes,omitempty"`
}

// SliceHint names a zone or a node.
type SliceHint struct {
	Name string `json:"name"`
}

// SlicePort is where the endpoints of a slice listen.
type SlicePort struct {
	Name     string  `json:"name,omitempty"`
	Protocol string  `json:"protocol,omitempty"`
	Port     *uint16 `json:"port,omitempty"`
}

// Services is the resource of Kubernetes' services.
func Services() Resource[Service] { return NewResource[Service]("v1", "Service", "services", true) }

// EndpointSlices is the resource of endpoint slices.
func EndpointSlices() Resource[EndpointSlice] {
	return NewResource[EndpointSlice]("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", true)
}
