package prefix

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// AddrName is the name of an object that stands for the IPv6 address a: its 32 lower-case hexadecimal digits. A name that
// is the thing makes two owners of one address impossible wherever names are unique.
func AddrName(a netip.Addr) string {
	b := a.As16()
	return hex.EncodeToString(b[:])
}

// Name is the name of an object that stands for the IPv6 prefix p: [AddrName] of its address, a dash, its length.
func Name(p netip.Prefix) string {
	return AddrName(p.Addr()) + "-" + strconv.Itoa(p.Bits())
}

// ParseAddrName is the inverse of [AddrName] and takes nothing else, so that one address has one name.
func ParseAddrName(s string) (netip.Addr, error) {
	var b [16]byte
	if len(s) != 32 || s != strings.ToLower(s) {
		return netip.Addr{}, fmt.Errorf("name %q is not 32 lower-case hexadecimal digits of an address", s)
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return netip.Addr{}, fmt.Errorf("name %q is not 32 lower-case hexadecimal digits of an address: %w", s, err)
	}
	return netip.AddrFrom16(b), nil
}

// ParseName is the inverse of [Name].
func ParseName(s string) (netip.Prefix, error) {
	addr, length, ok := strings.Cut(s, "-")
	if !ok {
		return netip.Prefix{}, fmt.Errorf("name %q has no -LENGTH behind the address", s)
	}
	a, err := ParseAddrName(addr)
	if err != nil {
		return netip.Prefix{}, err
	}
	bits, err := strconv.Atoi(length)
	if err != nil || bits < 0 || bits > 128 || strconv.Itoa(bits) != length {
		return netip.Prefix{}, fmt.Errorf("name %q: length %q is not a number from 0 to 128", s, length)
	}
	p := netip.PrefixFrom(a, bits)
	return p, Valid(p)
}
