// Package addressplan is the address plan as values: which prefix belongs to which fabric, cluster, rack and host, and back.
//
// Every answer is arithmetic on the plan's prefix and lengths, so two programs with the same plan agree without talking.
// Nothing here reads a clock: callers pass seconds.
package addressplan

import (
	"fmt"
)

// Level is a step of the plan, from the widest to the narrowest prefix.
type Level int

// The levels, with what they hold.
const (
	Outside Level = iota // not in the plan
	LevelFabric
	LevelCluster
	LevelRack
	LevelHost
)

func (l Level) String() string {
	names := [...]string{"outside", "fabric", "cluster", "rack", "host"}
	if l < 0 || int(l) >= len(names) {
		return fmt.Sprintf("level(%d)", int(l))
	}
	return names[l]
}

// MarshalText writes the level as its name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Lengths are the prefix lengths of the levels, in bits.
type Lengths struct {
	Fabric      int `json:"fabric"`
	Cluster     int `json:"cluster"`
	EdgeCluster int `json:"edgeCluster"`
	Rack        int `json:"rack"`
	Host        int `json:"host"`
}

// DefaultLengths gives 128 clusters of 1,024 racks of 1,024 hosts; an edge cluster is a sixteenth of a cluster.
func DefaultLengths() Lengths { return Lengths{37, 44, 48, 54, 64} }

// NibbleLengths cuts at every fourth bit, so that each level has one reverse zone and can be read in the written address:
// 256 clusters of 256 racks of 4,096 hosts.
func NibbleLengths() Lengths { return Lengths{36, 44, 48, 52, 64} }

// check tells what is wrong with the order of the lengths.
func (l Lengths) check() []Problem {
	var ps []Problem
	wrong := func(field, format string, a ...any) {
		ps = append(ps, Problem{Field: "levels." + field, Text: fmt.Sprintf(format, a...)})
	}
	for _, c := range []struct {
		field      string
		outer      int
		outerLevel string
		inner      int
	}{
		{"cluster", l.Fabric, "a fabric", l.Cluster},
		{"edgeCluster", l.Fabric, "a fabric", l.EdgeCluster},
		{"rack", l.Cluster, "a cluster", l.Rack},
		{"rack", l.EdgeCluster, "an edge cluster", l.Rack},
		{"host", l.Rack, "a rack", l.Host},
	} {
		if c.inner < c.outer {
			wrong(c.field, "the %s of /%d does not lie in %s of /%d: the lengths must grow from fabric to host", spaced(c.field), c.inner, c.outerLevel, c.outer)
		}
	}
	for _, c := range []struct {
		field string
		bits  int
	}{{"fabric", l.Fabric}, {"cluster", l.Cluster}, {"edgeCluster", l.EdgeCluster}, {"rack", l.Rack}, {"host", l.Host}} {
		if c.bits < 1 || c.bits > 128 {
			wrong(c.field, "/%d is no length of an IPv6 prefix: want 1 to 128", c.bits)
		}
	}
	if len(ps) > 0 {
		return ps
	}
	if l.Rack == l.Cluster {
		wrong("rack", "a cluster of /%d has one rack of /%d, and rack 0 is kept for roles: make the racks longer", l.Cluster, l.Rack)
	}
	if l.Host-l.Rack > maxNumberBits || l.Rack-l.Cluster > maxNumberBits || l.Cluster-l.Fabric > maxNumberBits {
		wrong("host", "more than %d bits between two levels cannot be numbered", maxNumberBits)
	}
	if l.Host > 126 {
		wrong("host", "a host of /%d has no address for endpoints: use /126 or shorter", l.Host)
	}
	return ps
}

// maxNumberBits keeps every count and number of the plan in a uint64.
const maxNumberBits = 63

func spaced(field string) string {
	if field == "edgeCluster" {
		return "edge cluster"
	}
	return field
}
