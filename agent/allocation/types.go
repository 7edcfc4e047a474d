// Package allocation is the book of one host: who has which address now, and who had it when.
//
// It puts the pure allocator of model/ipam behind a journal: an address is on disk before anybody hears of it, and none is given out
// twice, whatever happens to the process, the power, the disk or the clock.
package allocation

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"hexapod.dev/agent/journal"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

// Owner is whom an address is given to.
type Owner struct {
	Key       desired.EndpointKey `json:"key"`
	Namespace string              `json:"namespace,omitempty"`
	Name      string              `json:"name,omitempty"`
	UID       string              `json:"uid,omitempty"`
	NetNS     string              `json:"netns,omitempty"`
	Network   string              `json:"network,omitempty"`
}

func (o Owner) pack() ipam.Packed {
	return ipam.Owner{
		Container: o.Key.Container, Interface: o.Key.Interface,
		Namespace: o.Namespace, Name: o.Name, UID: o.UID, NetNS: o.NetNS, Network: o.Network,
	}.Pack()
}

func unpack(p ipam.Packed) Owner {
	o, err := p.Unpack()
	if err != nil { // every record was parsed, and parsing checks the shape
		return Owner{}
	}
	return Owner{
		Key:       desired.EndpointKey{Container: o.Container, Interface: o.Interface},
		Namespace: o.Namespace, Name: o.Name, UID: o.UID, NetNS: o.NetNS, Network: o.Network,
	}
}

// Request asks for an address.
type Request struct {
	Owner    Owner
	Identity uint16
	// Fixed is an address from a pool, claimed for this owner; the zero value asks for one of the host prefix.
	Fixed netip.Addr
}

// Allocation is an address and whose it is.
type Allocation struct {
	Owner
	Addr     netip.Addr   `json:"address"`
	Identity uint16       `json:"identity"`
	Fixed    bool         `json:"fixed,omitempty"`
	Given    ipam.Seconds `json:"given"` // when
}

func (e *entry) allocation() Allocation {
	return Allocation{
		Owner: unpack(e.owner), Addr: netip.AddrFrom16(e.addr), Identity: e.identity, Fixed: e.fixed, Given: ipam.Seconds(e.given),
	}
}

// Clock is the host's.
type Clock interface {
	Now() ipam.Seconds
	// WaitUntil returns when the clock reads s or later, or with the error of ctx.
	WaitUntil(ctx context.Context, s ipam.Seconds) error
}

// SystemClock is the clock of the operating system.
type SystemClock struct{}

// Now implements Clock.
func (SystemClock) Now() ipam.Seconds { return ipam.FromUnix(time.Now().Unix()) }

// WaitUntil implements Clock.
func (SystemClock) WaitUntil(ctx context.Context, s ipam.Seconds) error {
	t := time.NewTimer(time.Until(time.Unix(s.Unix(), 0)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// IDs tell one machine, and one boot of it, from another. Generation is the VM generation id, zero where there is none.
type IDs struct {
	Machine, Boot, Generation [16]byte
}

// Facts decide whether the clock is believed when the journal alone cannot tell.
type Facts struct {
	Synchronised bool       // the kernel says its clock is
	Trusted      bool       // the configuration says `clock: trusted`
	Witness      ipam.Stamp // the mark as the cluster's store has it; 0: none
}

// Options of a book. FS and Clock are needed, the rest has defaults. Without a Layout the book can be read and endpoints retired, but
// nothing is given out.
type Options struct {
	Host   string
	Layout ipam.Layout
	FS     journal.FS
	Clock  Clock
	IDs    IDs
	Facts  func() Facts // asked each time the clock is to be believed; nil: nothing is known
	Found  []netip.Addr // addresses of endpoints found in the kernel
	Built  ipam.Seconds // when this program was built; 0: not known
	Seed   uint64       // where the counter of a mid or narrow prefix begins on a host without history
	Keep   func() Keep  // asked each time the journal is looked after; nil: all of it stays, here alone
	Event  func(Event)  // called with what an operator should hear; nil: nobody does. Must not call the book.

	MaxClockJump ipam.Seconds // 0: ipam.MaxClockJump
	Rest         ipam.Seconds // 0: ipam.DefaultRest
	MinRest      ipam.Seconds // 0: ipam.MinRest
}

// Keep says what becomes of closed segments of the journal.
type Keep struct {
	Sink      journal.Sink // where copies go; nil: nowhere
	Retention ipam.Seconds // how long they stay here; 0: for ever
}

// Event is something an operator should hear of.
type Event struct {
	Why    ipam.Why
	Detail string // which address, segment or error
}

// What a book tells besides ipam.PressureReuse.
const (
	NotWritable   ipam.Why = "the journal cannot be written, new addresses wait for it"
	NotShipped    ipam.Why = "a closed segment of the journal did not reach the sink; it is tried again"
	NotRetained   ipam.Why = "an old segment of the journal could not be removed"
	SegmentLeft   ipam.Why = "a segment of the journal is past its retention and was removed"
	SegmentsTaken ipam.Why = "closed segments of the journal reached the sink"
)

// TakenError says that a fixed address has an owner.
type TakenError struct {
	Addr  netip.Addr
	Owner desired.EndpointKey
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("allocate the fixed address %s: endpoint %s has it; it is free when that endpoint is deleted", e.Addr, e.Owner)
}

// OtherError says that an endpoint has an address and asks for another one.
type OtherError struct {
	Key       desired.EndpointKey
	Has, Asks netip.Addr
}

func (e *OtherError) Error() string {
	return fmt.Sprintf("allocate %s for endpoint %s: it has %s already; delete the endpoint first", e.Asks, e.Key, e.Has)
}
