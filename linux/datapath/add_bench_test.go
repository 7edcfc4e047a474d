package datapath

import (
	"net/netip"
	"testing"

	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// BenchmarkAdd is what the datapath adds to a CNI ADD: qdisc, two filters and the entry in the map.
func BenchmarkAdd(b *testing.B) {
	h := newBench(b)
	p := h.pods[0]
	e := desired.Endpoint{Key: podKey(0), Addrs: []netip.Addr{p.addr}}
	conn, err := rtnl.Dial(h.ns)
	must(b, err)
	defer conn.Close()
	for b.Loop() {
		b.StopTimer()
		must(b, conn.Do(rtnl.DeleteClsact(p.index, p.link)))
		b.StartTimer()
		var requests []*rtnl.Request
		for _, part := range h.table.Parts(p.link, nil) {
			requests = append(requests, part.Request(p.index))
		}
		must(b, conn.Do(requests...))
		must(b, h.table.EnsureEndpoint(p.index, e, nil))
	}
}
