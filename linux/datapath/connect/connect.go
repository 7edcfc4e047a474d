// Package connect leads sockets that connect or send to a service to one of its backends, by eBPF programs that hang on a cgroup.
//
// The programs (bpf/connect.c) and their maps are pinned: services work on without a process. Hooks writes the maps: what one
// frontend leads to is replaced by one write, so a client never finds it half done.
package connect

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/model/service"
)

// Hooks are the programs of one host and what they lead to.
type Hooks struct {
	folder *pin.Folder
	cgroup string
	maps   maps
	close  func() error

	mu      sync.Mutex
	entries map[service.Key]*entry
	vips    map[netip.Addr]int // frontends of an address
	last    uint32             // highest number of a table
	stray   []tableRef         // tables that no frontend leads to, found at Open
	dropped map[netip.AddrPort]struct{}
}

// entry is a frontend as the kernel has it. Places are not kept here: they follow from the rest.
type entry struct {
	id       uint32
	class    service.Class
	slots    []netip.AddrPort
	affinity uint32
}

// hooks are the programs by the name of their link.
var hooks = []struct {
	program string
	attach  ebpf.AttachType
}{
	{"service_release", ebpf.AttachCgroupInetSockRelease}, // there before the first socket is led, and until none is led any more
	{"service_connect6", ebpf.AttachCGroupInet6Connect},
	{"service_connect4", ebpf.AttachCGroupInet4Connect},
	{"service_sendmsg6", ebpf.AttachCGroupUDP6Sendmsg},
	{"service_sendmsg4", ebpf.AttachCGroupUDP4Sendmsg},
	{"service_recvmsg6", ebpf.AttachCGroupUDP6Recvmsg},
	{"service_recvmsg4", ebpf.AttachCGroupUDP4Recvmsg},
	{"service_getpeername6", ebpf.AttachCgroupInet6GetPeername},
	{"service_getpeername4", ebpf.AttachCgroupInet4GetPeername},
}

// Open loads the programs, takes over what the pinned maps hold, and hangs the programs on cgroup, the folder of a cgroup of
// version 2: every process below it is a client.
func Open(folder *pin.Folder, cgroup string) (_ *Hooks, err error) {
	spec, err := loadConnect()
	if err != nil {
		return nil, err
	}
	c, err := folder.Load(spec, pin.Options{})
	if err != nil {
		return nil, fmt.Errorf("service hooks: %w", err)
	}
	h := &Hooks{folder: folder, cgroup: cgroup, maps: mapsOf(c), close: func() error { c.Close(); return nil },
		entries: map[service.Key]*entry{}, vips: map[netip.Addr]int{}, dropped: map[netip.AddrPort]struct{}{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if err := errors.Join(h.takeOver(), h.countBypassed()); err != nil {
		return nil, err
	}
	for _, k := range hooks {
		if err := folder.AttachCgroup(k.program, c.Programs[k.program], k.attach, cgroup); err != nil {
			return nil, fmt.Errorf("service hooks: %w", err)
		}
	}
	return h, nil
}

// Close closes the maps. The programs go on (fail-static).
func (h *Hooks) Close() error { return h.close() }

// Detach takes the programs off: sockets are led nowhere from then on. Maps stay until the folder is removed.
func Detach(folder *pin.Folder) error {
	var errs []error
	for _, k := range slices.Backward(hooks) {
		errs = append(errs, folder.Detach(k.program))
	}
	return errors.Join(errs...)
}

// Remove takes the programs off and lets their maps go.
func Remove(folder *pin.Folder) error {
	names, err := Pinned()
	if err != nil {
		return err
	}
	return errors.Join(Detach(folder), folder.Unpin(names...))
}

// Pinned lists the maps that the hooks keep pinned. The programs that lead packets share some of them.
func Pinned() (names []string, err error) {
	spec, err := loadConnect()
	if err != nil {
		return nil, err
	}
	for name, m := range spec.Maps {
		if m.Pinning == ebpf.PinByName {
			names = append(names, name)
		}
	}
	return names, nil
}

// Cgroup returns the folder of the cgroup whose processes are clients.
func (h *Hooks) Cgroup() string { return h.cgroup }

// Held returns the backends that the kernel leads clients of k to. ok is false when k is no frontend.
func (h *Hooks) Held(k service.Key) (backends []netip.AddrPort, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.entries[k]
	if !ok {
		return nil, false
	}
	t := service.Table{Slots: e.slots}
	return t.Backends(), true
}

// Places returns how many places the table of k has; 0 when k is no frontend.
func (h *Hooks) Places(k service.Key) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.entries[k]; ok {
		return e.class.Size()
	}
	return 0
}

// TakeDropped returns the backends of datagram services that went since the last call: sockets that are connected to them wait
// for answers that nobody sends.
func (h *Hooks) TakeDropped() []netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]netip.AddrPort, 0, len(h.dropped))
	for b := range h.dropped {
		out = append(out, b)
	}
	clear(h.dropped)
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out
}
