package v1alpha1

import "fmt"

// Identity gives a number to a namespace and a set of labels. Its name is the number, so two owners of one number cannot be.
type Identity struct {
	Header `yaml:",inline"`
	Spec   IdentitySpec `json:"spec" yaml:"spec"`
	// Status is written by the controller of a cluster; files have none.
	Status Status `json:"status,omitzero" yaml:"-"`
}

// IdentitySpec is the part of an Identity that is written.
type IdentitySpec struct {
	// Number from 256 (0x100) to 131070; smaller ones are reserved. Those above 65535 do not fit into addresses: the controller of a cluster
	// gives them when the others are used, and AddressSlices say who has them.
	Number uint32 `json:"number" yaml:"number"`
	// Namespace of the endpoints. Left out: endpoints without a namespace.
	Namespace string            `json:"namespace,omitempty" yaml:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty" yaml:"labels,omitempty"`
	// Ports that endpoints of the set have names for: policies may name them.
	Ports []NamedPort `json:"ports,omitempty" yaml:"ports,omitempty"`
	// KeyVersion is the version of the key function that made the set.
	KeyVersion int `json:"keyVersion,omitempty" yaml:"keyVersion,omitempty"`
	// Retired is when the number was taken out of use. The entry stays, so that the number is not given again.
	Retired *Time `json:"retired,omitempty" yaml:"retired,omitempty"`
}

// NamedPort is a port that endpoints have a name for.
type NamedPort struct {
	Name     string       `json:"name" yaml:"name"`
	Protocol PortProtocol `json:"protocol,omitempty" yaml:"protocol,omitempty"`
	Port     uint16       `json:"port" yaml:"port"`
}

// MinIdentity is the first number of a workload; below it are unknown, host, locator and the reserve.
const MinIdentity = 0x100

// MaxIdentity is the last number of a workload; MaxIdentityBits is the last that an address has room for.
const (
	MaxIdentity     = 0x1fffe
	MaxIdentityBits = 0xffff
)

// IdentityName returns the name of the object that owns a number.
func IdentityName(number uint32) string { return fmt.Sprintf("id-%d", number) }

// NewIdentity makes an identity by program, named after its number. Validate fills its defaults.
func NewIdentity(spec IdentitySpec) *Identity {
	return &Identity{Header: header(KindIdentity, IdentityName(spec.Number)), Spec: spec}
}

// Living reports whether the number is in use.
func (i *Identity) Living() bool { return i.Spec.Retired == nil }

func (i *Identity) setDefaults() {
	orDefault(&i.Spec.KeyVersion, 1)
	for k := range i.Spec.Ports {
		orDefault(&i.Spec.Ports[k].Protocol, ProtocolTCP)
	}
}
