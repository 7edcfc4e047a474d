package connect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cilium/ebpf"

	"hexapod.dev/model/diff"
	"hexapod.dev/model/service"
)

// Ensure makes the kernel lead one frontend now, and only where it has to change.
func (h *Hooks) Ensure(ctx context.Context, f service.Frontend) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.ensureBoth(f)
	return err
}

// ensureBoth makes the kernel lead f, and elsewhere what nobody listens for here. The caller holds mu.
func (h *Hooks) ensureBoth(f service.Frontend) (changed bool, err error) {
	alt, has := alternative(f)
	if has {
		if changed, err = h.ensure(alt); err != nil {
			return changed, err
		}
	}
	more, err := h.ensure(f)
	if !has {
		err = errors.Join(err, h.remove(alt.Key))
	}
	return changed || more, err
}

// Remove makes k no frontend.
func (h *Hooks) Remove(ctx context.Context, k service.Key) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	alt, _ := alternative(service.Frontend{Key: k})
	return errors.Join(h.remove(k), h.remove(alt.Key))
}

// Reconcile makes the kernel lead exactly want. A frontend that cannot be written does not keep others from it.
func (h *Hooks) Reconcile(ctx context.Context, want []service.Frontend) (delta diff.Delta[string], err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	wanted := make(map[service.Key]bool, len(want))
	for _, f := range want {
		if ctx.Err() != nil {
			return delta, errors.Join(append(errs, ctx.Err())...)
		}
		wanted[f.Key] = true
		_, known := h.entries[f.Key]
		switch changed, err := h.ensureBoth(f); {
		case err != nil:
			errs = append(errs, err)
		case changed && known:
			delta.Change = append(delta.Change, f.Key.String())
		case changed:
			delta.Add = append(delta.Add, f.Key.String())
		}
	}
	for k := range h.entries {
		if wanted[service.Key{Addr: k.Addr, Port: k.Port, Protocol: k.Protocol &^ elsewhere}] {
			continue
		}
		if err := h.remove(k); err != nil {
			errs = append(errs, err)
		} else {
			delta.Remove = append(delta.Remove, k.String())
		}
	}
	for _, t := range h.stray {
		errs = append(errs, h.deleteTable(t))
	}
	h.stray = nil
	for _, list := range [][]string{delta.Add, delta.Change, delta.Remove} {
		slices.Sort(list)
	}
	return delta, errors.Join(errs...)
}

// takeOver reads what the pinned maps hold, so that what an earlier process made goes on, with every backend in its slot.
func (h *Hooks) takeOver() error {
	known := map[tableRef]bool{}
	owned := map[netip.Addr]bool{}
	var broken []service.Key
	key, val := make([]byte, keySize), make([]byte, valueSize)
	for it := h.maps.frontends.Iterate(); ; {
		if !it.Next(&key, &val) {
			if err := it.Err(); err != nil { // half a list is no list
				return fmt.Errorf("read the services the kernel holds: %w", err)
			}
			break
		}
		k, v := keyOf(key), valueOf(val)
		if isOwner(k) {
			owned[k.Addr] = true
			continue
		}
		if v.class >= service.Classes {
			return fmt.Errorf("the kernel holds service %s in a table of unknown size %d: hexapod agent --cleanup removes it", k, v.class)
		}
		e := &entry{id: v.id, class: v.class, affinity: v.affinity, slots: make([]netip.AddrPort, v.class.Backends())}
		h.last = max(h.last, v.id)
		if !v.empty {
			table, err := h.readTable(tableRef{v.class, v.id})
			if errors.Is(err, ebpf.ErrKeyNotExist) {
				broken = append(broken, k)
			} else if err != nil {
				return fmt.Errorf("read the backends of %s: %w", k, err)
			} else {
				e.slots = slotsOf(v.class, table)
			}
			known[tableRef{v.class, v.id}] = true
		}
		h.entries[k] = e
		h.vips[k.Addr]++
	}
	return h.repair(known, owned, broken)
}

// repair mends what a process left that ended between two writes.
func (h *Hooks) repair(known map[tableRef]bool, owned map[netip.Addr]bool, broken []service.Key) error {
	for _, k := range broken { // a frontend without its table: its clients are refused until Reconcile gives it one
		e := h.entries[k]
		if err := h.maps.frontends.Put(keyBytes(k), value{e.id, e.affinity, e.class, true}.bytes()); err != nil {
			return fmt.Errorf("repair service %s: %w", k, err)
		}
	}
	for a := range h.vips {
		if !owned[a] {
			if err := h.maps.frontends.Put(keyBytes(owner(a)), value{empty: true}.bytes()); err != nil {
				return fmt.Errorf("repair service address %s: %w", a, err)
			}
		}
	}
	for a := range owned {
		if h.vips[a] == 0 {
			if err := absent(h.maps.frontends.Delete(keyBytes(owner(a)))); err != nil {
				return fmt.Errorf("repair service address %s: %w", a, err)
			}
		}
	}
	for class, m := range h.maps.tables {
		ids, err := keysOf[uint32](m)
		if err != nil {
			return fmt.Errorf("list the tables of services: %w", err)
		}
		for _, id := range ids {
			h.last = max(h.last, id)
			if t := (tableRef{service.Class(class), id}); !known[t] {
				h.stray = append(h.stray, t)
			}
		}
	}
	return nil
}

func (h *Hooks) readTable(t tableRef) ([]byte, error) {
	m, key := h.maps.tables[t.class], t.id
	if t.class == service.Classes-1 {
		var inner *ebpf.Map
		if err := m.Lookup(t.id, &inner); err != nil {
			return nil, err
		}
		defer inner.Close()
		m, key = inner, 0
	}
	b, err := m.LookupBytes(key)
	if err == nil && b == nil {
		err = ebpf.ErrKeyNotExist
	}
	return b, err
}

// keysOf lists the keys of a map that nobody else writes.
func keysOf[K any](m *ebpf.Map) (out []K, err error) {
	var next K
	for err = m.NextKey(nil, &next); err == nil; err = m.NextKey(out[len(out)-1], &next) {
		out = append(out, next)
	}
	return out, absent(err)
}

// full says what the kernel means by E2BIG and ENOMEM of a map.
func full(err error) error {
	switch {
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("the map of services is full: %w", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("the kernel has no memory for the table: %w", err)
	}
	return err
}
