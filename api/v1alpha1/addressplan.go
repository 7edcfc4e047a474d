package v1alpha1

import "time"

// AddressPlan says how the fabric's prefix is cut into clusters, racks and hosts, and which addresses are believed.
// There is one in a configuration.
type AddressPlan struct {
	Header `yaml:",inline"`
	Spec   AddressPlanSpec `json:"spec" yaml:"spec"`
	// Status is written by the controller of a cluster; files have none.
	Status AddressPlanStatus `json:"status,omitzero" yaml:"-"`
}

// AddressPlanSpec is the part of an AddressPlan that the user writes.
type AddressPlanSpec struct {
	// Prefix is the fabric's own prefix.
	Prefix Prefix `json:"prefix" yaml:"prefix"`
	// Profile names the default lengths of the levels: default (/37 /44 /48 /54 /64) or nibble (/36 /44 /48 /52 /64).
	Profile Profile `json:"profile,omitempty" yaml:"profile,omitempty"`
	// Levels are the prefix lengths of the levels, in bits. A level left out comes from the profile; the fabric's is that of prefix.
	Levels Levels `json:"levels,omitzero" yaml:"levels,omitempty"`
	// Lab allows documentation prefixes (2001:db8::/32, 3fff::/20), which no real network may use (RFC 3849, RFC 9637).
	Lab bool `json:"lab,omitempty" yaml:"lab,omitempty"`

	// Clusters of the fabric and their racks.
	Clusters []Cluster `json:"clusters,omitempty" yaml:"clusters,omitempty"`

	// ServiceTranslation says whether clients are led to the backends of services: connect, or off where another proxy does all of it.
	ServiceTranslation ServiceTranslation `json:"serviceTranslation,omitempty" yaml:"serviceTranslation,omitempty"`

	// HostPart says whether the last 64 bits of an endpoint's address are written clear (readable) or through a keyed
	// permutation (sealed). It cannot change while a host lives.
	HostPart HostPart `json:"hostPart,omitempty" yaml:"hostPart,omitempty"`
	// SealKeyFile holds the key of a sealed host part: a path inside the configuration folder.
	SealKeyFile string `json:"sealKeyFile,omitempty" yaml:"sealKeyFile,omitempty"`

	// Rest is how long the prefix of a host that is gone stays unused.
	Rest Duration `json:"rest,omitzero" yaml:"rest,omitempty"`
	// MinRest is how long an address rests at least, where prefixes are too narrow for addresses that never return.
	MinRest Duration `json:"minRest,omitzero" yaml:"minRest,omitempty"`
	// Journal says how long hosts keep the record of their allocations, and where copies go.
	Journal JournalRules `json:"journal,omitzero" yaml:"journal,omitempty"`

	// HostPrefixes says who numbers the hosts of a Kubernetes cluster: plan (the controller, by rack and number) or adopt (what
	// kubeadm, kOps or a cloud wrote into the nodes). Left out: adopt where nodes have prefixes already, else plan.
	HostPrefixes HostPrefixes `json:"hostPrefixes,omitempty" yaml:"hostPrefixes,omitempty"`

	// IPv4 is the second range of dual-stack hosts. Left out: no IPv4.
	IPv4 *IPv4Plan `json:"ipv4,omitempty" yaml:"ipv4,omitempty"`

	// Identity says which labels make an identity.
	Identity IdentityRules `json:"identity,omitzero" yaml:"identity,omitempty"`
	// IdentityTrust says what proves who a sender is: bits (the address, where the prefix is identity-bearing) or exact (a
	// known entry alone), for edges that do not drop inside sources from outside.
	IdentityTrust IdentityTrust `json:"identityTrust,omitempty" yaml:"identityTrust,omitempty"`
	// Outside says whether sources that are no part of the fabric, of its peers or of a host may begin flows to endpoints where no policy
	// says otherwise: closed (only what is published) or open.
	Outside Outside `json:"outside,omitempty" yaml:"outside,omitempty"`
	// UnknownIdentity says how endpoints are judged that are inside and whose labels are not known: as outside, or as inside.
	UnknownIdentity UnknownIdentity `json:"unknownIdentity,omitempty" yaml:"unknownIdentity,omitempty"`
	// Peers are prefixes outside this plan that the fabric knows.
	Peers []Peer `json:"peers,omitempty" yaml:"peers,omitempty"`

	// DNS makes every host answer the lookups of its own endpoints, with DNS64. Left out: it does not.
	DNS *DNS `json:"dns,omitempty" yaml:"dns,omitempty"`

	// ASN are the private autonomous system numbers of the fabric.
	ASN ASNPlan `json:"asn,omitzero" yaml:"asn,omitempty"`
	// RouterIDs gives BGP identifiers (32 bits, dotted) by name of host, by cluster/rack, or by spine-1, where the plan's bits do not make one.
	RouterIDs map[string]Addr `json:"routerIDs,omitempty" yaml:"routerIDs,omitempty"`
}

