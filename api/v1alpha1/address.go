package v1alpha1

import (
	"encoding/hex"
	"net/netip"
)

// Address claims a fixed address of a pool for one endpoint. Its name is the address, so two owners cannot be.
type Address struct {
	Header `yaml:",inline"`
	Spec   AddressSpec `json:"spec" yaml:"spec"`
	// Status is written by the controller of a cluster; files have none.
	Status AddressStatus `json:"status,omitzero" yaml:"-"`
}

// AddressSpec is the part of an Address that the user writes.
type AddressSpec struct {
	Address Addr   `json:"address" yaml:"address"`
	Pool    string `json:"pool" yaml:"pool"`
	// Namespace and Name of the endpoint that has the address.
	Namespace string `json:"namespace,omitempty" yaml:"namespace,omitempty"`
	Name      string `json:"name" yaml:"name"`
}

// AddressName returns the name of the object that owns an address: its 128 bits as 32 lower-case hexadecimal digits.
func AddressName(a netip.Addr) string {
	b := a.As16()
	return hex.EncodeToString(b[:])
}

// NewAddress makes a claim by program, named after its address. Validate fills its defaults.
func NewAddress(spec AddressSpec) *Address {
	return &Address{Header: header(KindAddress, AddressName(spec.Address.Addr)), Spec: spec}
}

func (a *Address) setDefaults() {}
