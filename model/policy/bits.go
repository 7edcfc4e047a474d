package policy

import (
	"math/bits"
)

// MaxRows is how many rows the table of one endpoint and direction has at most.
const MaxRows = 512

// Bits is a set of rows. Datapaths hold it as it is: 64-bit words, row 0 in the lowest bit of the first.
type Bits [MaxRows / 64]uint64

func (b *Bits) set(row int) { b[row/64] |= 1 << (row % 64) }

func (b *Bits) has(row int) bool { return b[row/64]&(1<<(row%64)) != 0 }

// Or returns the union of two sets.
func (b Bits) Or(c Bits) Bits {
	for i := range b {
		b[i] |= c[i]
	}
	return b
}

// firstOfBoth returns the lowest row at or above from that is in both sets; -1 if none is.
func (b *Bits) firstOfBoth(c *Bits, from int) int {
	for i := from / 64; i < len(b); i++ {
		both := b[i] & c[i]
		if i == from/64 {
			both &= ^uint64(0) << (from % 64)
		}
		if both != 0 {
			return i*64 + bits.TrailingZeros64(both)
		}
	}
	return -1
}
