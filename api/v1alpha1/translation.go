package v1alpha1

import (
	"net/netip"
	"slices"
)

// Translation lets endpoints without IPv4 reach IPv4 servers: stateful NAT64 (RFC 6146) on the hosts it names, or that of a provider.
type Translation struct {
	Header `yaml:",inline"`
	Spec   TranslationSpec `json:"spec" yaml:"spec"`
	// Status is written by the controller of a cluster; files have none.
	Status Status `json:"status,omitzero" yaml:"-"`
}

// TranslationSpec is the part of a Translation that the user writes.
type TranslationSpec struct {
	// Prefixes carry IPv4 addresses (Pref64, RFC 6052): endpoints see servers by the first one. Left out: the well-known prefix
	// 64:ff9b::/96, which carries global addresses alone.
	Prefixes []Prefix `json:"prefixes,omitempty" yaml:"prefixes,omitempty"`
	// Hosts that translate, by name.
	Hosts []string `json:"hosts,omitempty" yaml:"hosts,omitempty"`
	// HostLabels name more of them: those that have all of these labels, which in a cluster are the labels of the node. Without hosts and
	// labels every host translates for its own endpoints.
	HostLabels map[string]string `json:"hostLabels,omitempty" yaml:"hostLabels,omitempty"`
	// Pool is the IPv4 addresses that endpoints are seen by. Each belongs to one of the hosts at a time, and has to be routed to it. Left out:
	// endpoints are seen by the IPv4 address of their host's own, and share its ports with it.
	Pool []Prefix `json:"pool,omitempty" yaml:"pool,omitempty"`
	// HostPorts are the ports of the host's own address that endpoints get, where there is no pool. Left out: 36864 to 65535.
	HostPorts *PortRange `json:"hostPorts,omitempty" yaml:"hostPorts,omitempty"`
	// Clients may use the translation. Left out: the fabric and all hosts.
	Clients []Prefix `json:"clients,omitempty" yaml:"clients,omitempty"`
	// Announce tells the routers of the fabric by BGP that prefixes and pool are reached at these hosts, so that hosts without IPv4
	// use them: the prefixes at any of them, each address of the pool at the one that it belongs to.
	Announce bool `json:"announce,omitempty" yaml:"announce,omitempty"`
	// KeyFile holds the keys by which hosts that announce sign what they tell each other: a path inside the configuration folder. Left out: it is not
	// signed.
	KeyFile string `json:"keyFile,omitempty" yaml:"keyFile,omitempty"`
	// Advertise names links of the hosts on which the prefixes are told in router advertisements (RFC 8781).
	Advertise []string `json:"advertise,omitempty" yaml:"advertise,omitempty"`
	// Private are IPv4 ranges that are not global and may be reached all the same, through a prefix of your own.
	Private []Prefix `json:"private,omitempty" yaml:"private,omitempty"`
	// Blocks of 1,024 ports are what one endpoint can have at a time.
	Blocks uint32 `json:"blocks,omitempty" yaml:"blocks,omitempty"`
	// Bindings are what all endpoints of one host together can have at a time.
	Bindings uint32 `json:"bindings,omitempty" yaml:"bindings,omitempty"`
	// Upstream says that the network outside has a NAT64, which the hosts use: they translate nothing themselves.
	Upstream *Upstream `json:"upstream,omitempty" yaml:"upstream,omitempty"`
}

// Upstream is a NAT64 that others run. Its prefixes are those of the Translation, or else each host finds them by itself.
type Upstream struct {
	// Discover names the ways to find the prefixes: ra, router advertisements (RFC 8781), and dns, resolvers that synthesise (RFC 7050).
	// What routers tell goes before what resolvers show. Left out: both.
	Discover []Discovery `json:"discover,omitempty" yaml:"discover,omitempty"`
	// Links are where router advertisements are listened to. Left out: the uplinks of each host.
	Links []string `json:"links,omitempty" yaml:"links,omitempty"`
	// Resolvers are asked for ipv4only.arpa, written as the upstreams of dns in the AddressPlan. Left out: those upstreams.
	Resolvers []DNSServer `json:"resolvers,omitempty" yaml:"resolvers,omitempty"`
	// Accept are where the prefixes may lie: others are refused. Left out: anywhere but in the fabric and on its links.
	Accept []Prefix `json:"accept,omitempty" yaml:"accept,omitempty"`
}

// Discovery is a way to find the prefixes of a NAT64.
type Discovery string

// Ways to find them.
const (
	DiscoverRA  Discovery = "ra"
	DiscoverDNS Discovery = "dns"
)

// PortRange is ports from the first to the last.
type PortRange struct {
	// First of them, a multiple of 1,024.
	First uint16 `json:"first" yaml:"first"`
	// Last of them, one less than a multiple of 1,024.
	Last uint16 `json:"last" yaml:"last"`
}

// Defaults of a Translation.
const (
	// These leave sockets of the host 4,096 of the ports that Linux gives to those which ask for any (32768 to 60999), and
	// all below.
	defaultFirstPort = 36_864
	defaultLastPort  = 65_535

	DefaultBlocks   = 2
	DefaultBindings = 262_144
)

// Bounds of a Translation.
const (
	maxBlocks    = 63 // of an IPv4 address
	blockPorts   = 1024
	maxBindings  = 16 << 20
	maxPoolAddrs = 4096
	minPoolBits  = 20
	// MaxTranslationList bounds each list of a Translation: the API server reckons what its rules can cost.
	MaxTranslationList = 64

	wellKnownText  = "64:ff9b::/96"
	ownPrefixAdvce = "take a /96 of your own, or one of 64:ff9b:1::/48 (RFC 8215)"
)

// NewTranslation makes a translation by program. Validate fills its defaults.
func NewTranslation(name string, spec TranslationSpec) *Translation {
	return &Translation{Header: header(KindTranslation, name), Spec: spec}
}

func (t *Translation) setDefaults() {
	if u := t.Spec.Upstream; u != nil {
		if len(u.Discover) == 0 && len(t.Spec.Prefixes) == 0 {
			u.Discover = []Discovery{DiscoverRA, DiscoverDNS}
		}
		return
	}
	if len(t.Spec.Prefixes) == 0 {
		t.Spec.Prefixes = []Prefix{PrefixFrom(wellKnown64)}
	}
	if len(t.Spec.Pool) == 0 && t.Spec.HostPorts == nil {
		t.Spec.HostPorts = &PortRange{First: defaultFirstPort, Last: defaultLastPort}
	}
	orDefault(&t.Spec.Blocks, DefaultBlocks)
	orDefault(&t.Spec.Bindings, DefaultBindings)
}

var wellKnown64 = netip.MustParsePrefix(wellKnownText)

// ranges: the prefixes of a translation carry addresses of others, and none of them is an address of the fabric.
func (t *Translation) ranges() []fieldRange { return nil }

// Translates reports whether a host is among those that translate.
func (t *Translation) Translates(h *Host) bool {
	switch {
	case !h.Living():
		return false
	case len(t.Spec.Hosts) == 0 && len(t.Spec.HostLabels) == 0, slices.Contains(t.Spec.Hosts, h.ObjectName()):
		return true
	case len(t.Spec.HostLabels) == 0:
		return false
	}
	for k, v := range t.Spec.HostLabels {
		if has, ok := h.Metadata.Labels[k]; !ok || has != v {
			return false
		}
	}
	return true
}
