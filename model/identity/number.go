// Package identity is who an endpoint is: a number for a namespace and a set of labels, and which addresses prove it.
//
// A number is written into the addresses themselves where it fits, so most of the answers need no table. Three things live here: the key,
// which says which sets of labels are the same; the Table of sets that have a number; and the Directory, which says of any
// address who has it and why that is believed.
package identity

import "fmt"

// Number is an identity. Addresses have room for 16 bits of it: who has a larger one is known by exact entries alone.
type Number uint32

// The numbers that mean something by themselves. Those up to 0x00ff that have no name here are kept for later.
const (
	Unknown Number = 0x0000 // not known yet: the endpoint came before its number
	Host    Number = 0x0001 // the host itself and its router address
	Locator Number = 0x0002 // the SRv6 locator of a host

	FirstWorkload Number = 0x0100
	LastWorkload  Number = 0xffff // the last that fits into an address

	FirstWide Number = 0x10000 // given when all of the others are
	LastWide  Number = 0x1fffe // datapaths have to tell one more thing from all of these (Packed)
)

// Workload reports whether the number may be given to a set of labels.
func (n Number) Workload() bool { return n >= FirstWorkload && n <= LastWide }

// Wide reports whether the number does not fit into an address.
func (n Number) Wide() bool { return n >= FirstWide }

// Bits is what an address says of whom it is given to: the number, or Unknown where that does not fit.
func (n Number) Bits() uint16 {
	if n.Wide() {
		return uint16(Unknown)
	}
	return uint16(n)
}

// Packed is the number as the maps of datapaths have it: a wide one in the upper 16 bits of 32, so that a program which knows the lower
// ones alone reads Unknown and not somebody else's number.
func (n Number) Packed() uint32 {
	if n.Wide() {
		return uint32(n-LastWorkload) << 16
	}
	return uint32(n)
}

// Unpack reads what Packed writes.
func Unpack(packed uint32) Number {
	if packed >= uint32(FirstWide) {
		return Number(packed>>16) + LastWorkload
	}
	return Number(packed)
}

// String returns the decimal number with the hexadecimal one that addresses show, or the name of a reserved number.
func (n Number) String() string {
	switch n {
	case Unknown:
		return "unknown"
	case Host:
		return "host"
	case Locator:
		return "locator"
	}
	return fmt.Sprintf("%d (0x%04x)", uint32(n), uint32(n))
}
