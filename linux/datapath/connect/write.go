package connect

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// ensure makes the kernel lead f. It reports whether anything had to be written. The caller holds mu.
func (h *Hooks) ensure(f service.Frontend) (changed bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("service %s, %s: %w", f.Service, f.Key, full(err))
		}
	}()
	e, known := h.entries[f.Key]
	if !known {
		e = &entry{id: h.last + 1}
	}
	old := service.Table{Class: e.class, Slots: e.slots}
	if known && e.affinity == f.AffinitySeconds && slices.Equal(old.Backends(), f.Backends) {
		return false, nil
	}
	was := value{e.id, e.affinity, e.class, !occupied(e.slots)}
	next := service.Next(&old, f.Backends)
	is := value{e.id, f.AffinitySeconds, next.Class, len(f.Backends) == 0}
	if !is.empty {
		if err := h.putTable(e.id, next); err != nil {
			return false, err
		}
	}
	if !known || was != is {
		if err := h.maps.frontends.Put(keyBytes(f.Key), is.bytes()); err != nil {
			return false, err
		}
	}
	if !known {
		h.last++
		h.entries[f.Key] = e
		if err := h.own(f.Key.Addr); err != nil {
			return false, err
		}
	}
	h.noteDropped(f.Key, e.slots, next)
	e.class, e.slots, e.affinity = next.Class, next.Slots, f.AffinitySeconds
	if known && !was.empty && (is.empty || was.class != is.class) { // nobody is led there any more
		err = h.deleteTable(tableRef{was.class, e.id})
	}
	return true, err
}

// remove makes k no frontend. The caller holds mu.
func (h *Hooks) remove(k service.Key) error {
	e, known := h.entries[k]
	if !known {
		return nil
	}
	if err := absent(h.maps.frontends.Delete(keyBytes(k))); err != nil {
		return fmt.Errorf("remove %s: %w", k, err)
	}
	delete(h.entries, k)
	h.noteDropped(k, e.slots, service.Table{})
	if h.vips[k.Addr]--; h.vips[k.Addr] == 0 {
		delete(h.vips, k.Addr)
		if err := absent(h.maps.frontends.Delete(keyBytes(owner(k.Addr)))); err != nil {
			return fmt.Errorf("remove %s: %w", k, err)
		}
	}
	if !occupied(e.slots) {
		return nil
	}
	return h.deleteTable(tableRef{e.class, e.id})
}

// own makes every port of an address belong to its service.
func (h *Hooks) own(a netip.Addr) error {
	h.vips[a]++
	if h.vips[a] > 1 {
		return nil
	}
	return h.maps.frontends.Put(keyBytes(owner(a)), value{empty: true}.bytes())
}

func (h *Hooks) noteDropped(k service.Key, old []netip.AddrPort, next service.Table) {
	if k.Protocol&^elsewhere != transport.UDP {
		return
	}
	for i, b := range old {
		if b.IsValid() && !next.Holds(b, uint16(i)) {
			h.dropped[b] = struct{}{}
		}
	}
}

// tableRef names a table in the kernel.
type tableRef struct {
	class service.Class
	id    uint32
}

// putTable writes a table as a whole: readers find the old one or the new one.
func (h *Hooks) putTable(id uint32, t service.Table) error {
	m := h.maps.tables[t.Class]
	if t.Class < service.Classes-1 {
		return m.Put(id, tableBytes(t))
	}
	inner, err := ebpf.NewMap(&ebpf.MapSpec{Name: "service_table", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(tableSize(t.Class)), MaxEntries: 1})
	if err != nil {
		return err
	}
	defer inner.Close() // the outer map keeps it
	if err := inner.Put(uint32(0), tableBytes(t)); err != nil {
		return err
	}
	return m.Put(id, inner)
}

func (h *Hooks) deleteTable(t tableRef) error {
	if err := absent(h.maps.tables[t.class].Delete(t.id)); err != nil {
		return fmt.Errorf("remove a service's table: %w", err)
	}
	return nil
}

func occupied(slots []netip.AddrPort) bool {
	return slices.ContainsFunc(slots, netip.AddrPort.IsValid)
}

// absent takes what is not there for deleted.
func absent(err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}
