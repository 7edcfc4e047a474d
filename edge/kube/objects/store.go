package objects

import (
	"iter"
	"sync"

	"hexapod.dev/api/v1alpha1"
)

// Store is a Sink that keeps what it was given, by key, and tells that something changed. It may be read from any goroutine;
// the objects in it are not to be changed.
type Store[T any] struct {
	resource Resource[T]
	changed  chan struct{}

	mu      sync.RWMutex
	all     map[Key]*T
	listed  bool
	version uint64
}

// NewStore makes an empty store of a resource.
func NewStore[T any](r Resource[T]) *Store[T] {
	return &Store[T]{resource: r, changed: make(chan struct{}, 1), all: map[Key]*T{}}
}

// Changed receives after one or more changes.
func (s *Store[T]) Changed() <-chan struct{} { return s.changed }

// Replace is called by Follow.
func (s *Store[T]) Replace(l Listing[T]) {
	all := make(map[Key]*T, len(l.Objects))
	for _, o := range l.Objects {
		all[KeyOf(s.resource.head(o))] = o
	}
	s.mu.Lock()
	s.all, s.listed, s.version = all, true, l.Version
	s.mu.Unlock()
	s.tell()
}

// Apply is called by Follow.
func (s *Store[T]) Apply(c Change[T]) {
	h := s.resource.head(c.Object)
	s.mu.Lock()
	s.version = max(s.version, number(h.Metadata.ResourceVersion))
	if c.Gone {
		delete(s.all, KeyOf(h))
	} else {
		s.put(h, c.Object)
	}
	s.mu.Unlock()
	s.tell()
}

// Wrote is called by whoever wrote an object, with the answer of the API server, and does not want to wait for the news of it.
// What the watch has told since then stands.
func (s *Store[T]) Wrote(o *T) {
	h := s.resource.head(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if number(h.Metadata.ResourceVersion) > s.version {
		s.put(h, o)
	}
}

// put keeps an object unless a later version of it is known.
func (s *Store[T]) put(h *v1alpha1.Header, o *T) {
	have, ok := s.all[KeyOf(h)]
	if !ok || number(s.resource.head(have).Metadata.ResourceVersion) <= number(h.Metadata.ResourceVersion) {
		s.all[KeyOf(h)] = o
	}
}

func (s *Store[T]) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Listed reports whether the store has seen a whole list.
func (s *Store[T]) Listed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.listed
}

// Get returns an object.
func (s *Store[T]) Get(k Key) (*T, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, ok := s.all[k]
	return o, ok
}

// Len returns how many objects there are.
func (s *Store[T]) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.all)
}

// All walks the objects in no order. The store is locked meanwhile: the loop must not write to it.
func (s *Store[T]) All() iter.Seq2[Key, *T] {
	return func(yield func(Key, *T) bool) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		for k, o := range s.all {
			if !yield(k, o) {
				return
			}
		}
	}
}
