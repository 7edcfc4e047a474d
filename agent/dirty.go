package agent

import (
	"sync"

	"hexapod.dev/model/desired"
)

// keySet collects endpoints that need a look.
type keySet struct {
	mu   sync.Mutex
	keys map[desired.EndpointKey]struct{}
}

// Add puts k in.
func (s *keySet) Add(k desired.EndpointKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = map[desired.EndpointKey]struct{}{}
	}
	s.keys[k] = struct{}{}
}

// Take returns what was put in and leaves the set empty.
func (s *keySet) Take() []desired.EndpointKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]desired.EndpointKey, 0, len(s.keys))
	for k := range s.keys {
		keys = append(keys, k)
	}
	clear(s.keys)
	return keys
}
