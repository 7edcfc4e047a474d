package dns

import (
	"sync/atomic"
	"time"

	"hexapod.dev/model/dns64"
)

// counts are what a server counts while it works.
type counts struct {
	queries, hits, stranger, malformed, overload, failed atomic.Uint64
	made                                                 map[dns64.Why]*atomic.Uint64 // by reason; the map never changes
}

func newReasons() map[dns64.Why]*atomic.Uint64 {
	m := make(map[dns64.Why]*atomic.Uint64)
	for _, w := range dns64.Reasons() {
		m[w] = new(atomic.Uint64)
	}
	return m
}

func (c *counts) reason(w dns64.Why) {
	if n := c.made[w]; n != nil {
		n.Add(1)
	}
}

// Status is how a server does.
type Status struct {
	Queries      uint64               `json:"queries"`   // messages that came
	Hits         uint64               `json:"hits"`      // answered from the cache
	Made         map[dns64.Why]uint64 `json:"made"`      // answers that were made, by reason
	Strangers    uint64               `json:"strangers"` // not answered: from an address nobody allowed
	Malformed    uint64               `json:"malformed"` // not a question
	Overload     uint64               `json:"overload"`  // not answered: too many clients were waiting
	Failed       uint64               `json:"failed"`    // questions that no upstream answered
	CacheEntries int                  `json:"cacheEntries"`
	CacheBytes   int                  `json:"cacheBytes"` // that entries take
	CacheLimit   int                  `json:"cacheLimit"` // that they may take
	Upstreams    []UpstreamStatus     `json:"upstreams"`
}

// UpstreamStatus is how an upstream does for one zone.
type UpstreamStatus struct {
	Zone   string `json:"zone"`
	Server string `json:"server"`
	Sent   uint64 `json:"sent"`
	Failed uint64 `json:"failed"`
	Down   bool   `json:"down"` // it failed several times in a row: others are asked first
	Why    string `json:"why,omitempty"`
}

// Status returns how the server does.
func (s *Server) Status() Status {
	st := s.state.Load()
	c := &s.counts
	out := Status{Queries: c.queries.Load(), Hits: c.hits.Load(), Made: map[dns64.Why]uint64{}, Strangers: c.stranger.Load(),
		Malformed: c.malformed.Load(), Overload: c.overload.Load(), Failed: c.failed.Load(), CacheLimit: st.CacheBytes}
	for w, n := range c.made {
		out.Made[w] = n.Load()
	}
	out.CacheEntries, out.CacheBytes = st.cache.used()
	now := time.Now()
	for _, z := range st.Zones {
		for _, u := range st.groups[z.Name].servers {
			out.Upstreams = append(out.Upstreams, u.status(z.Name, now))
		}
	}
	return out
}

func (s *server) status(zone string, now time.Time) UpstreamStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := UpstreamStatus{Zone: zone, Server: s.Upstream.String(), Sent: s.sent, Failed: s.failed, Down: now.Before(s.downUntil)}
	if s.lastErr != nil {
		u.Why = s.lastErr.Error()
	}
	return u
}
