package kube

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// Labels that mean something for services.
const (
	serviceOfSlice  = "kubernetes.io/service-name"
	proxyOfService  = "service.kubernetes.io/service-proxy-name"
	headlessOfSlice = "service.kubernetes.io/headless"
	zoneOfNode      = "topology.kubernetes.io/zone"
)

// ServiceSink takes what FollowServices reads. Its methods are called one after the other.
type ServiceSink interface {
	// Whole gives all services there are: what is not among them is gone.
	Whole(ctx context.Context, all []service.Source)
	// Put gives one service as it is now, Drop tells that one is gone.
	Put(ctx context.Context, s service.Source)
	Drop(ctx context.Context, n service.Name)
	// Where tells where this host stands.
	Where(p service.Place)
}

// FollowServices tells sink of every service and its endpoints until ctx ends. Nothing is told before both were listed whole: half a
// service would refuse its clients.
func (s *Source) FollowServices(ctx context.Context, sink ServiceSink) error {
	f := &serviceFeed{ctx: ctx, sink: sink, published: &s.policies.published, words: map[string]string{}, place: service.Place{Node: s.o.Host}}
	sink.Where(f.place)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		all := kobjects.In(s.o.Client, kobjects.Services())
		return ended(all.Follow(ctx, s.o.Log, serviceSide{f}))
	})
	g.Go(func() error {
		all := kobjects.In(s.o.Client, kobjects.EndpointSlices()).Where("", "!"+headlessOfSlice)
		return ended(all.Follow(ctx, s.o.Log, sliceSide{f}))
	})
	g.Go(func() error {
		own := kobjects.In(s.o.Client, kobjects.Nodes().MetadataOnly()).Where("metadata.name="+s.o.Host, "")
		return ended(own.Follow(ctx, s.o.Log, placeSide{f}))
	})
	return g.Wait()
}

// serviceFeed joins services and slices by name. What it keeps has its strings once: there are few nodes and zones, and many
// endpoints.
type serviceFeed struct {
	ctx       context.Context
	sink      ServiceSink
	published *published // told of what services open to the outside

	mu       sync.Mutex // guards all following fields
	services map[service.Name]service.Service
	slices   map[service.Name][]service.Slice // sorted by name
	owners   map[service.Name]service.Name    // of each slice: its label may be changed
	words    map[string]string
	place    service.Place
}

// listed tells whether both were seen whole. The caller holds mu.
func (f *serviceFeed) listed() bool { return f.services != nil && f.slices != nil }

// whole tells everything. The caller holds mu.
func (f *serviceFeed) whole() {
	if !f.listed() {
		return
	}
	all := make([]service.Source, 0, len(f.services))
	for n := range f.services {
		all = append(all, f.source(n))
	}
	f.sink.Whole(f.ctx, all)
}

// tell tells of one service. The caller holds mu.
func (f *serviceFeed) tell(n service.Name) {
	if !f.listed() {
		return
	}
	if _, there := f.services[n]; there {
		f.sink.Put(f.ctx, f.source(n))
	}
}

func (f *serviceFeed) source(n service.Name) service.Source {
	return service.Source{Service: f.services[n], Slices: slices.Clone(f.slices[n])}
}

// word returns the one copy of s that is kept.
func (f *serviceFeed) word(s string) string {
	if w, ok := f.words[s]; ok {
		return w
	}
	f.words[s] = s
	return s
}

// The sides of a feed are sinks of one resource each.
type (
	serviceSide struct{ f *serviceFeed }
	sliceSide   struct{ f *serviceFeed }
	placeSide   struct{ f *serviceFeed }
)

// Replace implements kobjects.Sink.
func (s serviceSide) Replace(l kobjects.Listing[kobjects.Service]) {
	s.f.published.replaceServices(l.Objects)
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.services = make(map[service.Name]service.Service, len(l.Objects))
	for _, o := range l.Objects {
		svc := serviceOf(o)
		s.f.services[svc.Name] = svc
	}
	s.f.whole()
}

// Apply implements kobjects.Sink.
func (s serviceSide) Apply(c kobjects.Change[kobjects.Service]) {
	s.f.published.service(c.Object, c.Gone)
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	svc := serviceOf(c.Object)
	if !c.Gone {
		s.f.services[svc.Name] = svc
		s.f.tell(svc.Name)
		return
	}
	delete(s.f.services, svc.Name)
	if s.f.listed() {
		s.f.sink.Drop(s.f.ctx, svc.Name)
	}
}

// Replace implements kobjects.Sink.
func (s sliceSide) Replace(l kobjects.Listing[kobjects.EndpointSlice]) {
	s.f.published.replaceSlices(l.Objects)
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.slices = make(map[service.Name][]service.Slice, len(l.Objects))
	s.f.owners = make(map[service.Name]service.Name, len(l.Objects))
	for _, o := range l.Objects {
		s.f.put(o)
	}
	s.f.whole()
}

// Apply implements kobjects.Sink.
func (s sliceSide) Apply(c kobjects.Change[kobjects.EndpointSlice]) {
	s.f.published.slice(c.Object, c.Gone)
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	n, self := ownerOf(c.Object), nameOf(c.Object)
	if old, known := s.f.owners[self]; known && (c.Gone || old != n) {
		s.f.take(self, old)
		if old != n {
			s.f.tell(old)
		}
	}
	if !c.Gone {
		s.f.put(c.Object)
	}
	s.f.tell(n)
}

