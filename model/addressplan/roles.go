package addressplan

import (
	"errors"
	"fmt"
	"net/netip"

	"hexapod.dev/model/prefix"
)

// Role is what an address or a prefix is for.
type Role string

// Roles of rack 0 of a cluster. Each has one prefix of the host length.
const (
	RoleRouters      Role = "routers"        // loopback addresses of ToRs and spines
	RoleServices     Role = "services"       // service VIPs
	RoleLoadBalancer Role = "load balancers" // pools of VIPs for traffic from outside
	RoleFixed        Role = "fixed"          // pools of fixed addresses
	RolePref64       Role = "pref64"         // the /96 of NAT64 (RFC 6052)
	RoleSpare        Role = "spare"          // the rest of rack 0
)

// Roles inside a host prefix.
const (
	RoleEndpoint Role = "endpoint" // addresses of endpoints
	RoleRouter   Role = "router"   // the host itself
	RoleLocator  Role = "locator"  // SRv6 segment identifiers of the host
	RoleBridge   Role = "bridge"   // bridges that somebody else numbers, Docker's own for one
	RoleNAT64    Role = "nat64"    // the host's translator, as those of other hosts reach it
	RoleReserved Role = "reserved" // identifiers that standards keep
)

// RoleNone is the role of an address that the plan does not reach down to.
const RoleNone Role = ""

// Identities that mark the parts of a host prefix which are not endpoints.
const (
	identityRouter  = 0x0001
	identityLocator = 0x0002
	identityNAT64   = 0x0003
	identityBridge  = 0x00d0
)

// RackRoles returns the roles of rack 0 in order of their host number.
func RackRoles() []Role {
	return []Role{RoleRouters, RoleServices, RoleLoadBalancer, RoleFixed, RolePref64}
}

// RolePrefix returns the prefix of a role of c. Pref64 is a /96 and must have zeros in bits 64 to 71 (RFC 6052 section 2.2);
// it takes the first number that allows it. A rack too small for a role is an error.
func (p Plan) RolePrefix(c Cluster, role Role) (netip.Prefix, error) {
	rack, err := p.RackPrefix(c, 0)
	if err != nil {
		return netip.Prefix{}, err
	}
	for n, r := range RackRoles() {
		if r != role {
			continue
		}
		if r == RolePref64 {
			return p.pref64(c, rack, uint64(n))
		}
		q, err := prefix.Child(rack, p.Lengths.Host, uint64(n))
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("role %s of cluster %s: rack 0 is too small: %w", role, c.Name, err)
		}
		return q, nil
	}
	return netip.Prefix{}, fmt.Errorf("cluster %s: %q is no role of rack 0", c.Name, role)
}

func (p Plan) pref64(c Cluster, rack netip.Prefix, first uint64) (netip.Prefix, error) {
	if p.Lengths.Host > 96 {
		return netip.Prefix{}, fmt.Errorf("role %s of cluster %s: hosts of /%d leave no /96; use %s", RolePref64, c.Name, p.Lengths.Host, prefix.WellKnownPref64)
	}
	// With hosts of /74 the octet is bits 2 to 9 of the number, so 1024 is the first after 4 that has zeros there; other lengths
	// find one sooner.
	for n := first; n <= 1024 && n < prefix.Count(rack, p.Lengths.Host); n++ {
		q, err := prefix.Child(rack, p.Lengths.Host, n)
		if err != nil {
			return netip.Prefix{}, err
		}
		if q.Addr().As16()[8] == 0 {
			return netip.PrefixFrom(q.Addr(), 96), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("role %s of cluster %s: rack 0 has no /96 with zeros in bits 64 to 71 (RFC 6052 section 2.2); use %s", RolePref64, c.Name, prefix.WellKnownPref64)
}

// roleInRack0 names the role of an address in rack 0 of c.
func (p Plan) roleInRack0(c Cluster, a netip.Addr) Role {
	for _, r := range RackRoles() {
		if q, err := p.RolePrefix(c, r); err == nil && q.Contains(a) {
			return r
		}
	}
	return RoleSpare
}

// Parts are the parts of one host prefix that are not for endpoints. A zero value means that the prefix has no such part.
type Parts struct {
	Router  netip.Addr   // the host's own address
	NAT64   netip.Addr   // the host's translator
	Locator netip.Prefix // SRv6
	Bridge  netip.Prefix // for bridges that somebody else numbers
}

// PartsOf cuts a host prefix. The host part of a /64 starts with a 16-bit identity, so the router address is P:1::1 and the
// locator P:2::/80. A prefix of 65 to 80 bits has its identity in bits 80 to 95: the router address ends in :1:0:1 and the
// locator is the /96 of identity 2. A narrower one has no identities: its router address is the first after the
// subnet-router anycast address and there is no locator.
func PartsOf(host netip.Prefix) (Parts, error) {
	if err := prefix.Valid(host); err != nil {
		return Parts{}, err
	}
	if !host.Addr().Is6() || host.Bits() > 126 {
		return Parts{}, fmt.Errorf("%s cannot be a host prefix: want IPv6 and at most /126", host)
	}
	at := 0
	switch {
	case host.Bits() <= 64:
		at = 80
	case host.Bits() <= 80:
		at = 96
	default:
		router, err := prefix.Join(host, 0, 1)
		return Parts{Router: router}, err
	}
	base := netip.PrefixFrom(host.Addr(), at-16) // of several /64 the first
	router, err1 := prefix.Child(base, at, identityRouter)
	locator, err2 := prefix.Child(base, at, identityLocator)
	bridge, err3 := prefix.Child(base, at, identityBridge)
	nat64, err4 := prefix.Child(base, at, identityNAT64)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Parts{}, err
	}
	a, err1 := prefix.Join(router, 0, 1)
	n, err2 := prefix.Join(nat64, 0, 1)
	return Parts{Router: a, NAT64: n, Locator: locator, Bridge: bridge}, errors.Join(err1, err2)
}

// roleInHost names the role of an address in a host prefix.
func roleInHost(host netip.Prefix, a netip.Addr) Role {
	parts, err := PartsOf(host)
	switch _, reserved := ReservedAddr(host, a); {
	case err != nil:
		return RoleNone
	case reserved:
		return RoleReserved
	case a == parts.Router:
		return RoleRouter
	case a == parts.NAT64:
		return RoleNAT64
	case parts.Locator.Contains(a):
		return RoleLocator
	case parts.Bridge.Contains(a):
		return RoleBridge
	}
	return RoleEndpoint
}
