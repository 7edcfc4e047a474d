// Package nat64 translates the packets that the kernel's routes lead to a TUN device: the slow path of NAT64, which a child without privileges runs.
//
// The engine is model/xlat with the bindings of model/xlat/nat64. This package brings it packets, a clock, memory for bindings that
// outlives the process, and a log of which endpoint had which block of ports.
package nat64

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/gateway"
	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// Config is what a translator is told. Its JSON goes from the agent to the child.
type Config struct {
	Prefixes []netip.Prefix `json:"prefixes"` // Pref64, the first is what endpoints see servers by
	Pool     []netip.Addr   `json:"pool"`     // IPv4 addresses
	Ports    Ports          `json:"ports"`    // of the one address of the pool, which is the host's own; none: the pool is nobody else's
	Held     []Port         `json:"held"`     // ports that sockets of the host have there
	Gateway  string         `json:"gateway"`  // name of this one
	// Members are the gateways that share the pool and go on for each other, this one among them; none: the pool is this one's alone.
	Members  []gateway.Member `json:"members,omitempty"`
	Keys     []gateway.Key    `json:"keys,omitempty"`    // of what they tell each other; the first signs
	Leaving  bool             `json:"leaving,omitempty"` // this one is about to go: the others are to have its addresses
	Clients  []netip.Prefix   `json:"clients"`
	Private  []netip.Prefix   `json:"private,omitempty"`
	Blocks   int              `json:"blocks"`   // quota of an endpoint, in blocks of ports
	Bindings int              `json:"bindings"` // of all endpoints together
	Self4    netip.Addr       `json:"self4"`    // whom ICMP errors of routers without IPv4 address come from
	Self6    netip.Addr       `json:"self6"`    // whom errors of the translator itself come from
	MTU4     int              `json:"mtu4,omitempty"`
	MTU6     int              `json:"mtu6,omitempty"`
	Secret   nat64.Secret     `json:"secret"`
	Fast     int              `json:"fast,omitempty"`  // buckets of the fast path's memory; 0: there is none
	Rooms    int              `json:"rooms,omitempty"` // endpoints whose flows it begins; 0: the translator begins all
}

// Ports is a range of ports, both ends included.
type Ports struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// Port is a port of one protocol, as IPv4 numbers it.
type Port struct {
	Protocol uint8  `json:"protocol"`
	Port     uint16 `json:"port"`
}

// Compare orders ports.
func (p Port) Compare(q Port) int {
	return cmp.Or(cmp.Compare(p.Protocol, q.Protocol), cmp.Compare(p.Port, q.Port))
}

func (p Port) String() string {
	if p.Protocol == unix.IPPROTO_UDP {
		return "UDP " + strconv.Itoa(int(p.Port))
	}
	return "TCP " + strconv.Itoa(int(p.Port))
}

// held is the ports of sockets as the table reads them; nil: there are none.
func (c Config) held() nat64.Bits {
	if len(c.Held) == 0 {
		return nil
	}
	held := make(nat64.Bits, nat64.BitsWords)
	for _, p := range c.Held {
		held.Set(p.Protocol, p.Port)
	}
	return held
}

// same reports whether two configurations differ in nothing but ports of sockets, keys, and whether this one leaves.
func (c Config) same(d Config) bool {
	c.Leaving, d.Leaving = false, false
	c.Held, d.Held, c.Keys, d.Keys = nil, nil, nil, nil
	return reflect.DeepEqual(c, d)
}

// prefixes checks the translation prefixes.
func (c Config) prefixes() (list []xlat.Pref64, err error) {
	for _, p := range c.Prefixes {
		q, err := xlat.NewPref64(p)
		if err != nil {
			return nil, err
		}
		list = append(list, q)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no NAT64 prefix is given")
	}
	return list, nil
}

// memory maps a file as room for n bindings. It grows with its use: unused pages cost nothing.
func memory(f *os.File, n int) ([]nat64.Binding, error) {
	size := n * int(unsafe.Sizeof(nat64.Binding{}))
	if err := f.Truncate(int64(size)); err != nil {
		return nil, fmt.Errorf("room for %d bindings: %w", n, err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("room for %d bindings: %w", n, err)
	}
	// A Binding is numbers alone, and a mapping begins at a page: any bytes are a valid one, and it is aligned.
	return unsafe.Slice((*nat64.Binding)(unsafe.Pointer(&b[0])), n), nil
}

// now is the kernel's clock that goes on over restarts of processes and suspends (clock_gettime(2), CLOCK_BOOTTIME).
func now() nat64.Seconds {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // it cannot fail for this clock
	return nat64.Seconds(ts.Sec)
}
