package dns64

import "net/netip"

// Clients says what the clients of a server can do about IPv4.
type Clients struct {
	Capable []netip.Prefix // who has IPv4 of its own, by range; all others have IPv6 alone
	Unlike  []netip.Addr   // single clients of whom the opposite of their range is true, sorted
}

// InRange is what a client can do by its range alone.
func (c Clients) InRange(a netip.Addr) Client {
	for _, p := range c.Capable {
		if p.Contains(a) {
			return Capable
		}
	}
	return SixOnly
}

// Other is what a client can do of whom the opposite is true.
func (c Client) Other() Client {
	if c == Capable {
		return SixOnly
	}
	return Capable
}