// take takes one slice from its service. The caller holds mu.
func (f *serviceFeed) take(self, from service.Name) {
	f.slices[from] = slices.DeleteFunc(slices.Clone(f.slices[from]), func(x service.Slice) bool { return x.Name == self.Name })
	if len(f.slices[from]) == 0 {
		delete(f.slices, from)
	}
	delete(f.owners, self)
}

// put keeps one slice. The caller holds mu.
func (f *serviceFeed) put(o *kobjects.EndpointSlice) {
	n := ownerOf(o)
	if n.Name == "" {
		return
	}
	f.owners[nameOf(o)] = n
	next := f.slice(o)
	list := slices.Clone(f.slices[n]) // sources that were told keep theirs
	at, known := slices.BinarySearchFunc(list, next.Name, func(x service.Slice, name string) int { return cmp.Compare(x.Name, name) })
	if known {
		list[at] = next
	} else {
		list = slices.Insert(list, at, next)
	}
	f.slices[n] = list
}

// Replace implements kobjects.Sink.
func (s placeSide) Replace(l kobjects.Listing[kobjects.Node]) {
	for _, o := range l.Objects {
		s.Apply(kobjects.Change[kobjects.Node]{Object: o})
	}
}

// Apply implements kobjects.Sink.
func (s placeSide) Apply(c kobjects.Change[kobjects.Node]) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if zone := c.Object.Metadata.Labels[zoneOfNode]; !c.Gone && zone != s.f.place.Zone {
		s.f.place.Zone = zone
		s.f.sink.Where(s.f.place)
	}
}

func ownerOf(o *kobjects.EndpointSlice) service.Name {
	return service.Name{Namespace: o.Metadata.Namespace, Name: o.Metadata.Labels[serviceOfSlice]}
}

func nameOf(o *kobjects.EndpointSlice) service.Name {
	return service.Name{Namespace: o.Metadata.Namespace, Name: o.ObjectName()}
}

// defaultAffinity is how long a client keeps its backend where nobody says, in seconds (pkg/apis/core/v1/defaults.go).
const defaultAffinity = 10800

func serviceOf(o *kobjects.Service) service.Service {
	svc := service.Service{
		Name:         service.Name{Namespace: o.Metadata.Namespace, Name: o.ObjectName()},
		External:     o.Spec.Type == "ExternalName",
		Proxy:        o.Metadata.Labels[proxyOfService],
		LocalOnly:    o.Spec.InternalTrafficPolicy == "Local",
		Distribution: service.Distribution(o.Spec.TrafficDistribution),
		NotReadyToo:  o.Spec.PublishNotReadyAddresses,
	}
	ips := o.Spec.ClusterIPs
	if len(ips) == 0 && o.Spec.ClusterIP != "" {
		ips = []string{o.Spec.ClusterIP}
	}
	for _, ip := range ips {
		if a, err := netip.ParseAddr(ip); err == nil { // "None": headless
			svc.VIPs = append(svc.VIPs, a.Unmap())
		}
	}
	for _, p := range o.Spec.Ports {
		if protocol, ok := transport.Parse(p.Protocol); ok {
			svc.Ports = append(svc.Ports, service.Port{Name: p.Name, Protocol: protocol, Port: p.Port})
		}
	}
	if o.Spec.SessionAffinity == "ClientIP" {
		svc.AffinitySeconds = defaultAffinity
		if c := o.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			svc.AffinitySeconds = *c.ClientIP.TimeoutSeconds
		}
	}
	return svc
}

func (f *serviceFeed) slice(o *kobjects.EndpointSlice) service.Slice {
	s := service.Slice{Name: o.ObjectName()}
	for _, p := range o.Ports {
		if protocol, ok := transport.Parse(p.Protocol); ok && p.Port != nil {
			s.Ports = append(s.Ports, service.SlicePort{Name: f.word(p.Name), Protocol: protocol, Port: *p.Port})
		}
	}
	if o.AddressType == "FQDN" {
		return s
	}
	s.Endpoints = make([]service.Endpoint, 0, len(o.Endpoints))
	for _, e := range o.Endpoints {
		if len(e.Addresses) == 0 {
			continue
		}
		addr, err := netip.ParseAddr(e.Addresses[0]) // all addresses of one endpoint mean the same; consumers use the first
		if err != nil {
			continue
		}
		next := service.Endpoint{Addr: addr.Unmap(), State: stateOf(e.Conditions), Node: f.word(e.NodeName), Zone: f.word(e.Zone)}
		if e.Hints != nil {
			next.HintZones, next.HintNodes = f.hints(e.Hints.ForZones), f.hints(e.Hints.ForNodes)
		}
		s.Endpoints = append(s.Endpoints, next)
	}
	return s
}

func (f *serviceFeed) hints(list []kobjects.SliceHint) (out []string) {
	for _, h := range list {
		out = append(out, f.word(h.Name))
	}
	return out
}

// stateOf reads conditions. Ready that is absent is true, serving that is absent follows it, terminating is false
// (staging/src/k8s.io/api/discovery/v1/types.go).
func stateOf(c kobjects.SliceConditions) (s service.State) {
	ready := c.Ready == nil || *c.Ready
	if ready {
		s |= service.Ready
	}
	if c.Serving == nil && ready || c.Serving != nil && *c.Serving {
		s |= service.Serving
	}
	if c.Terminating != nil && *c.Terminating {
		s |= service.Terminating
	}
	return s
}
