package v1alpha1

// Pool is a range of fixed addresses, granted to namespaces. It is never identity-bearing: an address of a pool says
// nothing about who has it, so a user who picks one picks no identity.
type Pool struct {
	Header `yaml:",inline"`
	Spec   PoolSpec `json:"spec" yaml:"spec"`
	// Status is written by the controller of a cluster; files have none.
	Status PoolStatus `json:"status,omitzero" yaml:"-"`
}

// PoolSpec is the part of a Pool that the user writes.
type PoolSpec struct {
	Prefix Prefix `json:"prefix" yaml:"prefix"`
	// Namespaces that may claim addresses. None: nobody may.
	Namespaces  []string `json:"namespaces,omitempty" yaml:"namespaces,omitempty"`
	Description string   `json:"description,omitempty" yaml:"description,omitempty"`
}

// NewPool makes a pool by program. Validate fills its defaults.
func NewPool(name string, spec PoolSpec) *Pool {
	return &Pool{Header: header(KindPool, name), Spec: spec}
}

func (p *Pool) setDefaults() {}
