// Package dhcp asks a DHCPv6 server for a prefix of this host's own and keeps it: the client of prefix delegation (RFC 8415).
//
// Three layers: Parse and Message.Bytes know the bytes; Machine decides what to send and what is held at a moment it is told, and
// knows no socket and no clock; Client drives a machine with a port, a clock and a store. It asks for a prefix and for nothing else,
// so it works beside another client of the host that asks for addresses.
package dhcp

import (
	"net/netip"
	"time"
)

// Kind is the type of a message (RFC 8415 7.3).
type Kind uint8

// The messages of prefix delegation between a client and a server.
const (
	Solicit   Kind = 1
	Advertise Kind = 2
	Request   Kind = 3
	Renew     Kind = 5
	Rebind    Kind = 6
	Reply     Kind = 7

	releaseKind Kind = 8
)

func (k Kind) String() string {
	if name, ok := map[Kind]string{Solicit: "Solicit", Advertise: "Advertise", Request: "Request", Renew: "Renew", Rebind: "Rebind", Reply: "Reply", releaseKind: "Release"}[k]; ok {
		return name
	}
	return "other message"
}

// Code is a status code (RFC 8415 21.13).
type Code uint16

// Status codes a client of prefix delegation meets. Others count as a failure without a name.
const (
	Success       Code = 0
	UnspecFail    Code = 1
	NoBinding     Code = 3
	NoPrefixAvail Code = 6
)

// Message is one message, with one identity association for prefix delegation (IA_PD) at most.
type Message struct {
	Kind        Kind
	Transaction [3]byte
	Client      []byte // DUID
	Server      []byte // DUID; nil when absent
	Elapsed     time.Duration
	Preference  uint8 // of a server (RFC 8415 21.8)
	Status      Code
	SolMaxRT    time.Duration // 0 when absent (RFC 8415 21.24)
	IA          *IA           // nil when absent
}

// IA is an IA_PD (RFC 8415 21.21).
type IA struct {
	ID       uint32
	T1, T2   time.Duration // 0: the client may choose
	Status   Code
	Prefixes []Offer
}

// Offer is one prefix of an IA_PD (RFC 8415 21.22). A valid lifetime of 0 takes it back.
type Offer struct {
	Prefix           netip.Prefix
	Preferred, Valid time.Duration
}

// Delegation is a prefix that was delegated to this host.
type Delegation struct {
	Prefix    netip.Prefix `json:"prefix"`
	Preferred time.Time    `json:"preferred"`           // until then for new addresses
	Valid     time.Time    `json:"valid"`               // until then packets for it come here
	Withdrawn bool         `json:"withdrawn,omitempty"` // the server took it back before that; it is not asked for again
}

// Lease is what a server delegated, and when to talk to it again.
type Lease struct {
	Server   []byte       `json:"server,omitempty"`   // DUID
	T1       time.Time    `json:"t1"`                 // when to renew at that server
	T2       time.Time    `json:"t2"`                 // when to rebind at any server
	Prefixes []Delegation `json:"prefixes,omitempty"` // oldest first
}

// DrainsAt is when no new address comes from d any more: when the preferred lifetime ends, and at the latest when no server has
// answered for half of the time in which any was asked (T2 to the end). An address made later would hardly have been used.
func (l Lease) DrainsAt(d Delegation) time.Time {
	at := d.Preferred
	if half := l.T2.Add(d.Valid.Sub(l.T2) / 2); half.Before(at) {
		at = half
	}
	return at
}

// Holding is what a lease is good for at a moment.
type Holding struct {
	Prefix   netip.Prefix // for new addresses; invalid: there is none
	Draining []Delegation // others that are still valid: what has an address in them goes on, nothing new does
}

// At says what the lease is good for. A prefix stays the one for new addresses as long as it may be, so that a second one changes
// nothing for those who have the first.
func (l Lease) At(now time.Time) Holding {
	var h Holding
	for _, d := range l.Prefixes {
		switch {
		case !now.Before(d.Valid):
		case !h.Prefix.IsValid() && !d.Withdrawn && now.Before(l.DrainsAt(d)):
			h.Prefix = d.Prefix
		default:
			h.Draining = append(h.Draining, d)
		}
	}
	return h
}

// asked returns the prefixes to ask for again.
func (l Lease) asked() []Offer {
	var list []Offer
	for _, d := range l.Prefixes {
		if !d.Withdrawn {
			list = append(list, Offer{Prefix: d.Prefix}) // RFC 8415 18.2.4: lifetimes in a Renew are for the server to ignore
		}
	}
	return list
}
