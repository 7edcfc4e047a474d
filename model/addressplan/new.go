package addressplan

import (
	"errors"
	"fmt"
	"net/netip"

	"hexapod.dev/model/prefix"
)

// Shape says which plan New makes.
type Shape struct {
	Name    string
	From    netip.Prefix // what the operator owns
	Nibble  bool         // cut at every fourth bit
	EKS     bool         // From is the /56 of a cloud network: racks are its /64 subnets, hosts have /80
	Lengths Lengths      // each that is not zero replaces the one chosen
	Fabric  uint64       // number of the fabric in From, where From holds several
	Sealed  bool
	Lab     bool
	Spine   uint32 // AS number of the spine; zero: not configured
	Racks   int    // in one cluster "c0"
	Hosts   int    // in each rack
}

// New makes a plan for what the operator owns, in the lengths that fit it:
//
//	/32 and other short ones   fabrics, clusters, racks and hosts of the profile (/37 /44 /54 /64)
//	longer than the fabric     the fabric is From, the clusters follow the profile
//	/45 to /48                 fabric = cluster = From, racks of 256 hosts (/56), hosts of /64
//	/49 to /56                 fabric = cluster = From, racks of 16 hosts (/60), hosts of /64
//	/56 of a cloud (EKS)       fabric = cluster = From, racks = subnets (/64), hosts of /80
//
// Longer prefixes need their lengths given.
func New(s Shape) (Plan, error) {
	if err := prefix.Valid(s.From); err != nil {
		return Plan{}, err
	}
	if !s.From.Addr().Is6() {
		return Plan{}, fmt.Errorf("%s is IPv4: a plan is made from an IPv6 prefix", s.From)
	}
	l, err := s.lengths()
	if err != nil {
		return Plan{}, err
	}
	fabric, err := prefix.Child(s.From, l.Fabric, s.Fabric)
	if err != nil {
		return Plan{}, fmt.Errorf("fabric %d: %w", s.Fabric, err)
	}
	if err := fitFor(fabric, s.Lab); err != nil {
		return Plan{}, err
	}
	p := Plan{Name: s.Name, Prefix: fabric, Lengths: l, Sealed: s.Sealed, Lab: s.Lab, Rest: DefaultRest, SpineASN: s.Spine}
	c := Cluster{Name: "c0"}
	for r := range s.Racks {
		c.Racks = append(c.Racks, Rack{Name: fmt.Sprintf("r%d", r+1), Number: uint64(r + 1)})
	}
	p.Clusters = []Cluster{c}
	if err := asError(Errors(p.Check())); err != nil {
		return Plan{}, err
	}
	for r, rack := range c.Racks {
		for h := range s.Hosts {
			n, err := p.NextHost(c, rack, 0)
			if err != nil {
				return Plan{}, err
			}
			p.Hosts = append(p.Hosts, Host{Name: fmt.Sprintf("r%dh%d", r+1, h+1), Cluster: c.Name, Rack: rack.Name, Number: n})
		}
	}
	return p, asError(Errors(p.Check()))
}

func (s Shape) lengths() (Lengths, error) {
	l := DefaultLengths()
	if s.Nibble {
		l = NibbleLengths()
	}
	own := s.From.Bits()
	switch {
	case s.EKS:
		l = Lengths{own, own, own, 64, 80}
	case own <= l.Fabric:
		// From holds one or more whole fabrics.
	case own <= l.Cluster:
		l.Fabric = own
	case own <= 48:
		l = Lengths{own, own, own, 56, 64}
	case own <= 56:
		l = Lengths{own, own, own, 60, 64}
	case s.Lengths.Rack == 0 || s.Lengths.Host == 0:
		return l, fmt.Errorf("%s is longer than a /56: give the lengths of racks and hosts, or --eks for subnets of a cloud", s.From)
	default:
		l = Lengths{own, own, own, 0, 0}
	}
	for _, c := range []struct {
		to   *int
		from int
	}{{&l.Fabric, s.Lengths.Fabric}, {&l.Cluster, s.Lengths.Cluster}, {&l.EdgeCluster, s.Lengths.EdgeCluster}, {&l.Rack, s.Lengths.Rack}, {&l.Host, s.Lengths.Host}} {
		if c.from != 0 {
			*c.to = c.from
		}
	}
	if l.Fabric < own {
		return l, fmt.Errorf("a fabric of /%d is larger than %s", l.Fabric, s.From)
	}
	return l, nil
}

// fitFor refuses prefixes with addresses that no plan can use, and documentation prefixes outside a lab.
func fitFor(p netip.Prefix, lab bool) error {
	for _, r := range prefix.WellKnown() {
		switch {
		case !r.Prefix.Overlaps(p):
		case r.Plan == prefix.Unfit:
			return fmt.Errorf("%s meets %s, %s (%s): use your own prefix, or ula", p, r.Prefix, r.Name, r.Source)
		case r.Plan == prefix.LabOnly && !lab:
			return fmt.Errorf("%s meets %s, %s (%s), which no real network may use: use your own prefix or ula, or --lab for a lab", p, r.Prefix, r.Name, r.Source)
		}
	}
	return nil
}

func asError(ps []Problem) error {
	var errs []error
	for _, p := range ps {
		errs = append(errs, errors.New(p.String()))
	}
	return errors.Join(errs...)
}

// ULA makes a unique local /48 of 40 random bits (RFC 4193 section 3.2), which the caller draws from a good source. Bits that
// are plainly not random are refused: networks that choose fd00::/48 meet each other one day.
func ULA(random [5]byte) (netip.Prefix, error) {
	distinct := map[byte]bool{}
	for _, b := range random {
		distinct[b] = true
	}
	if len(distinct) == 1 {
		return netip.Prefix{}, fmt.Errorf("unique local prefix: the 40 bits %x are not random", random)
	}
	a := [16]byte{0xfd}
	copy(a[1:], random[:])
	return netip.PrefixFrom(netip.AddrFrom16(a), 48), nil
}
