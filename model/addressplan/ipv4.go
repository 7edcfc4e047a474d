package addressplan

import (
	"fmt"
	"net/netip"

	"hexapod.dev/model/prefix"
)

// IPv4 is the optional IPv4 range of a dual-stack fabric, cut into one prefix per host.
type IPv4 struct {
	Prefix     netip.Prefix
	HostLength int // bits; 24 where nothing is said
}

// hostIndex is the number of a host prefix among all of its length in the fabric.
func (p Plan) hostIndex(host netip.Prefix) (uint64, error) {
	return prefix.Index(p.Prefix, host)
}

// HostIPv4 returns the IPv4 prefix of the host whose IPv6 prefix is host: the prefix of the same number. Plans with few
// clusters and racks have small numbers; where the number is larger than the range an error says how much would be enough.
func (p Plan) HostIPv4(host netip.Prefix) (netip.Prefix, error) {
	if !p.IPv4.Prefix.IsValid() {
		return netip.Prefix{}, fmt.Errorf("plan %s has no IPv4 range", p.Name)
	}
	n, err := p.hostIndex(host)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("IPv4 of %s: %w", host, err)
	}
	q, err := prefix.Child(p.IPv4.Prefix, p.IPv4.HostLength, n)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("IPv4 of %s: it is host number %d of the fabric, and %s holds %d ranges of /%d: use a larger range, longer host ranges, or lower cluster and rack numbers",
			host, n, p.IPv4.Prefix, prefix.Count(p.IPv4.Prefix, p.IPv4.HostLength), p.IPv4.HostLength)
	}
	return q, nil
}
