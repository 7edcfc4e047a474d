package addressplan

import (
	"net/netip"

	"hexapod.dev/model/prefix"
)

// Place is one level of a location.
type Place struct {
	Name   string // empty when the plan does not name it
	Number uint64
	Prefix netip.Prefix
}

// Location says where an address lies. Places below Level are zero.
type Location struct {
	Level   Level
	Fabric  Place
	Cluster Place
	Edge    bool // the cluster is an edge cluster
	Rack    Place
	Host    Place
	Adopted bool // the host prefix is not from the plan: Rack and Cluster are what its host says
	Shared  bool // the host prefix lies on a link, and the address is of this host's group
	Role    Role
}

// Locate says where a lies. An address of a cluster that the plan does not name yet is located by its bits alone.
func (p Plan) Locate(a netip.Addr) Location {
	if l, ok := p.locateAdopted(a); ok {
		return l
	}
	cluster, named := p.clusterOf(a)
	if !named && !p.Prefix.Contains(a) {
		return Location{}
	}
	l := Location{Level: LevelFabric, Fabric: Place{Name: p.Name, Prefix: p.Prefix}}
	if !named {
		at, n, err := prefix.At(p.Prefix, p.Lengths.Cluster, a)
		if err != nil {
			return l
		}
		cluster = Cluster{Number: n, Prefix: at}
	}
	q, err := p.ClusterPrefix(cluster)
	if err != nil {
		return l
	}
	l.Level, l.Cluster, l.Edge = LevelCluster, Place{cluster.Name, cluster.Number, q}, cluster.Edge
	rack, n, err := prefix.At(q, p.Lengths.Rack, a)
	if err != nil {
		return l
	}
	l.Level, l.Rack = LevelRack, Place{cluster.rackName(n), n, rack}
	if n == 0 {
		l.Role = p.roleInRack0(cluster, a)
		return l
	}
	host, n, err := prefix.At(rack, p.Lengths.Host, a)
	if err != nil {
		return l
	}
	l.Level, l.Host = LevelHost, Place{p.hostName(l.Cluster, l.Rack, n), n, host}
	l.Role = roleInHost(host, a)
	return l
}

// locateAdopted finds a living host whose prefix was given from elsewhere.
func (p Plan) locateAdopted(a netip.Addr) (Location, bool) {
	var best Host
	for _, h := range p.Hosts {
		if h.Adopted && !h.Retired && h.has(a) && (best.Name == "" || h.Prefix.Bits() > best.Prefix.Bits()) {
			best = h
		}
	}
	if best.Name == "" {
		return Location{}, false
	}
	l := Location{Level: LevelHost, Fabric: Place{Name: p.Name, Prefix: p.Prefix}, Adopted: true, Shared: best.Shared,
		Host: Place{Name: best.Name, Prefix: best.Prefix}, Role: roleInHost(best.Prefix, a)}
	if best.Shared { // where no part is kept for the host itself
		l.Role = RoleEndpoint
	}
	if c, r, err := p.Place(best); err == nil {
		l.Cluster, l.Edge, l.Rack = Place{Name: c.Name, Number: c.Number}, c.Edge, Place{Name: r.Name, Number: r.Number}
	}
	return l, true
}

// has reports whether a lies in the adopted prefix of h, and not in what others have of it.
func (h Host) has(a netip.Addr) bool {
	if !h.Prefix.Contains(a) || !h.Shared {
		return h.Prefix.Contains(a)
	}
	l, err := layout(h.Prefix, h.Name, true, nil)
	if err != nil {
		return false
	}
	_, err = l.Decode(a)
	return err == nil
}

// clusterOf returns the named cluster that holds a, the narrowest where an edge cluster lies in another's number.
func (p Plan) clusterOf(a netip.Addr) (Cluster, bool) {
	var best Cluster
	bits := -1
	for _, c := range p.Clusters {
		if q, err := p.ClusterPrefix(c); err == nil && q.Contains(a) && q.Bits() > bits {
			best, bits = c, q.Bits()
		}
	}
	return best, bits >= 0
}

func (c Cluster) rackName(n uint64) string {
	for _, r := range c.Racks {
		if r.Number == n {
			return r.Name
		}
	}
	return ""
}

// hostName returns the living host of that number, or nothing: a prefix that rests has no host.
func (p Plan) hostName(cluster, rack Place, n uint64) string {
	for _, h := range p.Hosts {
		if h.Retired || h.Adopted || h.Number != n {
			continue
		}
		if c, r, err := p.Place(h); err == nil && c.Name == cluster.Name && r.Number == rack.Number {
			return h.Name
		}
	}
	return ""
}
