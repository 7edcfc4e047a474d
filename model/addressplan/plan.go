package addressplan

import (
	"fmt"
	"net/netip"
	"strconv"

	"hexapod.dev/model/prefix"
)

// Seconds is a time or a length of time on the caller's clock; the plan only compares and adds them.
type Seconds int64

// Day is the length of a day.
const Day Seconds = 86400

// DefaultRest is how long the prefix of a host that is gone stays unused.
const DefaultRest = 7 * Day

// Plan is one fabric with everything that is numbered in it. It is a value: nothing changes it once it is made.
type Plan struct {
	Name     string
	Prefix   netip.Prefix // of the fabric
	Lengths  Lengths
	Clusters []Cluster
	Hosts    []Host  // living and retired, in any order
	Sealed   bool    // host parts are written through a keyed permutation
	Lab      bool    // documentation prefixes are allowed
	Rest     Seconds // of a host prefix after its host is gone
	// AdoptHosts says that somebody else numbers hosts, perhaps out of this very prefix: no host number of a rack is given.
	AdoptHosts bool

	IPv4      IPv4                  // zero: no IPv4 anywhere
	SpineASN  uint32                // zero: not configured
	RouterIDs map[string]netip.Addr // by name of host, "cluster/rack" or "spine-1"; needed where the bits do not allow them
}

// Cluster is a part of the fabric with its own services.
type Cluster struct {
	Name   string
	Number uint64 // among the prefixes of its length in the fabric
	Edge   bool   // its prefix has the edge length
	Prefix netip.Prefix
	Racks  []Rack
}

// Rack is a group of hosts behind one top-of-rack router (ToR).
type Rack struct {
	Name   string
	Number uint64 // from 1; rack 0 of each cluster is kept for roles
	ASN    uint32 // of the ToR; zero: from the plan
}

// Host is one host, or the record of one that is gone and whose prefix rests.
type Host struct {
	Name    string
	Cluster string // name or decimal number
	Rack    string // name or decimal number
	Number  uint64
	Prefix  netip.Prefix // given by somebody else when Adopted; otherwise zero, or what the plan gives
	Adopted bool         // the prefix comes from a cloud or an older network, the number means nothing
	// Shared says that the prefix lies on a link where others have addresses in it too: other hosts, and nodes that number
	// themselves. It is adopted, routed to nobody, and each of its hosts has the addresses of its own group (see ipam.GroupOf).
	Shared bool
	// Delegated says that a server gives the host its prefix while it runs (DHCPv6): the plan does not know it.
	Delegated bool
	MAC       string // of the uplink, lower case with colons; empty when not known

	Retired   bool
	RetiredAt Seconds
}

// Cluster returns the cluster of that name, or else of that decimal number.
func (p Plan) Cluster(ref string) (Cluster, error) {
	for _, c := range p.Clusters {
		if c.Name == ref {
			return c, nil
		}
	}
	if n, err := strconv.ParseUint(ref, 10, 64); err == nil {
		for _, c := range p.Clusters {
			if c.Number == n && !c.Edge {
				return c, nil
			}
		}
	}
	return Cluster{}, fmt.Errorf("plan %s has no cluster %q: add it to spec.clusters", p.Name, ref)
}

// Rack returns the rack of that name, or else of that decimal number, which needs no entry in the plan.
func (c Cluster) Rack(ref string) (Rack, error) {
	for _, r := range c.Racks {
		if r.Name == ref {
			return r, nil
		}
	}
	if n, err := strconv.ParseUint(ref, 10, 64); err == nil {
		for _, r := range c.Racks {
			if r.Number == n {
				return r, nil
			}
		}
		if n > 0 {
			return Rack{Name: strconv.FormatUint(n, 10), Number: n}, nil
		}
	}
	return Rack{}, fmt.Errorf("cluster %s has no rack %q: add it to spec.clusters", c.Name, ref)
}

// Host returns the living host of that name; of retired ones there may be several, and they are not found.
func (p Plan) Host(name string) (Host, error) {
	for _, h := range p.Hosts {
		if h.Name == name && !h.Retired {
			return h, nil
		}
	}
	return Host{}, fmt.Errorf("plan %s has no living host %q", p.Name, name)
}

// Place returns the cluster and the rack of h.
func (p Plan) Place(h Host) (Cluster, Rack, error) {
	c, err := p.Cluster(h.Cluster)
	if err != nil {
		return Cluster{}, Rack{}, fmt.Errorf("host %s: %w", h.Name, err)
	}
	r, err := c.Rack(h.Rack)
	if err != nil {
		return Cluster{}, Rack{}, fmt.Errorf("host %s: %w", h.Name, err)
	}
	return c, r, nil
}

// ClusterPrefix returns the prefix of c: the one it was given, or the one of its number.
func (p Plan) ClusterPrefix(c Cluster) (netip.Prefix, error) {
	if c.Prefix.IsValid() {
		return c.Prefix, nil
	}
	bits := p.Lengths.Cluster
	if c.Edge {
		bits = p.Lengths.EdgeCluster
	}
	q, err := prefix.Child(p.Prefix, bits, c.Number)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	return q, nil
}

// RackPrefix returns the prefix of rack number n of c. Rack 0 is the one kept for roles.
func (p Plan) RackPrefix(c Cluster, n uint64) (netip.Prefix, error) {
	q, err := p.ClusterPrefix(c)
	if err != nil {
		return netip.Prefix{}, err
	}
	if q, err = prefix.Child(q, p.Lengths.Rack, n); err != nil {
		return netip.Prefix{}, fmt.Errorf("rack %d of cluster %s: %w", n, c.Name, err)
	}
	return q, nil
}

// HostPrefix returns the prefix of host number n in rack number rack of c.
func (p Plan) HostPrefix(c Cluster, rack, n uint64) (netip.Prefix, error) {
	if rack == 0 {
		return netip.Prefix{}, fmt.Errorf("host %d of cluster %s: rack 0 is kept for roles, racks of hosts count from 1", n, c.Name)
	}
	q, err := p.RackPrefix(c, rack)
	if err != nil {
		return netip.Prefix{}, err
	}
	h, err := prefix.Child(q, p.Lengths.Host, n)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("host %d in rack %d of cluster %s: %w", n, rack, c.Name, err)
	}
	if name, bad := reservedHost(h); bad {
		return netip.Prefix{}, fmt.Errorf("host %d in rack %d of cluster %s: %s holds %s; take another number", n, rack, c.Name, h, name)
	}
	return h, nil
}

// PrefixOf returns the prefix of h: the adopted one, or the one of its place and number.
func (p Plan) PrefixOf(h Host) (netip.Prefix, error) {
	if h.Delegated {
		return netip.Prefix{}, fmt.Errorf("host %s: its prefix is delegated to it by a server and is no part of the plan", h.Name)
	}
	if h.Adopted {
		if err := prefix.Valid(h.Prefix); err != nil {
			return netip.Prefix{}, fmt.Errorf("host %s: adopted prefix: %w", h.Name, err)
		}
		return h.Prefix, nil
	}
	c, r, err := p.Place(h)
	if err != nil {
		return netip.Prefix{}, err
	}
	q, err := p.HostPrefix(c, r.Number, h.Number)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("host %s: %w", h.Name, err)
	}
	return q, nil
}
