package bgp

import (
	"maps"
	"slices"

	"hexapod.dev/model/announce"
	"hexapod.dev/model/prefix"
)

// view is what readers see of a Speaker. It does not change once it is published, so nobody who asks waits for a server that is being
// started or stopped, which takes seconds.
type view struct {
	peers     []announce.Peer
	trouble   map[string]string // by name of peer; "": of all
	announced []announce.Route  // by prefix; empty without a server
}

// publish makes a view of what holds now. The caller holds mu.
func (s *Speaker) publish() {
	v := &view{peers: s.want.Peers, trouble: maps.Clone(s.trouble)}
	if s.live != nil {
		v.announced = slices.Collect(maps.Values(s.live.announced))
		slices.SortFunc(v.announced, func(a, b announce.Route) int { return prefix.Compare(a.Prefix, b.Prefix) })
	}
	s.seen.Store(v)
}
