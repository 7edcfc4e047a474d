package v1alpha1

import (
	"strconv"
	"strings"
	"time"
)

// BGPPeer is a neighbour that the selected hosts exchange routes with, by BGP. A host that no BGPPeer selects runs no BGP.
type BGPPeer struct {
	Header `yaml:",inline"`
	Spec   BGPPeerSpec `json:"spec" yaml:"spec"`
	// Status is written by the controller of a cluster; files have none.
	Status Status `json:"status,omitzero" yaml:"-"`
}

// BGPPeerSpec is the part of a BGPPeer that the user writes.
type BGPPeerSpec struct {
	// Interface is the link to an unnumbered peer, who is found by its router advertisements; or the link of a link-local Address.
	Interface string `json:"interface,omitempty" yaml:"interface,omitempty"`
	// Address of a numbered peer.
	Address Addr `json:"address,omitzero" yaml:"address,omitempty"`
	// ASN of the peer. Left out: that of the rack's router by the plan.
	ASN uint32 `json:"asn,omitempty" yaml:"asn,omitempty"`
	// LocalASN is what the host calls itself. Left out: the number of the rack's hosts by the plan.
	LocalASN uint32 `json:"localASN,omitempty" yaml:"localASN,omitempty"`

	// Cluster, Racks and Hosts say which hosts have this peer: those of the racks and those of the names. Neither: all hosts,
	// of the cluster if one is named.
	Cluster Ref      `json:"cluster,omitempty" yaml:"cluster,omitempty"`
	Racks   []Ref    `json:"racks,omitempty" yaml:"racks,omitempty"`
	Hosts   []string `json:"hosts,omitempty" yaml:"hosts,omitempty"`

	// PasswordFile holds the key of TCP MD5 signatures (RFC 2385): a path inside the configuration folder.
	PasswordFile string `json:"passwordFile,omitempty" yaml:"passwordFile,omitempty"`
	// GTSM takes packets with hop limit 255 alone (RFC 5082). The peer must do the same.
	GTSM bool `json:"gtsm,omitempty" yaml:"gtsm,omitempty"`
	// Passive waits for the peer to connect.
	Passive bool `json:"passive,omitempty" yaml:"passive,omitempty"`

	// AllowDefault lets the peer give default routes.
	AllowDefault bool `json:"allowDefault,omitempty" yaml:"allowDefault,omitempty"`
	// Accept are the ranges the peer may give prefixes of. Left out: the fabric, the plan's peers and the pools.
	Accept []Prefix `json:"accept,omitempty" yaml:"accept,omitempty"`
	// MaxPrefixes ends the session when the peer offers more.
	MaxPrefixes uint32 `json:"maxPrefixes,omitempty" yaml:"maxPrefixes,omitempty"`
	// Communities go with every route to the peer: 65001:100 (RFC 1997) or 4200000001:1:2 (RFC 8092).
	Communities []string `json:"communities,omitempty" yaml:"communities,omitempty"`

	// HoldTime without a word from the peer ends the session; Keepalive is the distance of our own words.
	HoldTime  Duration `json:"holdTime,omitzero" yaml:"holdTime,omitempty"`
	Keepalive Duration `json:"keepalive,omitzero" yaml:"keepalive,omitempty"`
	// GracefulRestart keeps routes while one side restarts (RFC 4724).
	GracefulRestart GracefulRestart `json:"gracefulRestart,omitzero" yaml:"gracefulRestart,omitempty"`
	// BFD looks for a dead path within milliseconds (RFC 5880). It also ends the session when the agent restarts.
	BFD *BFD `json:"bfd,omitempty" yaml:"bfd,omitempty"`
}

// GracefulRestart are the terms of a restart without loss.
type GracefulRestart struct {
	Off bool `json:"off,omitempty" yaml:"off,omitempty"`
	// RestartTime is how long the peer keeps our routes after the session broke.
	RestartTime Duration `json:"restartTime,omitzero" yaml:"restartTime,omitempty"`
}

// BFD are the timers of bidirectional forwarding detection.
type BFD struct {
	Interval   Duration `json:"interval,omitzero" yaml:"interval,omitempty"`
	Multiplier uint32   `json:"multiplier,omitempty" yaml:"multiplier,omitempty"`
}

// Defaults of a BGPPeer.
const (
	DefaultMaxPrefixes = 20_000
	DefaultHoldTime    = 9 * time.Second
	DefaultKeepalive   = 3 * time.Second
	DefaultRestartTime = 120 * time.Second
	DefaultBFDInterval = 300 * time.Millisecond
	DefaultMultiplier  = 3
)

// NewBGPPeer makes a peer by program. Validate fills its defaults.
func NewBGPPeer(name string, spec BGPPeerSpec) *BGPPeer {
	return &BGPPeer{Header: header(KindBGPPeer, name), Spec: spec}
}

func (b *BGPPeer) setDefaults() {
	s := &b.Spec
	orDefault(&s.MaxPrefixes, DefaultMaxPrefixes)
	if s.Keepalive.IsZero() && !s.HoldTime.IsZero() {
		s.Keepalive.Duration = max((s.HoldTime.Duration / 3).Truncate(time.Second), time.Second) // RFC 4271 section 10
	}
	orDefault(&s.HoldTime.Duration, DefaultHoldTime)
	orDefault(&s.Keepalive.Duration, DefaultKeepalive)
	if !s.GracefulRestart.Off {
		orDefault(&s.GracefulRestart.RestartTime.Duration, DefaultRestartTime)
	}
	if s.BFD != nil {
		orDefault(&s.BFD.Interval.Duration, DefaultBFDInterval)
		orDefault(&s.BFD.Multiplier, DefaultMultiplier)
	}
}

// ParseCommunity reads a community, which has two numbers of 16 bits (RFC 1997), or a large one, which has three of 32 bits
// (RFC 8092).
func ParseCommunity(s string) (numbers []uint32, ok bool) {
	words := strings.Split(s, ":")
	bits := 16
	if len(words) == 3 {
		bits = 32
	} else if len(words) != 2 {
		return nil, false
	}
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, bits)
		if err != nil {
			return nil, false
		}
		numbers = append(numbers, uint32(n))
	}
	return numbers, true
}
