package v1alpha1

import (
	"cmp"
	"slices"
	"strconv"
)

// Set is a configuration, by kind. Every list is sorted by name.
type Set struct {
	Plan       *AddressPlan
	Hosts      []*Host
	Pools      []*Pool
	Identities []*Identity
	Addresses  []*Address
	Slices     []*AddressSlice
	BGPPeers   []*BGPPeer
	Services   []*Service

	Translations []*Translation

	NetworkPolicies        []*NetworkPolicy
	ClusterNetworkPolicies []*ClusterNetworkPolicy
	Publications           []*Publication
}

// Group sorts objects into a Set. Of two plans the first is taken; Check reports the second.
func Group(objects []Object) Set {
	var s Set
	for _, o := range objects {
		switch o := o.(type) {
		case *AddressPlan:
			if s.Plan == nil {
				s.Plan = o
			}
		case *Host:
			s.Hosts = append(s.Hosts, o)
		case *Pool:
			s.Pools = append(s.Pools, o)
		case *Identity:
			s.Identities = append(s.Identities, o)
		case *Address:
			s.Addresses = append(s.Addresses, o)
		case *AddressSlice:
			s.Slices = append(s.Slices, o)
		case *BGPPeer:
			s.BGPPeers = append(s.BGPPeers, o)
		case *Service:
			s.Services = append(s.Services, o)
		case *NetworkPolicy:
			s.NetworkPolicies = append(s.NetworkPolicies, o)
		case *ClusterNetworkPolicy:
			s.ClusterNetworkPolicies = append(s.ClusterNetworkPolicies, o)
		case *Translation:
			s.Translations = append(s.Translations, o)
		case *Publication:
			s.Publications = append(s.Publications, o)
		}
	}
	sortByName(s.Hosts)
	sortByName(s.Pools)
	sortByName(s.Addresses)
	sortByName(s.Slices)
	sortByName(s.BGPPeers)
	sortByName(s.Services)
	sortByName(s.NetworkPolicies)
	sortByName(s.ClusterNetworkPolicies)
	sortByName(s.Publications)
	sortByName(s.Translations)
	slices.SortStableFunc(s.Identities, func(a, b *Identity) int { return cmp.Compare(a.Spec.Number, b.Spec.Number) })
	return s
}

func sortByName[O Object](list []O) {
	slices.SortStableFunc(list, func(a, b O) int { return cmp.Compare(a.ObjectName(), b.ObjectName()) })
}

// Objects lists the set again: plan, hosts, pools, identities, addresses, slices of addresses, BGP peers, services, policies, publications, translations.
func (s Set) Objects() []Object {
	var out []Object
	if s.Plan != nil {
		out = append(out, s.Plan)
	}
	out = appendAll(out, s.Hosts)
	out = appendAll(out, s.Pools)
	out = appendAll(out, s.Identities)
	out = appendAll(out, s.Addresses)
	out = appendAll(out, s.Slices)
	out = appendAll(out, s.BGPPeers)
	out = appendAll(out, s.Services)
	out = appendAll(out, s.NetworkPolicies)
	out = appendAll(out, s.ClusterNetworkPolicies)
	out = appendAll(out, s.Publications)
	return appendAll(out, s.Translations)
}

func appendAll[O Object](out []Object, list []O) []Object {
	for _, o := range list {
		out = append(out, o)
	}
	return out
}

// Host returns the host of a name.
func (s Set) Host(name string) (*Host, bool) {
	i, ok := slices.BinarySearchFunc(s.Hosts, name, func(h *Host, n string) int { return cmp.Compare(h.ObjectName(), n) })
	if !ok {
		return nil, false
	}
	return s.Hosts[i], true
}

// Cluster finds a cluster by name, or else by number; an edge cluster by name only, because it counts apart from the others.
// No reference means the only cluster there is.
func (p *AddressPlan) Cluster(ref Ref) (Cluster, bool) {
	if ref == "" && len(p.Spec.Clusters) == 1 {
		return p.Spec.Clusters[0], true
	}
	number, isNumber := ref.Number()
	for _, c := range p.Spec.Clusters {
		// No name looks like a number: the plan's check sees to it.
		if c.Name == string(ref) || isNumber && c.Number == number && !c.Edge {
			return c, true
		}
	}
	return Cluster{}, false
}

// Rack finds a rack of the cluster by name or number. A number needs no entry in the plan: an entry gives a rack a name or an
// AS number.
func (c Cluster) Rack(ref Ref) (Rack, bool) {
	number, isNumber := ref.Number()
	for _, r := range c.Racks {
		if r.Name == string(ref) || isNumber && r.Number == number {
			return r, true
		}
	}
	if isNumber && number > 0 {
		return Rack{Name: strconv.FormatUint(uint64(number), 10), Number: number}, true
	}
	return Rack{}, false
}
