package connect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/model/service"
)

// Tally is what the hooks did since the maps were made.
type Tally struct {
	Connected uint64 // sockets led to a backend
	Sent      uint64 // datagrams of unconnected sockets led to a backend
	Refused   uint64 // nobody answers, or the service has no such port
	Bypassed  uint64 // left to the translation of packets
}

// Tally reads the counters.
func (h *Hooks) Tally() (Tally, error) {
	var sums [4]uint64
	for i := range sums {
		var perCPU []uint64
		if err := h.maps.tally.Lookup(uint32(i), &perCPU); err != nil {
			return Tally{}, fmt.Errorf("read the counters of services: %w", err)
		}
		for _, n := range perCPU {
			sums[i] += n
		}
	}
	return Tally{sums[0], sums[1], sums[2], sums[3]}, nil
}

// Bypass makes the hooks leave the sockets of exactly these network namespaces alone, named by their cookies (SO_NETNS_COOKIE,
// Linux 5.14).
func (h *Hooks) Bypass(cookies []uint64) error {
	have, err := keysOf[uint64](h.maps.bypass)
	if err != nil {
		return fmt.Errorf("list the namespaces that are left alone: %w", err)
	}
	if err := h.putBypassed(len(have) + len(cookies)); err != nil {
		return err
	}
	var errs []error
	for _, c := range cookies {
		errs = append(errs, h.maps.bypass.Put(c, uint64(1)))
	}
	for _, c := range have {
		if !slices.Contains(cookies, c) {
			errs = append(errs, absent(h.maps.bypass.Delete(c)))
		}
	}
	return errors.Join(append(errs, h.countBypassed())...)
}

// countBypassed tells the hooks how many namespaces are left alone, as the map of them says.
func (h *Hooks) countBypassed() error {
	have, err := keysOf[uint64](h.maps.bypass)
	if err != nil {
		return fmt.Errorf("list the namespaces that are left alone: %w", err)
	}
	return h.putBypassed(len(have))
}

func (h *Hooks) putBypassed(n int) error {
	if err := h.maps.bypassed.Put(uint32(0), uint32(n)); err != nil {
		return fmt.Errorf("tell the service hooks that %d namespaces are left alone: %w", n, err)
	}
	return nil
}

// Correspondent returns whom the socket of a cookie thinks it talks to at backend; ok is false when it was not led there.
func (h *Hooks) Correspondent(socket uint64, backend netip.AddrPort) (service.Key, bool) {
	b := make([]byte, 8+backendSize)
	binary.LittleEndian.PutUint64(b, socket)
	putBackend(b[8:], backend)
	v, err := h.maps.datagrams.LookupBytes(b)
	if err != nil || v == nil {
		return service.Key{}, false
	}
	return keyOf(v), true
}
