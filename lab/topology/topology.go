// Package topology says what a lab is made of: racks, hosts, routers, and the links between them.
//
// It is pure: the same size gives the same names and links every time.
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
	MaxCables    = 2   // from a host to each ToR of its rack
	MaxTors      = 2   // of a rack
)

// Size is how large a lab is.
type Size struct {
	Racks     int `json:"racks"`
	Hosts     int `json:"hosts"`     // in each rack
	Endpoints int `json:"endpoints"` // on each host
	Cables    int `json:"cables"`    // cables from each host to each ToR of its rack; 0: one
	TorsEach  int `json:"tors"`      // routers of each rack; 0: one
}

func (s Size) torsPerRack() int { return max(s.TorsEach, 1) }

// Uplinks is how many uplinks each host has.
func (s Size) Uplinks() int { return s.torsPerRack() * max(s.Cables, 1) }

// Check refuses a size outside the limits, by name of the flag that sets it.
func (s Size) Check() error {
	switch {
	case s.Racks < 1 || s.Racks > MaxRacks:
		return fmt.Errorf("racks %d: want 1 to %d", s.Racks, MaxRacks)
	case s.Hosts < 1 || s.Racks*s.Hosts > MaxHosts:
		return fmt.Errorf("hosts %d in each of %d racks: want at least 1, and at most %d in all", s.Hosts, s.Racks, MaxHosts)
	case s.Endpoints < 0 || s.Racks*s.Hosts*s.Endpoints > MaxEndpoints:
		return fmt.Errorf("endpoints %d on each of %d hosts: want at most %d in all", s.Endpoints, s.Racks*s.Hosts, MaxEndpoints)
	case s.Cables < 0 || s.Cables > MaxCables:
		return fmt.Errorf("cables %d from each host to each ToR: want 1 to %d", s.Cables, MaxCables)
	case s.TorsEach < 0 || s.TorsEach > MaxTors:
		return fmt.Errorf("tors %d in each rack: want 1 to %d", s.TorsEach, MaxTors)
	}
	return nil
}

// Names of the two machines every lab has once.
const (
	Spine   = "spine"
	Outside = "outside"

	Internet = "internet" // the server without IPv6, in a lab that has an IPv4 Internet
)

// Every link of the fabric has the same two link-local addresses: the router above is fe80::1, what hangs below it is fe80::2.
// fe80::/64 is per link (RFC 4291 2.5.6), so they may be the same everywhere, and a capture shows which way is up.
var (
	Above = netip.MustParseAddr("fe80::1")
	Below = netip.MustParseAddr("fe80::2")
)

// OutsideAddr is the address of the outside host (RFC 9637 keeps 3fff::/20 for documentation).
var OutsideAddr = netip.MustParseAddr("3fff:0:0:1::1")

// Host is one host of the lab.
type Host struct {
	Name   string `json:"name"`
	Rack   int    `json:"rack"`   // from 1
	Number int    `json:"number"` // from 1, within the rack
}

// Tor is one router of a rack.
type Tor struct {
	Name string
	Rack int // from 1
	Nth  int // in the rack, from 0
}

// Tors lists the routers of the racks.
func (s Size) Tors() []Tor {
	var all []Tor
	for r := 1; r <= s.Racks; r++ {
		for n := range s.torsPerRack() {
			all = append(all, Tor{TorName(r, n), r, n})
		}
	}
	return all
}

// TorName is the name of a router of a rack: the first is tor1, the second tor1b.
func TorName(rack, nth int) string { return fmt.Sprintf("tor%d%s", rack, []string{"", "b"}[nth]) }

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
