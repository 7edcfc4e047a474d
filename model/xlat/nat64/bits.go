package nat64

import "sync/atomic"

// Bits is a bit for each port of TCP, each of UDP and each identifier of ICMP, of one address. It may lie in memory that others read
// (bpf/nat64_host.c): a word is written at once, and a bit that stays set is never seen clear.
type Bits []uint64

// BitsWords is the length of Bits.
const BitsWords = 3 * bitsEach

const bitsEach = 65536 / 64

// word is where the bit of a port is.
func (b Bits) word(protocol uint8, port uint16) (w *uint64, bit uint64) {
	at := 0
	switch protocol {
	case udp:
		at = bitsEach
	case icmp:
		at = 2 * bitsEach
	}
	return &b[at+int(port)/64], 1 << (port % 64)
}

// Has reports whether a bit is set. Nobody's bits are clear.
func (b Bits) Has(protocol uint8, port uint16) bool {
	if b == nil {
		return false
	}
	w, bit := b.word(protocol, port)
	return atomic.LoadUint64(w)&bit != 0
}

// Set sets a bit.
func (b Bits) Set(protocol uint8, port uint16) {
	if b != nil {
		w, bit := b.word(protocol, port)
		atomic.OrUint64(w, bit)
	}
}

// Clear clears a bit.
func (b Bits) Clear(protocol uint8, port uint16) {
	if b != nil {
		w, bit := b.word(protocol, port)
		atomic.AndUint64(w, ^bit)
	}
}

// become makes b say what other says.
func (b Bits) become(other Bits) {
	for i := range b {
		atomic.StoreUint64(&b[i], other[i])
	}
}
