package datapath

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// Maps is what the programs know, as maps of the kernel. The shapes are those of bpf/include/state.h.
type Maps struct {
	byName map[string]*ebpf.Map

	// changing guards the settings, which are read, changed and written as a whole: an older generation that comes back with another
	// setting would spare flows that a new policy cuts.
	changing sync.Mutex
}

type endpointValue struct {
	Link         uint32
	MAC, HostMAC desired.MAC
	Identity     uint32
}

type kinKey struct {
	Addr      [16]byte
	Link, Pad uint32
}

type insideKey struct {
	Bits uint32
	Addr [16]byte
}

type insideValue struct {
	Flags, Link uint32
	MAC         desired.MAC
	Pad         uint16
}

type pairKey struct{ From, To [16]byte }

const (
	settingFast = 1 << iota
	settingEvents
	settingPolicy
	settingServices
)

type settings struct {
	Flags, Generation uint32
	Seed              uint64
	Now, Pad          uint32
}

func settingsValue(s datapath.Settings) settings {
	v := settings{Generation: s.Generation, Seed: s.Seed}
	if s.Fast {
		v.Flags |= settingFast
	}
	if s.Services {
		v.Flags |= settingServices
	}
	return v
}

// PutEndpoint makes an address that of an endpoint.
func (m *Maps) PutEndpoint(a netip.Addr, e datapath.Endpoint) error {
	return m.put("endpoints", a.As16(), endpointValue{Link: e.Link, MAC: e.MAC, HostMAC: e.HostMAC, Identity: e.Identity}, "endpoint "+a.String())
}

func (m *Maps) endpoint(a netip.Addr) (endpointValue, bool) {
	var v endpointValue
	err := m.byName["endpoints"].Lookup(a.As16(), &v)
	return v, err == nil
}

// RemoveEndpoint forgets an address. A missing one is no error.
func (m *Maps) RemoveEndpoint(a netip.Addr) error {
	return m.remove("endpoints", a.As16(), "endpoint "+a.String())
}

// PutKin lets an address be sent from by another link of its endpoint.
func (m *Maps) PutKin(k datapath.Kin, e datapath.Endpoint) error {
	return m.put("kin", kinKey{Addr: k.Addr.As16(), Link: k.Link},
		endpointValue{Link: e.Link, MAC: e.MAC, HostMAC: e.HostMAC, Identity: e.Identity}, fmt.Sprintf("kin %s on link %d", k.Addr, k.Link))
}

// PutLink says what lies behind an uplink.
func (m *Maps) PutLink(index uint32, f datapath.LinkFlags) error {
	return m.put("links", index, uint32(f), fmt.Sprintf("link with index %d", index))
}

// PutInside makes a prefix an inside one.
func (m *Maps) PutInside(p netip.Prefix, in datapath.Inside) error {
	return m.put("inside", keyOf(p), insideValue{Flags: uint32(in.Flags), Link: in.Link, MAC: in.MAC}, "prefix "+p.String())
}

func keyOf(p netip.Prefix) insideKey {
	p = p.Masked()
	return insideKey{Bits: uint32(p.Bits()), Addr: p.Addr().As16()}
}

// PutDenied forbids a pair.
func (m *Maps) PutDenied(p datapath.Pair) error {
	return m.put("denied", pairKey{p.From.As16(), p.To.As16()}, uint32(1), fmt.Sprintf("denied %s to %s", p.From, p.To))
}

// RemoveDenied allows a pair again. A missing one is no error.
func (m *Maps) RemoveDenied(p datapath.Pair) error {
	return m.remove("denied", pairKey{p.From.As16(), p.To.As16()}, fmt.Sprintf("denied %s to %s", p.From, p.To))
}

func (m *Maps) settings() (settings, error) {
	var s settings
	if err := m.byName["settings"].Lookup(uint32(0), &s); err != nil {
		return s, fmt.Errorf("read the settings of the datapath: %w", err)
	}
	return s, nil
}

// SetFast switches the direct ways onward on or off.
func (m *Maps) SetFast(on bool) error { return m.setFlag(settingFast, on) }

// SetServices makes the programs lead packets to services, or leave them alone.
func (m *Maps) SetServices(on bool) error { return m.setFlag(settingServices, on) }

func (m *Maps) setFlag(flag uint32, on bool) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	s, err := m.settings()
	if err != nil {
		return err
	}
	before := s.Flags
	s.Flags &^= flag
	if on {
		s.Flags |= flag
	}
	if s.Flags == before {
		return nil
	}
	return m.put("settings", uint32(0), s, "settings")
}

// NextGeneration makes every flow be judged anew: policy has changed.
func (m *Maps) NextGeneration() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	s, err := m.settings()
	if err != nil {
		return err
	}
	s.Generation++
	return m.put("settings", uint32(0), s, "settings")
}

func (m *Maps) put(name string, key, value any, what string) error {
	err := m.byName[name].Put(key, value)
	switch {
	case errors.Is(err, unix.E2BIG): // the word of a full hash, and of an index behind the end of an array
		return fmt.Errorf("write %s to map %s: it has room for %d and is full", what, name, m.byName[name].MaxEntries())
	case err != nil:
		return fmt.Errorf("write %s to map %s: %w", what, name, err)
	}
	return nil
}

func (m *Maps) remove(name string, key any, what string) error {
	if err := m.byName[name].Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("remove %s from map %s: %w", what, name, err)
	}
	return nil
}
