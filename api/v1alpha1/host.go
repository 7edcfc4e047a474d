package v1alpha1

import (
	"slices"
	"time"
)

// Host is one host of the fabric, known by name to all others.
type Host struct {
	Header `yaml:",inline"`
	Spec   HostSpec `json:"spec" yaml:"spec"`
	// Status is written by the controller of a cluster; files have none.
	Status Status `json:"status,omitzero" yaml:"-"`
}

// HostSpec is the part of a Host that the user writes.
type HostSpec struct {
	// Cluster and Rack say where the host is, by number or name. Cluster may be left out where the plan has one.
	Cluster Ref `json:"cluster,omitempty" yaml:"cluster,omitempty"`
	Rack    Ref `json:"rack,omitempty" yaml:"rack,omitempty"`
	// Number of the host in its rack. Left out only with an adopted prefix: one that a cloud or an older network gave.
	Number *uint32 `json:"number,omitempty" yaml:"number,omitempty"`
	// Prefix is the adopted prefix of a host without a number. With a number it may be written as a proof, and must be what the
	// plan gives.
	Prefix Prefix `json:"prefix,omitzero" yaml:"prefix,omitempty"`
	// IPv4Prefix is the host's second prefix, in a dual-stack fabric.
	IPv4Prefix Prefix `json:"ipv4Prefix,omitzero" yaml:"ipv4Prefix,omitempty"`
	// BornAfter is when the prefix was last in other hands, or the latest moment its host is known to have given an address out:
	// every address that is given out now is younger.
	BornAfter *Time `json:"bornAfter,omitempty" yaml:"bornAfter,omitempty"`
	// Addresses of the host on its uplinks and elsewhere.
	Addresses []Addr `json:"addresses,omitempty" yaml:"addresses,omitempty"`
	// MAC is the host's Ethernet address on the shared segment.
	MAC MAC `json:"mac,omitempty" yaml:"mac,omitempty"`
	// Uplinks of the host, in order of preference.
	Uplinks []Uplink `json:"uplinks,omitempty" yaml:"uplinks,omitempty"`
	// Clock is trusted where the clock is right by other means than NTP: the host may allocate after a changed machine id.
	Clock Clock `json:"clock,omitempty" yaml:"clock,omitempty"`
	// Datapath says whether eBPF programs judge what endpoints send and get: where the kernel can (auto, the default), never (off), or
	// not without them (required).
	Datapath Datapath `json:"datapath,omitempty" yaml:"datapath,omitempty"`
	// FastPath says whether the programs hand packets on past the host's forward rules: where there are none but Hexapod's (auto, the
	// default), never (off), or always (force).
	FastPath FastPath `json:"fastPath,omitempty" yaml:"fastPath,omitempty"`
	// BigTCP lets endpoints and uplinks exchange super-packets as large as the uplinks' devices cut into segments, above 64 KiB. The MTU of
	// endpoints' default routes is 8 less then.
	BigTCP bool `json:"bigTCP,omitempty" yaml:"bigTCP,omitempty"`
	// LargeMTU lets endpoints of this host send each other packets of up to 65,535 bytes. What leaves the host is no larger than before. It
	// needs a prefix that is the host's own.
	LargeMTU bool `json:"largeMTU,omitempty" yaml:"largeMTU,omitempty"`
	// Retired is when the host was taken away. Its prefix rests from then.
	Retired *Time `json:"retired,omitempty" yaml:"retired,omitempty"`
}

// Uplink is one link of a host to the fabric.
type Uplink struct {
	// Name of the link, as `ip link` shows it.
	Name string `json:"name" yaml:"name"`
	// Address of the host on this link.
	Address Addr `json:"address,omitzero" yaml:"address,omitempty"`
	// Gateway is the router on this link; it may be link-local.
	Gateway Addr `json:"gateway,omitzero" yaml:"gateway,omitempty"`
	// Segment names the layer 2 the link is on: hosts of one segment reach each other without a router.
	Segment string `json:"segment,omitempty" yaml:"segment,omitempty"`
	// External says that the link leads out of the fabric.
	External bool `json:"external,omitempty" yaml:"external,omitempty"`
	// OnLink says that the host's addresses lie in a prefix that neighbours on this link believe to be there, and that nobody routes
	// to the host: it answers neighbour discovery for them.
	OnLink OnLink `json:"onLink,omitempty" yaml:"onLink,omitempty"`
	// PrefixSource is where the host gets its prefix when it has neither number nor prefix: from a server on this link. One uplink
	// of a host may have it.
	PrefixSource PrefixSource `json:"prefixSource,omitempty" yaml:"prefixSource,omitempty"`
	// PrefixLength is the length of prefix to ask for, from 48 to 64; 0: what the server gives.
	PrefixLength int `json:"prefixLength,omitempty" yaml:"prefixLength,omitempty"`
}

// OnLink is how a host answers for its addresses on a link.
type OnLink string

const (
	// OnLinkAnswer answers at once: the host's prefix is its own.
	OnLinkAnswer OnLink = "answer"
	// OnLinkShared looks for duplicates before an address is used: others have addresses in the same prefix. The host's prefix is then
	// the /64 of the link, written as an adopted one, and other hosts of the link may have the same.
	OnLinkShared OnLink = "shared"
)

// PrefixSource is how a host gets a prefix on a link.
type PrefixSource string

const (
	// PrefixDHCPv6 asks by DHCPv6 prefix delegation from the start (RFC 8415).
	PrefixDHCPv6 PrefixSource = "dhcpv6-pd"
	// PrefixAuto asks by DHCPv6 prefix delegation as soon as a router on the link says that prefixes are delegated there: by the P
	// flag of its advertisements (RFC 9762).
	PrefixAuto PrefixSource = "auto"
)

// Delegated reports whether the host gets its prefix from a server while it runs.
func (h *Host) Delegated() bool {
	return slices.ContainsFunc(h.Spec.Uplinks, func(u Uplink) bool { return u.PrefixSource != "" })
}

// Shared reports whether the host takes its addresses from a prefix that others on a link take theirs from.
func (h *Host) Shared() bool {
	return slices.ContainsFunc(h.Spec.Uplinks, func(u Uplink) bool { return u.OnLink == OnLinkShared })
}

// Clock is a statement about a host's clock.
type Clock string

// ClockTrusted says that the clock may be obeyed.
const ClockTrusted Clock = "trusted"

// Datapath is whether a host has eBPF programs on the links of endpoints.
type Datapath string

// What Datapath can be; empty is auto.
const (
	DatapathAuto     Datapath = "auto"
	DatapathOff      Datapath = "off"
	DatapathRequired Datapath = "required"
)

// FastPath is whether packets are handed on past the host's forward rules.
type FastPath string

// What FastPath can be; empty is auto.
const (
	FastPathAuto  FastPath = "auto"
	FastPathOff   FastPath = "off"
	FastPathForce FastPath = "force"
)

// NewHost makes a host by program. Validate fills its defaults.
func NewHost(name string, spec HostSpec) *Host {
	return &Host{Header: header(KindHost, name), Spec: spec}
}

// Living reports whether the host is there.
func (h *Host) Living() bool { return h.Spec.Retired == nil }

// RetiredAt returns when the host was taken away; the zero time for a living one.
func (h *Host) RetiredAt() time.Time {
	if h.Spec.Retired == nil {
		return time.Time{}
	}
	return h.Spec.Retired.Time
}

func (h *Host) setDefaults() {}
