package addressplan

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"hexapod.dev/model/prefix"
)

// The private range of 4-byte autonomous system numbers (RFC 6996 section 5).
const (
	firstPrivateASN = 4200000000
	lastPrivateASN  = 4294967294
)

// rackIndex is the number of a rack among all of its length in the fabric, so racks of two clusters never share one.
func (p Plan) rackIndex(c Cluster, r Rack) (uint64, error) {
	q, err := p.RackPrefix(c, r.Number)
	if err != nil {
		return 0, err
	}
	return prefix.Index(p.Prefix, q)
}

// RackASN returns the autonomous system numbers of a rack: its ToR's, and the one above it that all its hosts share.
// Rack number r of the fabric has 4200000000+2r; a rack outside the fabric or beyond the private range needs its own.
func (p Plan) RackASN(c Cluster, r Rack) (tor, hosts uint32, err error) {
	if r.ASN != 0 {
		return r.ASN, r.ASN + 1, nil
	}
	n, err := p.rackIndex(c, r)
	if err != nil {
		return 0, 0, fmt.Errorf("ASN of rack %s/%s: %w: set asn on the rack", c.Name, r.Name, err)
	}
	if n > (lastPrivateASN-firstPrivateASN-1)/2 {
		return 0, 0, fmt.Errorf("ASN of rack %s/%s: rack number %d of the fabric is beyond the private range (RFC 6996): set asn on the rack", c.Name, r.Name, n)
	}
	tor = firstPrivateASN + 2*uint32(n)
	return tor, tor + 1, nil
}

// Router ids are 32 bits: the top two say what the router is, the others hold its number in the fabric.
const (
	hostRouterID  = 0x00000000 // and 0x40000000: 31 bits of host number
	torRouterID   = 0x80000000
	spineRouterID = 0xc0000000
)

// RouterIDOf returns the BGP identifier of a host, unique in the fabric and not zero (RFC 6286 section 2.1).
func (p Plan) RouterIDOf(h Host) (netip.Addr, error) {
	if id, ok := p.RouterIDs[h.Name]; ok {
		return id, nil
	}
	q, err := p.PrefixOf(h)
	if err != nil {
		return netip.Addr{}, err
	}
	n, err := p.hostIndex(q)
	if err != nil {
		return netip.Addr{}, p.needsRouterID(h.Name, err.Error())
	}
	if n >= torRouterID || p.Lengths.Host-p.Lengths.Fabric > 31 {
		return netip.Addr{}, p.needsRouterID(h.Name, fmt.Sprintf("a fabric of /%d has 2^%d hosts of /%d, more than 2^31", p.Lengths.Fabric, p.Lengths.Host-p.Lengths.Fabric, p.Lengths.Host))
	}
	return routerID(hostRouterID | uint32(n)), nil // never zero: host 0 of rack 0 is kept for roles
}

// ToRRouterID returns the BGP identifier of a rack's ToR.
func (p Plan) ToRRouterID(c Cluster, r Rack) (netip.Addr, error) {
	name := c.Name + "/" + r.Name
	if id, ok := p.RouterIDs[name]; ok {
		return id, nil
	}
	n, err := p.rackIndex(c, r)
	if err != nil {
		return netip.Addr{}, p.needsRouterID(name, err.Error())
	}
	if n >= spineRouterID-torRouterID {
		return netip.Addr{}, p.needsRouterID(name, fmt.Sprintf("rack number %d of the fabric needs more than 30 bits", n))
	}
	return routerID(torRouterID | uint32(n)), nil
}

// SpineRouterID returns the BGP identifier of spine n, counted from 1.
func (p Plan) SpineRouterID(n uint32) (netip.Addr, error) {
	name := fmt.Sprintf("spine-%d", n)
	if id, ok := p.RouterIDs[name]; ok {
		return id, nil
	}
	if n == 0 || n >= 1<<30 {
		return netip.Addr{}, fmt.Errorf("router id of %s: spines count from 1 to %d", name, 1<<30-1)
	}
	return routerID(spineRouterID | n), nil
}

func (p Plan) needsRouterID(name, why string) error {
	return fmt.Errorf("router id of %s: %s: give it in spec.routerIDs", name, why)
}

func routerID(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// ToRLoopback returns the loopback address of a rack's ToR, in the role prefix of its cluster.
func (p Plan) ToRLoopback(c Cluster, r Rack) (netip.Addr, error) {
	return p.loopback(c, 0, r.Number)
}

// SpineLoopback returns the loopback address of spine n, counted from 1, in the role prefix of c.
func (p Plan) SpineLoopback(c Cluster, n uint32) (netip.Addr, error) {
	return p.loopback(c, 1, uint64(n))
}

// loopback writes kind above 32 bits of number, so that ToRs and spines never meet.
func (p Plan) loopback(c Cluster, kind, n uint64) (netip.Addr, error) {
	q, err := p.RolePrefix(c, RoleRouters)
	if err != nil {
		return netip.Addr{}, err
	}
	if n == 0 || n >= 1<<32 {
		return netip.Addr{}, fmt.Errorf("loopback address number %d in %s: want 1 to %d", n, q, uint64(1)<<32-1)
	}
	a, err := prefix.Join(q, 0, kind<<32|n)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("loopback address in %s: %w", q, err)
	}
	return a, nil
}