// HostPrefixes says who numbers the hosts of a cluster.
type HostPrefixes string

// The two ways.
const (
	HostPrefixesPlan  HostPrefixes = "plan"
	HostPrefixesAdopt HostPrefixes = "adopt"
)

// AddressPlanStatus is what became of a plan in a cluster.
type AddressPlanStatus struct {
	Status `json:",inline"`
	// HostPrefixes is the way that was taken.
	HostPrefixes HostPrefixes `json:"hostPrefixes,omitempty"`
	// Round is a question of the controller to all agents: each writes what it holds, with this number, into its HostStatus.
	Round int64 `json:"round,omitempty"`
	// Hosts have a prefix; Silent ones among them did not answer the round yet. Resting are prefixes whose host is gone.
	Hosts   int `json:"hosts,omitempty"`
	Silent  int `json:"silent,omitempty"`
	Resting int `json:"resting,omitempty"`
	// Behind counts hosts that do not have the newest AddressSlices in force although there was time; BehindHosts are the first of them.
	Behind      int      `json:"behind,omitempty"`
	BehindHosts []string `json:"behindHosts,omitempty"`
}

// Profile names a set of level lengths.
type Profile string

// The profiles.
const (
	ProfileDefault Profile = "default"
	ProfileNibble  Profile = "nibble"
)

// Levels are prefix lengths in bits; 0 means left out.
type Levels struct {
	Fabric      int `json:"fabric,omitempty" yaml:"fabric,omitempty"`
	Cluster     int `json:"cluster,omitempty" yaml:"cluster,omitempty"`
	EdgeCluster int `json:"edgeCluster,omitempty" yaml:"edgeCluster,omitempty"`
	Rack        int `json:"rack,omitempty" yaml:"rack,omitempty"`
	Host        int `json:"host,omitempty" yaml:"host,omitempty"`
}

// profiles are the lengths by profile (docs/configuration.md has the same table).
var profiles = map[Profile]Levels{
	ProfileDefault: {37, 44, 48, 54, 64},
	ProfileNibble:  {36, 44, 48, 52, 64},
}

// Cluster is one cluster of the fabric.
type Cluster struct {
	Name   string `json:"name" yaml:"name"`
	Number uint32 `json:"number" yaml:"number"`
	// Edge makes it an edge cluster: smaller, of length levels.edgeCluster.
	Edge bool `json:"edge,omitempty" yaml:"edge,omitempty"`
	// Prefix is given for a cluster whose prefix does not follow from its number.
	Prefix Prefix `json:"prefix,omitzero" yaml:"prefix,omitempty"`
	Racks  []Rack `json:"racks,omitempty" yaml:"racks,omitempty"`
}

// Rack is one rack of a cluster. Rack 0 is kept for roles: services, pools, NAT64.
type Rack struct {
	Name   string `json:"name" yaml:"name"`
	Number uint32 `json:"number" yaml:"number"`
	// ASN of the rack's router. Left out: 4200000000 + 2 x the rack's number in the whole fabric (the bits of its prefix behind
	// the fabric's, not spec number), and its hosts one more.
	ASN uint32 `json:"asn,omitempty" yaml:"asn,omitempty"`
}

// ServiceTranslation is where clients are led to the backends of services.
type ServiceTranslation string

// The translations of services.
const (
	ServiceConnect ServiceTranslation = "connect" // when a socket connects or sends
	ServiceOff     ServiceTranslation = "off"
)

// HostPart is the form of the last bits of an endpoint's address.
type HostPart string

// The forms of the host part.
const (
	HostPartReadable HostPart = "readable"
	HostPartSealed   HostPart = "sealed"
)

// JournalRules say what becomes of the segments of a host's journal, one for each day and start, and of its log of NAT64 grants, one for each day,
// when the next one has begun.
type JournalRules struct {
	// Retention is how long segments are kept on the host. Left out: for ever.
	Retention Duration `json:"retention,omitzero" yaml:"retention,omitempty"`
	// Sink takes copies to a place that outlives the host. With one, retention waits for the copy.
	Sink JournalSink `json:"sink,omitzero" yaml:"sink,omitempty"`
}

