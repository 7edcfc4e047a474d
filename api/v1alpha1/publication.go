package v1alpha1

// Publication opens ports of endpoints to the outside, where the plan keeps it out (AddressPlan, spec.outside) and no policy says
// otherwise. It is written in files; in a cluster Services publish.
type Publication struct {
	Header `yaml:",inline"`
	Spec   PublicationSpec `json:"spec" yaml:"spec"`
}

// PublicationSpec is the part of a Publication that the user writes.
type PublicationSpec struct {
	// Namespace of the endpoints.
	Namespace string `json:"namespace" yaml:"namespace"`
	// PodSelector selects endpoints of the namespace. Left out: all of them.
	PodSelector LabelSelector `json:"podSelector,omitzero" yaml:"podSelector,omitempty"`
	// Ports that are open.
	Ports []NetworkPolicyPort `json:"ports" yaml:"ports"`
}

// NewPublication makes a publication by program. Validate fills its defaults.
func NewPublication(name string, spec PublicationSpec) *Publication {
	return &Publication{Header: header(KindPublication, name), Spec: spec}
}

func (p *Publication) setDefaults() { defaultPorts(p.Spec.Ports) }
