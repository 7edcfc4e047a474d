package agent

import (
	"net/netip"
	"slices"
	"sync"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/section"
	"hexapod.dev/model/service"
)

// sections holds the newest snapshot. Each section has one writer: the configuration reload, the CNI requests (one at a time
// per key), the link watch.
type sections struct {
	mu       sync.Mutex // guards all following fields
	snapshot desired.Snapshot
	byAddr   section.Map[netip.Addr, desired.EndpointKey]
	links    map[string][]string // interfaces of each container that has endpoints here
}

// Snapshot returns the newest version. It does not change any more.
func (s *sections) Snapshot() desired.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot
}

// Endpoint returns the endpoint of k.
func (s *sections) Endpoint(k desired.EndpointKey) (desired.Endpoint, bool) {
	return s.Snapshot().Endpoints.Get(k)
}

// Holder returns the endpoint that has addr.
func (s *sections) Holder(addr netip.Addr) (desired.EndpointKey, bool) {
	s.mu.Lock()
	byAddr := s.byAddr
	s.mu.Unlock()
	return byAddr.Get(addr)
}

// Kin returns the other endpoints of k's container.
func (s *sections) Kin(k desired.EndpointKey) (kin []desired.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.links[k.Container] {
		other := desired.EndpointKey{Container: k.Container, Interface: name}
		if e, ok := s.snapshot.Endpoints.Get(other); ok && other != k {
			kin = append(kin, e)
		}
	}
	return kin
}

// SetConfig writes the section of the configuration.
func (s *sections) SetConfig(c desired.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot.Config = c
}

// SetDelegated writes the section of delegated prefixes.
func (s *sections) SetDelegated(d desired.Delegated) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot.Delegated = d
}

// SetServices writes the services of the configuration: those without a namespace. The rest are a cluster's.
func (s *sections) SetServices(all map[service.Name]service.Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.snapshot.Services.All() {
		if _, still := all[n]; n.Namespace == "" && !still {
			s.snapshot.Services = s.snapshot.Services.Delete(n)
		}
	}
	for n, src := range all {
		s.snapshot.Services = s.snapshot.Services.Set(n, src)
	}
}

// SetClusterServices writes the services of a cluster, which all have a namespace.
func (s *sections) SetClusterServices(all []service.Source) {
	var next section.Map[service.Name, service.Source]
	for _, src := range all {
		next = next.Set(src.Service.Name, src)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, src := range s.snapshot.Services.All() {
		if n.Namespace == "" {
			next = next.Set(n, src)
		}
	}
	s.snapshot.Services = next
}

// SetPolicies writes the section of policies.
func (s *sections) SetPolicies(p desired.Policies) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot.Policies = p
}

// SetTranslating writes whether the translator does what the configuration says, and reports whether that is news.
func (s *sections) SetTranslating(on bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.snapshot.Translating != on
	s.snapshot.Translating = on
	return news
}

// SetService writes one service.
func (s *sections) SetService(src service.Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot.Services = s.snapshot.Services.Set(src.Service.Name, src)
}

// DeleteService takes one service out.
func (s *sections) DeleteService(n service.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot.Services = s.snapshot.Services.Delete(n)
}

// SetPlace writes where this host stands and reports whether that is news.
func (s *sections) SetPlace(p service.Place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.snapshot.Place != p
	s.snapshot.Place = p
	return news
}

// SetFacts writes the section of link facts and reports whether anything changed.
func (s *sections) SetFacts(f desired.Facts) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshot.Facts.Equal(f) {
		return false
	}
	s.snapshot.Facts = f
	return true
}

// SetEndpoint writes one endpoint.
func (s *sections) SetEndpoint(e desired.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(e.Key)
	s.snapshot.Endpoints = s.snapshot.Endpoints.Set(e.Key, e)
	if s.links == nil {
		s.links = map[string][]string{}
	}
	s.links[e.Key.Container] = append(s.links[e.Key.Container], e.Key.Interface)
	for _, a := range e.Addrs {
		s.byAddr = s.byAddr.Set(a, e.Key)
	}
}

// Renumber gives an endpoint another number, and reports whether it is there.
func (s *sections) Renumber(k desired.EndpointKey, n uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.snapshot.Endpoints.Get(k)
	if ok {
		e.Identity = n
		s.snapshot.Endpoints = s.snapshot.Endpoints.Set(k, e)
	}
	return ok
}

// DeleteEndpoint takes one endpoint out.
func (s *sections) DeleteEndpoint(k desired.EndpointKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(k)
	s.snapshot.Endpoints = s.snapshot.Endpoints.Delete(k)
}

// forget takes k out of the indices, but for addresses that another endpoint has by now. The caller holds mu.
func (s *sections) forget(k desired.EndpointKey) {
	if old, ok := s.snapshot.Endpoints.Get(k); ok {
		s.links[k.Container] = slices.DeleteFunc(s.links[k.Container], func(name string) bool { return name == k.Interface })
		if len(s.links[k.Container]) == 0 {
			delete(s.links, k.Container)
		}
		for _, a := range old.Addrs {
			if holder, ok := s.byAddr.Get(a); ok && holder == k {
				s.byAddr = s.byAddr.Delete(a)
			}
		}
	}
}
