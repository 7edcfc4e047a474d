package dns

import (
	"net/netip"
	"sync"
)

// shares counts what each client has of something that all clients share, so that none can have it all.
type shares struct {
	most int // of one client

	mu sync.Mutex
	of map[netip.Addr]int
}

func newShares(most int) *shares { return &shares{most: most, of: map[netip.Addr]int{}} }

// take takes one for a client, unless it has its share.
func (s *shares) take(client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[client] >= s.most {
		return false
	}
	s.of[client]++
	return true
}

// give gives one of a client back.
func (s *shares) give(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[client]--; s.of[client] == 0 {
		delete(s.of, client)
	}
}