// JournalSink is where copies go: folder or command, not both. Left out: nowhere.
type JournalSink struct {
	// Folder is a folder that is there on every host, of a network file system for one. Each host writes into a folder of its own name in it.
	Folder string `json:"folder,omitempty" yaml:"folder,omitempty"`
	// Command is a program and its first words. It is run as the agent's user for each segment, with the host's name and the
	// segment's as its last words and the segment on its standard input. Exit code 0 means that the copy is safe.
	Command []string `json:"command,omitempty" yaml:"command,omitempty"`
}

// IPv4Plan is the IPv4 range of a dual-stack fabric.
type IPv4Plan struct {
	Prefix     Prefix `json:"prefix" yaml:"prefix"`
	HostLength int    `json:"hostLength,omitempty" yaml:"hostLength,omitempty"`
}

// IdentityRules say which labels count.
type IdentityRules struct {
	// KeyVersion is the version of the key function; 1 is the only one so far.
	KeyVersion int `json:"keyVersion,omitempty" yaml:"keyVersion,omitempty"`
	// ExcludeLabels are left out of the key, besides those that the version itself leaves out.
	ExcludeLabels []string `json:"excludeLabels,omitempty" yaml:"excludeLabels,omitempty"`
	// Quarantine is how long a number stays out of use, in a cluster, after the last endpoint that carried it.
	Quarantine Duration `json:"quarantine,omitzero" yaml:"quarantine,omitempty"`
}

// IdentityTrust says what proves an identity.
type IdentityTrust string

// The trust rules.
const (
	TrustBits  IdentityTrust = "bits"
	TrustExact IdentityTrust = "exact"
)

// Outside says what sources outside may do.
type Outside string

// The two ways.
const (
	OutsideClosed Outside = "closed"
	OutsideOpen   Outside = "open"
)

// UnknownIdentity says how to judge who is inside and known by no labels.
type UnknownIdentity string

// The two ways.
const (
	UnknownAsOutside UnknownIdentity = "outside"
	UnknownAsInside  UnknownIdentity = "inside"
)

// Peer is a prefix of somebody else.
type Peer struct {
	Name   string `json:"name" yaml:"name"`
	Prefix Prefix `json:"prefix" yaml:"prefix"`
	// IdentityBearing says that the peer's endpoints have readable addresses with the same identities as here, and are believed.
	IdentityBearing bool `json:"identityBearing,omitempty" yaml:"identityBearing,omitempty"`
}

// ASNPlan are the autonomous system numbers that no rack has.
type ASNPlan struct {
	// Spine is the number of the routers above the racks.
	Spine uint32 `json:"spine,omitempty" yaml:"spine,omitempty"`
}

// Defaults of an AddressPlan.
const (
	DefaultRest       = 7 * 24 * time.Hour
	DefaultMinRest    = 10 * time.Minute
	DefaultHostLength = 24
	DefaultQuarantine = 24 * time.Hour
)

// NewAddressPlan makes a plan by program. Validate fills its defaults.
func NewAddressPlan(name string, spec AddressPlanSpec) *AddressPlan {
	return &AddressPlan{Header: header(KindAddressPlan, name), Spec: spec}
}

func (p *AddressPlan) setDefaults() {
	s := &p.Spec
	orDefault(&s.Profile, ProfileDefault)
	orDefault(&s.HostPart, HostPartReadable)
	orDefault(&s.ServiceTranslation, ServiceConnect)
	orDefault(&s.IdentityTrust, TrustBits)
	orDefault(&s.Outside, OutsideClosed)
	orDefault(&s.UnknownIdentity, UnknownAsOutside)
	orDefault(&s.Identity.KeyVersion, 1)
	orDefault(&s.Identity.Quarantine.Duration, DefaultQuarantine)
	orDefault(&s.Rest.Duration, DefaultRest)
	orDefault(&s.MinRest.Duration, DefaultMinRest)
	lengths, ok := profiles[s.Profile]
	if !ok {
		lengths = profiles[ProfileDefault] // the check refuses the plan; its other fields are still judged
	}
	if s.Prefix.IsValid() {
		orDefault(&s.Levels.Fabric, s.Prefix.Bits())
	}
	orDefault(&s.Levels.Cluster, lengths.Cluster)
	orDefault(&s.Levels.EdgeCluster, max(lengths.EdgeCluster, s.Levels.Cluster))
	orDefault(&s.Levels.Rack, lengths.Rack)
	orDefault(&s.Levels.Host, lengths.Host)
	if s.IPv4 != nil {
		orDefault(&s.IPv4.HostLength, DefaultHostLength)
	}
	if s.DNS != nil {
		s.DNS.setDefaults()
	}
}

// orDefault sets *v if it was left out.
func orDefault[T comparable](v *T, d T) {
	var none T
	if *v == none {
		*v = d
	}
}
