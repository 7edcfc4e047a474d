package ipam

// Identities 0x0001 to 0x00ff are kept for the host itself: its router address, its SRv6 locator, and what comes later.
const (
	IdentityUnknown  uint16 = 0x0000 // not numbered yet
	IdentityHost     uint16 = 0x0001
	IdentityLocator  uint16 = 0x0002
	IdentityNAT64    uint16 = 0x0003
	identityReserved uint16 = 0x00ff // last reserved one
)

// Workload reports whether an endpoint may carry the identity: unknown, or 0x0100 and above.
func Workload(identity uint16) bool {
	return identity == IdentityUnknown || identity > identityReserved
}

// reservedInterfaceID reports whether the low 64 bits of an address are taken by a standard (RFC 5453 section 4 and the
// registry it makes).
func reservedInterfaceID(iid uint64) bool {
	switch {
	case iid == 0: // subnet-router anycast, RFC 4291 2.6.1
		return true
	case iid >= 0x0200_5eff_fe00_0000 && iid <= 0x0200_5eff_feff_ffff: // IANA's Ethernet block, RFC 5453 3
		return true
	case iid|0x7f == 0xfdff_ffff_ffff_ffff: // subnet anycast, EUI-64 form, RFC 2526 2
		return true
	case iid|0x7f == 0xffff_ffff_ffff_ffff: // subnet anycast, other form, RFC 2526 2
		return true
	}
	return false
}

// reservedHostPart is the same question for a host part of any width in bits, below an interface identifier's other bits.
// A host part under 16 bits keeps its last 128 values: in such a routed prefix RFC 2526 would take up to all of it.
func reservedHostPart(prefixLow64, host uint64, bits int) bool {
	if host == 0 || reservedInterfaceID(prefixLow64|host) {
		return true
	}
	if bits < 16 || bits >= 64 {
		return false
	}
	return host|0x7f == 1<<bits-1
}
