package v1alpha1

import (
	"fmt"
	"net/netip"
)

// AddressSlice says who has addresses that do not say it themselves: fixed ones, IPv4, those of endpoints that were relabelled or came before
// their number, and all of a prefix that is too narrow for identities. In a cluster the controller writes slices, those of each host from
// what its agent reports; in files a person or a program does.
type AddressSlice struct {
	Header `yaml:",inline"`
	Spec   AddressSliceSpec `json:"spec" yaml:"spec"`
}

// AddressSliceSpec is the part of an AddressSlice that is written.
type AddressSliceSpec struct {
	// Host whose endpoints have the addresses.
	Host string `json:"host,omitempty" yaml:"host,omitempty"`
	// Revision is higher than that of every slice that was written before: of two that name an address, the higher holds.
	Revision int64 `json:"revision,omitempty" yaml:"revision,omitempty"`
	// Entries by number, in ascending order; one for each number.
	Entries []AddressEntry `json:"entries,omitempty" yaml:"entries,omitempty"`
}

// AddressEntry lists all addresses of a slice that one identity has.
type AddressEntry struct {
	// Identity is the number.
	Identity uint32 `json:"identity" yaml:"identity"`
	// Addresses in ascending order.
	Addresses []Addr `json:"addresses" yaml:"addresses"`
}

// MaxSliceAddresses is how many addresses one AddressSlice names at most.
const MaxSliceAddresses = 500

// NewAddressSlice makes a slice by program.
func NewAddressSlice(name string, spec AddressSliceSpec) *AddressSlice {
	return &AddressSlice{Header: header(KindAddressSlice, name), Spec: spec}
}

// Len counts the addresses of the slice.
func (s *AddressSlice) Len() (n int) {
	for _, e := range s.Spec.Entries {
		n += len(e.Addresses)
	}
	return n
}

func (s *AddressSlice) setDefaults() {}

func (s *AddressSlice) ranges() []fieldRange { return nil } // of whoever reported them; the plan's ranges are checked there

// check refuses the whole slice for one entry that is wrong: half a slice is no slice.
func (s *AddressSlice) check(r *report) {
	if s.Spec.Revision < 0 {
		r.errorf("spec.revision", "count from 1", "%d is below 0", s.Spec.Revision)
	}
	if n := s.Len(); n > MaxSliceAddresses {
		r.errorf("spec.entries", "write another slice", "%d addresses, a slice has at most %d", n, MaxSliceAddresses)
	}
	seen := map[netip.Addr]bool{}
	for i, e := range s.Spec.Entries {
		at := fmt.Sprintf("spec.entries[%d].", i)
		if e.Identity < MinIdentity {
			r.errorf(at+"identity", "write the number of an Identity", "%d is below %d: it stands for no labels", e.Identity, MinIdentity)
		}
		if e.Identity > MaxIdentity {
			r.errorf(at+"identity", "write the number of an Identity", "%d is above %d, the last number", e.Identity, MaxIdentity)
		}
		for j, a := range e.Addresses {
			field := fmt.Sprintf("%saddresses[%d]", at, j)
			switch {
			case !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast():
				r.errorf(field, "write an address of an endpoint", "%s is no address that an endpoint has", a)
			case seen[a.Addr]:
				r.errorf(field, "name an address once", "%s stands in the slice twice", a)
			}
			seen[a.Addr] = true
		}
	}
}
