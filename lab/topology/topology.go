// Package topology says what a lab is made of: racks, hosts, routers, the links between them and the routes over them.
//
// It is pure: the same size gives the same names, links and routes every time.
package topology

import (
	"fmt"
	"net/netip"
)

// Limits of one lab. They keep the number of processes and of pairs to check within what one machine does in a minute.
const (
	MaxRacks     = 16
	MaxHosts     = 64  // in all racks together
	MaxEndpoints = 256 // on all hosts together
)

// Size is how large a lab is.
type Size struct {
	Racks     int `json:"racks"`
	Hosts     int `json:"hosts"`     // in each rack
	Endpoints int `json:"endpoints"` // on each host
}

// Check refuses a size outside the limits, by name of the flag that sets it.
func (s Size) Check() error {
	switch {
	case s.Racks < 1 || s.Racks > MaxRacks:
		return fmt.Errorf("racks %d: want 1 to %d", s.Racks, MaxRacks)
	case s.Hosts < 1 || s.Racks*s.Hosts > MaxHosts:
		return fmt.Errorf("hosts %d in each of %d racks: want at least 1, and at most %d in all", s.Hosts, s.Racks, MaxHosts)
	case s.Endpoints < 0 || s.Racks*s.Hosts*s.Endpoints > MaxEndpoints:
		return fmt.Errorf("endpoints %d on each of %d hosts: want at most %d in all", s.Endpoints, s.Racks*s.Hosts, MaxEndpoints)
	}
	return nil
}

// Names of the two machines every lab has once.
const (
	Spine   = "spine"
	Outside = "outside"
)

// Every link of the fabric has the same two link-local addresses: the router above is fe80::1, what hangs below it is fe80::2.
// fe80::/64 is per link (RFC 4291 2.5.6), so they may be the same everywhere, and a capture shows which way is up.
var (
	Above = netip.MustParseAddr("fe80::1")
	Below = netip.MustParseAddr("fe80::2")
)

// UplinkName is the name of the interface towards the router above, on hosts, ToRs and the outside host alike.
const UplinkName = "up0"

// OutsidePrefix is routed to the outside host, whose address is OutsideAddr (RFC 9637 keeps 3fff::/20 for documentation).
var (
	OutsidePrefix = netip.MustParsePrefix("3fff:0:0:1::/64")
	OutsideAddr   = netip.MustParseAddr("3fff:0:0:1::1")
)

// routerPrefix numbers the routers themselves: without an address of global scope their ICMPv6 errors could not leave the link.
var routerPrefix = netip.MustParsePrefix("3fff:0:0:2::/64")

// Host is one host of the lab.
type Host struct {
	Name   string `json:"name"`
	Rack   int    `json:"rack"`   // from 1
	Number int    `json:"number"` // from 1, within the rack
}

// TorName is the name of the router of a rack.
func TorName(rack int) string { return fmt.Sprintf("tor%d", rack) }

// HostName is the name of a host.
func HostName(rack, number int) string { return fmt.Sprintf("r%dh%d", rack, number) }

// ParseHost reads a name made by HostName.
func ParseHost(name string) (Host, error) {
	h := Host{Name: name}
	if n, err := fmt.Sscanf(name, "r%dh%d", &h.Rack, &h.Number); n != 2 || err != nil || HostName(h.Rack, h.Number) != name {
		return Host{}, fmt.Errorf("host %q: want r<rack>h<number>, for example r1h3", name)
	}
	if h.Rack < 1 || h.Number < 1 {
		return Host{}, fmt.Errorf("host %q: rack and number start at 1", name)
	}
	return h, nil
}

// AllHosts lists the hosts of a size, rack by rack.
func (s Size) AllHosts() []Host {
	var all []Host
	for r := 1; r <= s.Racks; r++ {
		for n := 1; n <= s.Hosts; n++ {
			all = append(all, Host{HostName(r, n), r, n})
		}
	}
	return all
}
