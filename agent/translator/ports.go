package translator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/nat64"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/linux/sysctl"
	"hexapod.dev/model/desired"
)

// PortsLook is how often LookAtPorts wants to be called: the kernel tells nobody of a socket that is bound.
const PortsLook = 10 * time.Second

// fewestPorts are to be left to sockets that ask the kernel for any.
const fewestPorts = 1024

// anywhere is an address that no host has a route of its own to (RFC 8880 7.1): what leads there leads to the Internet.
var anywhere = netip.AddrFrom4([4]byte{192, 0, 0, 170})

// ownAddress is the address that a host and its endpoints share.
type ownAddress struct {
	addr  netip.Addr
	links []string     // that packets to it arrive by
	held  []nat64.Port // ports of the range that sockets of the host have, sorted
}

func (o ownAddress) equal(p ownAddress) bool {
	return o.addr == p.addr && slices.Equal(o.links, p.links) && slices.Equal(o.held, p.held)
}

// reservation remembers which ports this agent keeps from sockets.
func (t *Translator) reservation() sysctl.Reservation {
	return sysctl.Reservation(filepath.Join(t.options.StateDir, "reserved-ports"))
}

// shareAddress keeps the ports of endpoints from sockets of the host and finds the address. The ports come first: no socket gets one of them
// after it was looked at, but one that asks for that very port.
func (t *Translator) shareAddress(o *desired.Translation) (found ownAddress, err error) {
	addr, index, ok, err := t.options.Conn.SourceTo(anywhere)
	if err != nil {
		return found, err
	}
	if !ok || !addr.IsGlobalUnicast() {
		return found, errors.New(string(desired.NoOwnIPv4))
	}
	left, err := t.reservation().Reserve(sysctl.Open(t.options.NS), sysctl.PortRange(o.Ports.First, o.Ports.Last), fewestPorts)
	if err != nil {
		return found, err
	}
	if left < fewestPorts {
		return found, fmt.Errorf("%s: %d", desired.FewPortsLeft, left)
	}
	found.addr = addr
	if found.links, err = t.linksTo(addr, index); err != nil {
		return found, err
	}
	found.held, err = heldPorts(addr, o.Ports)
	return found, err
}

// linksTo are the links that packets to an address of this host arrive by: those that have it, those of the default routes, and lo, by which
// the host's own servers answer its endpoints.
func (t *Translator) linksTo(addr netip.Addr, index int) ([]string, error) {
	links, err := t.options.Conn.Links()
	if err != nil {
		return nil, err
	}
	addrs, err := t.options.Conn.Addrs4(0)
	if err != nil {
		return nil, err
	}
	routes, err := t.options.Conn.Routes4(unix.RT_TABLE_MAIN, 0)
	if err != nil {
		return nil, err
	}
	by := map[int]bool{index: true}
	for _, h := range addrs {
		if h.Prefix.Addr() == addr {
			by[h.Index] = true
		}
	}
	for _, r := range routes {
		if r.Dst.Bits() == 0 {
			by[r.Index] = true
		}
	}
	var names []string
	for _, l := range links {
		if (by[l.Index] || l.Loopback) && !l.OfEndpoint() && l.Name != desired.TranslationLink {
			names = append(names, l.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// heldPorts are the ports of a range by which sockets of this host are reached at an address.
func heldPorts(addr netip.Addr, ports desired.Ports) (held []nat64.Port, err error) {
	conn, err := rtnl.DialDiag(nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			sockets, err := conn.Sockets(family, protocol)
			if err != nil {
				return nil, err
			}
			for _, s := range sockets {
				local, port := s.Local.Addr().Unmap(), s.Local.Port()
				if port >= ports.First && port <= ports.Last && (local == addr || local.IsUnspecified()) {
					held = append(held, nat64.Port{Protocol: protocol, Port: port})
				}
			}
		}
	}
	slices.SortFunc(held, nat64.Port.Compare)
	return slices.Compact(held), nil
}

// LookAtPorts asks for a new pass of Translate when its host has another address, or other sockets.
func (t *Translator) LookAtPorts(context.Context) error {
	o := t.options.Snapshot().Config.Translation
	if o == nil || !o.OwnAddress() {
		return nil
	}
	found, err := t.shareAddress(o)
	if err != nil {
		t.options.Again() // which says so in the status
		return nil
	}
	t.mu.Lock()
	before := t.own
	t.mu.Unlock()
	if !found.equal(before) {
		if before.addr.IsValid() && before.addr != found.addr {
			t.options.Log.Info("the host has another IPv4 address, and its endpoints with it: their connections end", "before", before.addr, "now", found.addr)
		}
		t.options.Again()
	}
	return nil
}

// watchAddresses looks at the ports when an IPv4 address or default route of the host comes or goes, until ctx ends.
func (t *Translator) watchAddresses(ctx context.Context) error {
	sub, err := rtnl.Subscribe(t.options.NS, rtnl.Addresses4, rtnl.Routes4)
	if err != nil {
		return err
	}
	defer sub.Close()
	for {
		events, err := sub.Receive(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if slices.ContainsFunc(events, func(e rtnl.Event) bool { return e.Route == nil || e.Route.Dst.Bits() == 0 }) {
			t.options.Look()
		}
	}
}

// hostSide opens the program that takes packets for endpoints from those for the host, once. It is there with a pool too, and hangs nowhere
// then: a translator that runs is given its memory at its start alone.
func (t *Translator) hostSide() (*nat64.Host, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.host != nil {
		return t.host, nil
	}
	if none := t.options.Programs().None; none != "" {
		return nil, fmt.Errorf("%s: no eBPF programs: %s", desired.NoHostSide, none)
	}
	h, err := nat64.OpenHost(t.fastOptions())
	if err == nil {
		t.host = h
	}
	return h, err
}

// leadHostSide brings the translator what arrives for endpoints at the host's own address, and nothing where it has a pool.
func (t *Translator) leadHostSide() error {
	h, err := t.hostSide()
	t.mu.Lock()
	own := t.own
	t.mu.Unlock()
	switch {
	case !own.addr.IsValid() && h == nil:
		return nil
	case err != nil:
		return err
	case !own.addr.IsValid():
		return errors.Join(h.Off(), t.reservation().Release(sysctl.Open(t.options.NS)))
	}
	return h.Lead(own.addr, desired.TranslationLink, own.links)
}

// leaveHostSide gives the host its ports back.
func (t *Translator) leaveHostSide() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own = ownAddress{}
	t.closeHost()
	return errors.Join(t.reservation().Release(sysctl.Open(t.options.NS)), nat64.RemoveHost(t.fastOptions()))
}

// closeHost closes what this process has open of the program; it goes on. The caller holds mu.
func (t *Translator) closeHost() {
	if t.host != nil {
		_ = t.host.Close()
	}
	t.host = nil
}

// sharedText tells of the address that host and endpoints share, for the status.
func (o ownAddress) sharedText(ports desired.Ports) string {
	text := fmt.Sprintf("%s of this host, ports %d to %d", o.addr, ports.First, ports.Last)
	if len(o.held) == 0 {
		return text
	}
	const few = 5
	var names []string
	for _, h := range o.held[:min(few, len(o.held))] {
		names = append(names, h.String())
	}
	if len(o.held) > few {
		names = append(names, "...")
	}
	return fmt.Sprintf("%s but for %d that sockets of the host have (%s)", text, len(o.held), strings.Join(names, ", "))
}
