package v1alpha1

import (
	"fmt"
	"net/netip"
)

// HostPrefix says which host has a prefix, or which one had it last. Its name is the prefix, so two owners cannot be. The
// controller alone makes it. A dual-stack host has one of each family.
type HostPrefix struct {
	Header `yaml:",inline"`
	Spec   HostPrefixSpec `json:"spec" yaml:"spec"`
	// Status is what is known of the prefix's life.
	Status HostPrefixStatus `json:"status,omitzero" yaml:"-"`
}

// HostPrefixSpec is the part of a HostPrefix that is written when the prefix is given out.
type HostPrefixSpec struct {
	Prefix Prefix `json:"prefix" yaml:"prefix"`
	// Host that has the prefix.
	Host string `json:"host" yaml:"host"`
	// Cluster, Rack and Number say where the plan has it. An adopted prefix and an IPv4 one have none.
	Cluster Ref     `json:"cluster,omitempty" yaml:"cluster,omitempty"`
	Rack    Ref     `json:"rack,omitempty" yaml:"rack,omitempty"`
	Number  *uint32 `json:"number,omitempty" yaml:"number,omitempty"`
	// Adopted says that somebody else gave the prefix: kubeadm, kOps or a cloud.
	Adopted bool `json:"adopted,omitempty" yaml:"adopted,omitempty"`
	// Retired is when the host was found gone. The prefix rests from then.
	Retired *Time `json:"retired,omitempty" yaml:"retired,omitempty"`
}

// HostPrefixStatus is what is known of a prefix's life.
type HostPrefixStatus struct {
	Status `json:",inline"`
	// Witness is the latest moment for which the host may have given an address out: the next host gives out later ones alone.
	Witness *Time `json:"witness,omitempty"`
}

// PrefixName returns the name of the object that owns a prefix: its address as [AddressName] has it, and its length counted
// in the 128 bits of that name. An IPv4 prefix stands in ::ffff:0:0/96 (RFC 4291 section 2.5.5.2).
func PrefixName(p netip.Prefix) string {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return fmt.Sprintf("%s-%d", AddressName(p.Addr()), bits)
}

// NewHostPrefix makes the object of a prefix, named after it. Validate fills its defaults.
func NewHostPrefix(spec HostPrefixSpec) *HostPrefix {
	return &HostPrefix{Header: header(KindHostPrefix, PrefixName(spec.Prefix.Prefix)), Spec: spec}
}

// Living reports whether the prefix's host is there.
func (p *HostPrefix) Living() bool { return p.Spec.Retired == nil }

func (p *HostPrefix) setDefaults() {}

func (p *HostPrefix) check(r *report) {
	s := &p.Spec
	if s.Prefix.IsValid() {
		if want := PrefixName(s.Prefix.Prefix); p.ObjectName() != want {
			r.errorf("metadata.name", "write "+want, "is not the name of prefix %s", s.Prefix)
		}
	}
	if !validName(s.Host) {
		r.errorf("spec.host", nameRule, "%q is not a name", s.Host)
	}
}

func (p *HostPrefix) ranges() []fieldRange {
	if p.Spec.Prefix.Addr().Is4() {
		return nil
	}
	return []fieldRange{{field: "spec.prefix", r: p.Spec.Prefix.Prefix}}
}
