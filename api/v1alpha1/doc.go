// Package v1alpha1 is everything a user can write about Hexapod, as one schema for YAML files and for Kubernetes resources.
//
// A document becomes an Object in three steps: strict decoding (Decode), which knows every field and the place where it
// was written; the checks of the one object, which Decode runs (Validate runs them for objects from elsewhere); and the
// checks between objects (Check). All of them report Problems: data with file, line, column and field, and the words for
// the person who has to repair it. Nothing here acts on anything.
package v1alpha1

// APIVersion is the value of `apiVersion` in every document of our own kinds.
const APIVersion = "hexapod.dev/v1alpha1"

// The kinds of documents.
const (
	KindAddressPlan  = "AddressPlan"
	KindHost         = "Host"
	KindPool         = "Pool"
	KindIdentity     = "Identity"
	KindAddress      = "Address"
	KindBGPPeer      = "BGPPeer"
	KindAddressSlice = "AddressSlice" // in a cluster written by the controller
	KindTranslation  = "Translation"
	KindService      = "Service" // in files alone: a cluster has its own

	KindNetworkPolicy        = "NetworkPolicy"        // in files alone, in the form of Kubernetes
	KindClusterNetworkPolicy = "ClusterNetworkPolicy" // likewise
	KindPublication          = "Publication"          // in files alone

	// Written by programs, in a cluster alone.
	KindHostPrefix = "HostPrefix"
	KindHostStatus = "HostStatus"
)

// Kinds lists the kinds that a user can write, in the order of the documentation.
func Kinds() []string {
	return []string{KindAddressPlan, KindHost, KindPool, KindIdentity, KindAddress, KindAddressSlice, KindBGPPeer, KindTranslation, KindService,
		KindNetworkPolicy, KindClusterNetworkPolicy, KindPublication}
}

// Header opens every document.
type Header struct {
	APIVersion string   `json:"apiVersion" yaml:"apiVersion"`
	Kind       string   `json:"kind" yaml:"kind"`
	Metadata   Metadata `json:"metadata" yaml:"metadata"`

	// Source is where the object was written. It is not part of the document.
	Source Source `json:"-" yaml:"-"`
}

// Head returns the header itself: every kind embeds it.
func (h *Header) Head() *Header { return h }

// ObjectName returns metadata.name.
func (h *Header) ObjectName() string { return string(h.Metadata.Name) }

// Object is a document of any kind: *AddressPlan, *Host, *Pool, *Identity, *Address, *AddressSlice, *BGPPeer, *Translation, *Service,
// *NetworkPolicy, *ClusterNetworkPolicy, *Publication, *HostPrefix or *HostStatus.
type Object interface {
	Head() *Header
	ObjectName() string

	// setDefaults fills what the user left out. Twice is the same as once.
	setDefaults()
	// check reports what is wrong with this object alone.
	check(*report)
	// ranges lists every address range the object names, with the field, for the checks that all ranges have in common.
	ranges() []fieldRange
}

// newObject makes an empty object of a kind that a user can write, or nil.
func newObject(kind string) Object {
	switch kind {
	case KindAddressPlan:
		return &AddressPlan{}
	case KindHost:
		return &Host{}
	case KindPool:
		return &Pool{}
	case KindIdentity:
		return &Identity{}
	case KindAddress:
		return &Address{}
	case KindAddressSlice:
		return &AddressSlice{}
	case KindBGPPeer:
		return &BGPPeer{}
	case KindService:
		return &Service{}
	case KindNetworkPolicy:
		return &NetworkPolicy{}
	case KindClusterNetworkPolicy:
		return &ClusterNetworkPolicy{}
	case KindPublication:
		return &Publication{}
	case KindTranslation:
		return &Translation{}
	}
	return nil
}

// header makes the header of an object that is made by a program.
func header(kind, name string) Header {
	return Header{APIVersion: versionOf(kind), Kind: kind, Metadata: Metadata{Name: Name(name)}}
}

// versionOf returns the value of `apiVersion` of a kind: our own, but for kinds whose form is somebody else's.
func versionOf(kind string) string {
	switch kind {
	case KindNetworkPolicy:
		return NetworkPolicyVersion
	case KindClusterNetworkPolicy:
		return ClusterNetworkPolicyVersion
	}
	return APIVersion
}
