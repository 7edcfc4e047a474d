package desired

import (
	"crypto/sha256"
	"encoding/base32"
	"net/netip"
	"strings"

	"hexapod.dev/model/addressplan"
)

// LinkPrefix begins the name of every host-side link of an endpoint.
const LinkPrefix = "hx"

var nameEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// hashOf is a pure hash of a key for one use: the same key has the same names and addresses after any restart.
func hashOf(use string, k EndpointKey) [sha256.Size]byte {
	return sha256.Sum256([]byte(use + "\x00" + k.Container + "\x00" + k.Interface))
}

// LinkName returns the name of k's host-side link: 13 bytes of the 15 that the kernel allows (IFNAMSIZ less its zero).
func LinkName(k EndpointKey) string {
	h := hashOf("link", k)
	return LinkPrefix + nameEncoding.EncodeToString(h[:7])[:11]
}

// LinkAlias returns the ifalias of k's host-side link, by which a person and a restarted agent recognise it.
func LinkAlias(k EndpointKey) string { return "hexapod:" + k.String() }

// KeyOfAlias reads what LinkAlias wrote. An interface name has no slash, a container id may not have one either (CNI specification).
func KeyOfAlias(alias string) (EndpointKey, bool) {
	rest, ok := strings.CutPrefix(alias, "hexapod:")
	if !ok {
		return EndpointKey{}, false
	}
	container, ifname, ok := strings.Cut(rest, "/")
	return EndpointKey{Container: container, Interface: ifname}, ok && container != "" && ifname != ""
}

// HostMAC returns the Ethernet address of the host side of k's link.
func HostMAC(k EndpointKey) MAC { return macOf(hashOf("host mac", k)) }

// EndpointMAC returns the Ethernet address of k's interface inside the endpoint.
func EndpointMAC(k EndpointKey) MAC { return macOf(hashOf("endpoint mac", k)) }

// macOf makes a unicast, locally administered address (IEEE 802, bits 0 and 1 of the first octet).
func macOf(h [sha256.Size]byte) MAC {
	m := MAC(h[:6])
	m[0] = m[0]&^1 | 2
	return m
}

// Gateway is the next hop of every endpoint: the host side of its own link.
func Gateway() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: 1}) }

// RouterAddr returns the address of the host itself inside its own prefix, where the plan has it; the zero Addr for what cannot be
// a host prefix.
func RouterAddr(p netip.Prefix) netip.Addr {
	parts, err := addressplan.PartsOf(p)
	if err != nil {
		return netip.Addr{}
	}
	return parts.Router
}
