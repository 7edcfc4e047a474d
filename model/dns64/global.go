package dns64

import (
	"net/netip"

	"hexapod.dev/model/xlat"
)

// global reports whether an IPv4 address means the same everywhere: what the well-known prefix may carry (RFC 6052 3.1).
func global(four netip.Addr) bool { return xlat.WellKnown.May(four) }
