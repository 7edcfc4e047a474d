package objects

import (
	"strings"

	"hexapod.dev/api/v1alpha1"
)

// Resource says where the API server keeps the objects that are read as T.
type Resource[T any] struct {
	APIVersion string // group and version, or v1
	Kind       string
	Plural     string // as in the path
	Namespaced bool

	head func(*T) *v1alpha1.Header
	// partial asks the API server for metadata alone.
	partial bool
}

// headed is a struct that embeds the header of api/v1alpha1.
type headed[T any] interface {
	*T
	Head() *v1alpha1.Header
}

// NewResource describes a kind that somebody else defines, read as a struct that embeds v1alpha1.Header and names the fields it wants.
func NewResource[T any, P headed[T]](apiVersion, kind, plural string, namespaced bool) Resource[T] {
	return Resource[T]{APIVersion: apiVersion, Kind: kind, Plural: plural, Namespaced: namespaced,
		head: func(o *T) *v1alpha1.Header { return P(o).Head() }}
}

// MetadataOnly returns the resource with the objects' metadata alone on the wire. Every other field of T stays zero, and the
// objects cannot be written.
func (r Resource[T]) MetadataOnly() Resource[T] {
	r.partial = true
	return r
}

// acceptList and acceptOne are the media types that a resource is asked for in.
func (r Resource[T]) acceptList() string { return r.accept("PartialObjectMetadataList") }
func (r Resource[T]) acceptOne() string  { return r.accept("PartialObjectMetadata") }

func (r Resource[T]) accept(as string) string {
	if !r.partial {
		return jsonType
	}
	return jsonType + ";as=" + as + ";g=meta.k8s.io;v=v1"
}

func (r Resource[T]) path(namespace string, words ...string) string {
	root := "/apis/"
	if !strings.Contains(r.APIVersion, "/") {
		root = "/api/"
	}
	p := root + r.APIVersion
	if r.Namespaced && namespace != "" {
		p += "/namespaces/" + namespace
	}
	return strings.Join(append([]string{p, r.Plural}, words...), "/")
}

// own describes a kind of ours, which has the scope of a cluster.
func own[T any, P headed[T]](kind, plural string) Resource[T] {
	return NewResource[T, P](v1alpha1.APIVersion, kind, plural, false)
}

// AddressPlans is the resource of plans; the cluster has one.
func AddressPlans() Resource[v1alpha1.AddressPlan] {
	return own[v1alpha1.AddressPlan](v1alpha1.KindAddressPlan, "addressplans")
}

// Hosts is the resource of hosts.
func Hosts() Resource[v1alpha1.Host] { return own[v1alpha1.Host](v1alpha1.KindHost, "hosts") }

// HostStatuses is the resource of what agents report.
func HostStatuses() Resource[v1alpha1.HostStatus] {
	return own[v1alpha1.HostStatus](v1alpha1.KindHostStatus, "hoststatuses")
}

// HostPrefixes is the resource of prefixes that were given to hosts.
func HostPrefixes() Resource[v1alpha1.HostPrefix] {
	return own[v1alpha1.HostPrefix](v1alpha1.KindHostPrefix, "hostprefixes")
}

// Identities is the resource of identity numbers.
func Identities() Resource[v1alpha1.Identity] {
	return own[v1alpha1.Identity](v1alpha1.KindIdentity, "identities")
}

// Pools is the resource of pools of fixed addresses.
func Pools() Resource[v1alpha1.Pool] { return own[v1alpha1.Pool](v1alpha1.KindPool, "pools") }

// Addresses is the resource of fixed addresses.
func Addresses() Resource[v1alpha1.Address] {
	return own[v1alpha1.Address](v1alpha1.KindAddress, "addresses")
}

// AddressSlices is the resource of who has addresses that do not say it.
func AddressSlices() Resource[v1alpha1.AddressSlice] {
	return own[v1alpha1.AddressSlice](v1alpha1.KindAddressSlice, "addressslices")
}

// BGPPeers is the resource of BGP neighbours.
func BGPPeers() Resource[v1alpha1.BGPPeer] {
	return own[v1alpha1.BGPPeer](v1alpha1.KindBGPPeer, "bgppeers")
}

// Translations is the resource of translations between IPv6 and IPv4.
func Translations() Resource[v1alpha1.Translation] {
	return own[v1alpha1.Translation](v1alpha1.KindTranslation, "translations")
}
