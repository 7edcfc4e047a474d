package objects

import (
	"time"
	"unicode/utf8"

	"hexapod.dev/api/v1alpha1"
)

// Node is what Hexapod reads of a node.
type Node struct {
	v1alpha1.Header
	Spec   NodeSpec   `json:"spec"`
	Status NodeStatus `json:"status"`
}

// NodeSpec is the part of a node that somebody writes.
type NodeSpec struct {
	PodCIDR    string   `json:"podCIDR,omitempty"`
	PodCIDRs   []string `json:"podCIDRs,omitempty"`
	ProviderID string   `json:"providerID,omitempty"`
	Taints     []Taint  `json:"taints,omitempty"`
}

// Taint keeps pods from a node.
type Taint struct {
	Key       string         `json:"key"`
	Value     string         `json:"value,omitempty"`
	Effect    string         `json:"effect"`
	TimeAdded *v1alpha1.Time `json:"timeAdded,omitempty"`
}

// NodeStatus is the part of a node that its kubelet and the controllers write.
type NodeStatus struct {
	Addresses  []NodeAddress   `json:"addresses,omitempty"`
	Conditions []NodeCondition `json:"conditions,omitempty"`
	NodeInfo   NodeInfo        `json:"nodeInfo"`
}

// NodeAddress is one address or name of a node.
type NodeAddress struct {
	Type    string `json:"type"` // InternalIP, ExternalIP, Hostname, ...
	Address string `json:"address"`
}

// NodeInfo tells which machine a node is.
type NodeInfo struct {
	MachineID string `json:"machineID,omitempty"`
	BootID    string `json:"bootID,omitempty"`
}

// NodeCondition is a condition of a node; unlike those of ours it has a heartbeat.
type NodeCondition struct {
	Type               string                   `json:"type"`
	Status             v1alpha1.ConditionStatus `json:"status"`
	Reason             string                   `json:"reason,omitempty"`
	Message            string                   `json:"message,omitempty"`
	LastHeartbeatTime  *v1alpha1.Time           `json:"lastHeartbeatTime,omitempty"`
	LastTransitionTime *v1alpha1.Time           `json:"lastTransitionTime,omitempty"`
}

// Nodes is the resource of nodes.
func Nodes() Resource[Node] { return NewResource[Node]("v1", "Node", "nodes", false) }

// Pod is what Hexapod reads of a pod.
type Pod struct {
	v1alpha1.Header
	Spec   PodSpec   `json:"spec"`
	Status PodStatus `json:"status"`
}

// PodSpec is the part of a pod that its maker and the scheduler write.
type PodSpec struct {
	NodeName       string      `json:"nodeName,omitempty"`
	HostNetwork    bool        `json:"hostNetwork,omitempty"`
	Containers     []Container `json:"containers,omitempty"`
	InitContainers []Container `json:"initContainers,omitempty"`
}

// Container is what Hexapod reads of a container of a pod: its ports.
type Container struct {
	Ports []ContainerPort `json:"ports,omitempty"`
	// RestartPolicy Always makes a sidecar of an init container: it runs, and listens, as long as the pod does.
	RestartPolicy string `json:"restartPolicy,omitempty"`
}

// ContainerPort is a port of a container.
type ContainerPort struct {
	Name          string `json:"name,omitempty"`
	Protocol      string `json:"protocol,omitempty"` // absent: TCP
	ContainerPort uint16 `json:"containerPort"`
	HostPort      uint16 `json:"hostPort,omitempty"`
}

// Ports lists the ports of all containers that run as long as the pod does.
func (p *Pod) Ports() (all []ContainerPort) {
	for _, c := range p.Spec.Containers {
		all = append(all, c.Ports...)
	}
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy == "Always" {
			all = append(all, c.Ports...)
		}
	}
	return all
}

// PodStatus is the part of a pod that its kubelet writes.
type PodStatus struct {
	Phase  string  `json:"phase,omitempty"`
	HostIP string  `json:"hostIP,omitempty"`
	PodIPs []PodIP `json:"podIPs,omitempty"`
}

// PodIP is one address of a pod.
type PodIP struct {
	IP string `json:"ip"`
}

// Pods is the resource of pods.
func Pods() Resource[Pod] { return NewResource[Pod]("v1", "Pod", "pods", true) }

// Namespace is what Hexapod reads of a namespace: its metadata.
type Namespace struct{ v1alpha1.Header }

// Namespaces is the resource of namespaces.
func Namespaces() Resource[Namespace] {
	return NewResource[Namespace]("v1", "Namespace", "namespaces", false)
}

// Event is a line in the history of an object, for people.
type Event struct {
	v1alpha1.Header
	InvolvedObject ObjectReference `json:"involvedObject"`
	Reason         string          `json:"reason"`
	Message        string          `json:"message"`
	Type           string          `json:"type"` // Normal or Warning
	Count          int             `json:"count,omitempty"`
	FirstTimestamp *v1alpha1.Time  `json:"firstTimestamp,omitempty"`
	LastTimestamp  *v1alpha1.Time  `json:"lastTimestamp,omitempty"`
	Source         EventSource     `json:"source,omitzero"`
}

// maxEventMessage is the most that an event's message may have, in bytes (k8s.io/kubernetes pkg/apis/core/validation, events.go: NoteLengthLimit).
const maxEventMessage = 1024

// EventMessage is a text as an event takes it: of a longer one the beginning, cut between two letters, and a mark that there was more.
func EventMessage(text string) string {
	const more = "…"
	if len(text) <= maxEventMessage {
		return text
	}
	end := maxEventMessage - len(more)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + more
}

// ObjectReference names any object.
type ObjectReference struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name,omitempty"`
	UID        string `json:"uid,omitempty"`
}

// EventSource is who saw it.
type EventSource struct {
	Component string `json:"component,omitempty"`
	Host      string `json:"host,omitempty"`
}

// Events is the resource of events.
func Events() Resource[Event] { return NewResource[Event]("v1", "Event", "events", true) }

// Lease is the record of who leads, of the group coordination.k8s.io.
type Lease struct {
	v1alpha1.Header
	Spec LeaseSpec `json:"spec"`
}

// LeaseSpec is the content of a Lease.
type LeaseSpec struct {
	HolderIdentity       string     `json:"holderIdentity,omitempty"`
	LeaseDurationSeconds int32      `json:"leaseDurationSeconds,omitempty"`
	AcquireTime          *MicroTime `json:"acquireTime,omitempty"`
	RenewTime            *MicroTime `json:"renewTime,omitempty"`
	LeaseTransitions     int32      `json:"leaseTransitions,omitempty"`
}

// MicroTime is a moment with microseconds, in the form Kubernetes wants it.
type MicroTime struct{ time.Time }

// MarshalJSON writes RFC 3339 in UTC with six places behind the second.
func (t MicroTime) MarshalJSON() ([]byte, error) {
	return []byte(t.UTC().Format(`"2006-01-02T15:04:05.000000Z07:00"`)), nil
}

// Leases is the resource of leases.
func Leases() Resource[Lease] {
	return NewResource[Lease]("coordination.k8s.io/v1", "Lease", "leases", true)
}
