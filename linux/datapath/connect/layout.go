package connect

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// The shapes of bpf/include/service.h, in bytes. Numbers are little endian, as both architectures have them; addresses and ports
// are in network order.
const (
	keySize     = 24
	valueSize   = 16
	backendSize = 24
	seatSize    = 32
	flagEmpty   = 1
)

// maps are the pinned maps.
type maps struct {
	frontends, datagrams, bypass, bypassed, tally *ebpf.Map
	tables                                        [service.Classes]*ebpf.Map // by class; the largest is a map of maps
}

func mapsOf(c *ebpf.Collection) maps {
	m := maps{frontends: c.Maps[connectMapServiceFrontends], datagrams: c.Maps[connectMapServiceDatagrams],
		bypass: c.Maps[connectMapServiceBypass], bypassed: c.Maps[connectMapServiceBypassed], tally: c.Maps[connectMapServiceTally]}
	for class := range m.tables {
		m.tables[class] = c.Maps[fmt.Sprintf("service_table_%d", service.Class(class).Size())]
	}
	return m
}

// value is a struct service.
type value struct {
	id       uint32
	affinity uint32
	class    service.Class
	empty    bool
}

func (v value) bytes() []byte {
	b := make([]byte, valueSize)
	binary.LittleEndian.PutUint32(b, v.id)
	binary.LittleEndian.PutUint32(b[4:], v.affinity)
	b[8] = byte(v.class)
	if v.empty {
		b[9] = flagEmpty
	}
	return b
}

func valueOf(b []byte) value {
	return value{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), service.Class(b[8]), b[9]&flagEmpty != 0}
}

func keyBytes(k service.Key) []byte {
	b := make([]byte, keySize)
	a := k.Addr.As16() // IPv4 becomes IPv4-mapped
	copy(b, a[:])
	binary.BigEndian.PutUint16(b[16:], k.Port)
	b[18] = byte(k.Protocol)
	return b
}

func keyOf(b []byte) service.Key {
	return service.Key{Addr: netip.AddrFrom16([16]byte(b)).Unmap(), Port: binary.BigEndian.Uint16(b[16:]), Protocol: transport.Protocol(b[18])}
}

// elsewhere is the bit of a key's protocol that says who answers while nobody listens at a frontend's backend (SERVICE_ELSEWHERE).
const elsewhere transport.Protocol = 0x40

// alternative is the frontend that holds who answers elsewhere; ok is false where f has none.
func alternative(f service.Frontend) (alt service.Frontend, ok bool) {
	alt = f
	alt.Key.Protocol |= elsewhere
	alt.Backends, alt.Elsewhere = f.Elsewhere, nil
	return alt, len(f.Elsewhere) > 0
}

// owner is the key that says that an address belongs to a service, whatever the port.
func owner(a netip.Addr) service.Key { return service.Key{Addr: a} }

func isOwner(k service.Key) bool { return k.Port == 0 && k.Protocol == 0 }

func putBackend(b []byte, a netip.AddrPort) {
	if a.IsValid() {
		addr := a.Addr().As16()
		copy(b, addr[:])
		binary.BigEndian.PutUint16(b[16:], a.Port())
	}
}

// backendOf reads a struct service_backend; the zero AddrPort is a free slot.
func backendOf(b []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(b[16:])
	if port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), port)
}

// tableSize is the size of a table's value.
func tableSize(c service.Class) int {
	if c == service.Classes-1 {
		return c.Backends()*backendSize + 2*(c.Size()+3)
	}
	return c.Backends()*backendSize + (c.Size()+7)/8*8
}

func tableBytes(t service.Table) []byte {
	b := make([]byte, tableSize(t.Class))
	for i, s := range t.Slots {
		putBackend(b[i*backendSize:], s)
	}
	places := b[t.Class.Backends()*backendSize:]
	for i, slot := range t.Places {
		if t.Class == service.Classes-1 {
			binary.LittleEndian.PutUint16(places[2*i:], slot)
		} else {
			places[i] = byte(slot)
		}
	}
	return b
}

func slotsOf(c service.Class, table []byte) []netip.AddrPort {
	out := make([]netip.AddrPort, c.Backends())
	for i := range out {
		out[i] = backendOf(table[i*backendSize:])
	}
	return out
}
