// Package seeing shows what the datapath of a host does: its living flows, what it drops and why, and what a described packet would meet.
//
// What the kernel itself drops, in the namespaces of the host and of its endpoints, is told beside what the programs drop.
package seeing

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"hexapod.dev/linux/datapath"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/transport"
)

// Options are what an observer works with.
type Options struct {
	Own  netns.ID // namespace of the host
	Conn *rtnl.Conn
	Log  *slog.Logger

	Snapshot func() desired.Snapshot
	Holder   func(netip.Addr) (desired.EndpointKey, bool) // the endpoint of this host that has an address
	Programs func() *datapath.Table                       // nil: none
	// Denied names the rule of a policy that forbids a flow.
	Denied func(from, to netip.Addr, proto transport.Protocol, port uint16) string
}

// Observer looks at the datapath of a host. New makes it; what is dropped is told while Run runs.
type Observer struct {
	options   Options
	followers followers
	ears      ears
}

// New makes an observer.
func New(o Options) *Observer {
	return &Observer{options: o, followers: followers{first: make(chan struct{}, 1)}}
}

var errNoPrograms = errors.New("this host has no eBPF programs; hexapod status tells why")

// linkName is the name of a link, or its index where it is gone.
func (o *Observer) linkName(index uint32) string {
	var l rtnl.Link
	if err := o.options.Conn.Do(rtnl.GetLinkIndex(int(index), &l)); err != nil {
		return fmt.Sprintf("link %d", index)
	}
	return l.Name
}

// linkIndex is the index of the link of a name.
func (o *Observer) linkIndex(name string) (int, error) {
	l, ok, err := o.options.Conn.Link(name)
	if err == nil && !ok {
		err = fmt.Errorf("link %s does not exist", name)
	}
	return l.Index, err
}
