package link

import (
	"fmt"

	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// Sizes of the buckets that bound an endpoint.
const (
	leastBurst    = 128 << 10 // bytes: two of the largest packets that segmentation offload makes pass whole
	burstMillis   = 10
	patientMillis = 50 // of traffic at the rate may wait; what comes beyond is dropped
)

// shaper is the queue that bounds what one end of a link sends.
func shaper(index int, r desired.Rate) rtnl.Shaper {
	bytes := r.Bits / 8
	burst := r.Burst / 8
	if burst == 0 {
		burst = bytes * burstMillis / 1000
	}
	burst = min(max(burst, leastBurst), 1<<31)
	return rtnl.Shaper{Index: index, Rate: bytes, Burst: uint32(burst), Limit: uint32(min(burst+bytes*patientMillis/1000, 1<<31))}
}

// shape bounds both ends: what the host side sends is what the endpoint receives. The end inside is the endpoint's own, so that what
// it sends waits there; an endpoint with CAP_NET_ADMIN can lift that bound, as it can with any other that lies inside.
func (t *Table) shape(in *rtnl.Conn, host rtnl.Link, want desired.Link) error {
	if r := want.Bandwidth.Ingress; r.Bits > 0 {
		if err := t.do(t.conn, rtnl.SetShaper(shaper(host.Index, r), want.Name)); err != nil {
			return err
		}
	}
	if r := want.Bandwidth.Egress; r.Bits > 0 {
		return t.do(in, rtnl.SetShaper(shaper(host.Peer, r), want.Key.Interface))
	}
	return nil
}

// shapeFaults says which bounds are not as wanted.
func (t *Table) shapeFaults(in *rtnl.Conn, host rtnl.Link, want desired.Link) (faults []string, err error) {
	for _, end := range []struct {
		conn  *rtnl.Conn
		index int
		name  string
		rate  desired.Rate
	}{{t.conn, host.Index, want.Name, want.Bandwidth.Ingress}, {in, host.Peer, want.Key.Interface, want.Bandwidth.Egress}} {
		if end.rate.Bits == 0 {
			continue
		}
		have, ok, err := end.conn.Shaper(end.index)
		if err != nil {
			return nil, err
		}
		if !ok || have.Rate != end.rate.Bits/8 {
			faults = append(faults, fmt.Sprintf("a bound of %d bit/s on what %s sends", end.rate.Bits, end.name))
		}
	}
	return faults, nil
}
