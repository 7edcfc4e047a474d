// Package identity is who an endpoint is: a number for a namespace and a set of labels, and which addresses prove it.
//
// A number is written into the addresses themselves, so most of the answers need no table. Three things live here: the key,
// which says which sets of labels are the same; the Table of sets that have a number; and the Directory, which says of any
// address who has it and why that is believed.
package identity

import "fmt"

// Number is an identity as it is written into addresses: 16 bits.
type Number uint16

// The numbers that mean something by themselves. Those up to 0x00ff that have no name here are kept for later.
const (
	Unknown Number = 0x0000 // not known yet: the endpoint came before its number
	Host    Number = 0x0001 // the host itself and its router address
	Locator Number = 0x0002 // the SRv6 locator of a host

	FirstWorkload Number = 0x0100
	LastWorkload  Number = 0xffff
)

// Workload reports whether the number may be given to a set of labels.
func (n Number) Workload() bool { return n >= FirstWorkload }

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
	return fmt.Sprintf("%d (0x%04x)", uint16(n), uint16(n))
}
