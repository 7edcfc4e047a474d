package v1alpha1

// HostStatus is what the agent of a host reports: what it holds and how it is. It has the name of its Host. Its agent alone
// writes it, on change and at most every 10 seconds; the controller alone watches it.
type HostStatus struct {
	Header `yaml:",inline"`
	Status HostReport `json:"status,omitzero" yaml:"status,omitempty"`
}

// HostReport is the content of a HostStatus. Every list is sorted.
type HostReport struct {
	Status `json:",inline" yaml:"-"`
	// Round is the number of the controller's question that this answers: status.round of the AddressPlan.
	Round int64 `json:"round,omitempty" yaml:"round,omitempty"`
	// Version of the agent.
	Version string `json:"version,omitempty" yaml:"version,omitempty"`

	// Prefixes that the host's addresses are taken from, or were while endpoints with such addresses live.
	Prefixes []Prefix `json:"prefixes,omitempty" yaml:"prefixes,omitempty"`
	// Identities are the numbers that living endpoints carry.
	Identities []uint32 `json:"identities,omitempty" yaml:"identities,omitempty"`
	// Fixed are the fixed addresses that living endpoints have.
	Fixed []Addr `json:"fixed,omitempty" yaml:"fixed,omitempty"`
	// Late are endpoints that came before their number: their addresses carry identity 0.
	Late []LateEndpoint `json:"late,omitempty" yaml:"late,omitempty"`
	// Exact are the living endpoints whose addresses do not say their number, in the form of an AddressSlice.
	Exact []AddressEntry `json:"exact,omitempty" yaml:"exact,omitempty"`
	// Entries is the highest revision of the AddressSlices that are in force on the host.
	Entries int64 `json:"entries,omitempty" yaml:"entries,omitempty"`
	// Seen is the highest of everything that this host has heard of from others, since its disk began.
	Seen Seen `json:"seen,omitzero" yaml:"seen,omitempty"`
	// Witness is the latest moment for which the host may have given an address out.
	Witness *Time `json:"witness,omitempty" yaml:"witness,omitempty"`

	// Addresses of the host on its uplinks, and the Ethernet address of the first uplink.
	Addresses []Addr `json:"addresses,omitempty" yaml:"addresses,omitempty"`
	MAC       MAC    `json:"mac,omitempty" yaml:"mac,omitempty"`
	// Uplinks of the host as it found them.
	Uplinks []Uplink `json:"uplinks,omitempty" yaml:"uplinks,omitempty"`

	// Endpoints living on the host.
	Endpoints int `json:"endpoints,omitempty" yaml:"endpoints,omitempty"`
}

// Seen holds high-water marks: what was given out once and may be forgotten by a store that was restored.
type Seen struct {
	// Identity is the highest identity number.
	Identity uint32 `json:"identity,omitempty" yaml:"identity,omitempty"`
	// Prefixes are the highest host prefix of each rack.
	Prefixes []Prefix `json:"prefixes,omitempty" yaml:"prefixes,omitempty"`
}

// LateEndpoint is an endpoint whose address does not say who it is.
type LateEndpoint struct {
	Address   Addr   `json:"address" yaml:"address"`
	Namespace string `json:"namespace" yaml:"namespace"`
	Name      string `json:"name" yaml:"name"`
	// Identity is its number, which came later; 0: not yet.
	Identity uint32 `json:"identity,omitempty" yaml:"identity,omitempty"`
}

// NewHostStatus makes the report of a host.
func NewHostStatus(name string, r HostReport) *HostStatus {
	return &HostStatus{Header: header(KindHostStatus, name), Status: r}
}

func (h *HostStatus) setDefaults()         {}
func (h *HostStatus) check(*report)        {}
func (h *HostStatus) ranges() []fieldRange { return nil }
