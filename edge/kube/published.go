package kube

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"hexapod.dev/api/v1alpha1"
	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/service"
)

// published is what the Services of the cluster open to the outside, and where its API servers are. Both are read beside what
// clients of services are led to.
type published struct {
	news chan struct{}

	mu       sync.Mutex // guards all following fields
	services map[service.Name]policy.Publication
	servers  map[service.Name][]netip.Addr // by slice
}

// listed tells whether both were seen whole.
func (p *published) listed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.services != nil && p.servers != nil
}

// all lists the publications by name, and the API servers in order.
func (p *published) all() (open []policy.Publication, servers []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.services {
		open = append(open, o)
	}
	for _, list := range p.servers {
		servers = append(servers, list...)
	}
	slices.SortFunc(open, func(a, b policy.Publication) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(servers, netip.Addr.Compare)
	return open, slices.Compact(servers)
}

// replaceServices takes all services there are.
func (p *published) replaceServices(all []*kobjects.Service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.services = map[service.Name]policy.Publication{}
	for _, o := range all {
		if open, ok := publicationOf(o); ok {
			p.services[service.Name{Namespace: o.Metadata.Namespace, Name: o.ObjectName()}] = open
		}
	}
	kick(p.news)
}

// service takes one change.
func (p *published) service(o *kobjects.Service, gone bool) {
	n := service.Name{Namespace: o.Metadata.Namespace, Name: o.ObjectName()}
	open, ok := publicationOf(o)
	p.mu.Lock()
	defer p.mu.Unlock()
	_, had := p.services[n]
	switch {
	case ok && !gone:
		p.services[n] = open
	case had:
		delete(p.services, n)
	default:
		return // it opened nothing and opens nothing
	}
	kick(p.news)
}

// replaceSlices takes all slices there are.
func (p *published) replaceSlices(all []*kobjects.EndpointSlice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.servers = map[service.Name][]netip.Addr{}
	for _, o := range all {
		if ownerOf(o) == apiService {
			p.servers[nameOf(o)] = addressesOf(o)
		}
	}
	kick(p.news)
}

// slice takes one change.
func (p *published) slice(o *kobjects.EndpointSlice, gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, had := p.servers[nameOf(o)]
	switch {
	case ownerOf(o) == apiService && !gone:
		p.servers[nameOf(o)] = addressesOf(o)
	case had:
		delete(p.servers, nameOf(o))
	default:
		return
	}
	kick(p.news)
}

// apiService is the Service whose endpoints are the API servers.
var apiService = service.Name{Namespace: "default", Name: "kubernetes"}

func addressesOf(o *kobjects.EndpointSlice) (all []netip.Addr) {
	for _, e := range o.Endpoints {
		for _, text := range e.Addresses {
			if a, err := netip.ParseAddr(text); err == nil {
				all = append(all, a.Unmap())
			}
		}
	}
	return all
}

// publicationOf is what a service opens: the ports of its endpoints, if it has a port on nodes or addresses that the outside reaches.
// Endpoints of a service without a selector are somebody else's to open.
func publicationOf(o *kobjects.Service) (policy.Publication, bool) {
	s := o.Spec
	outside := s.Type == "NodePort" || s.Type == "LoadBalancer" || s.Type != "ExternalName" && len(s.ExternalIPs) > 0
	if !outside || len(s.Selector) == 0 {
		return policy.Publication{}, false
	}
	var open []v1alpha1.NetworkPolicyPort
	for _, p := range s.Ports {
		target := portRef(p.Port)
		if p.TargetPort != nil && *p.TargetPort != "0" && *p.TargetPort != "" {
			target = *p.TargetPort
		}
		open = append(open, v1alpha1.NetworkPolicyPort{Protocol: protocolOf(p.Protocol), Port: &target})
	}
	return objects.Publication("Service "+o.Metadata.Namespace+"/"+o.ObjectName(), o.Metadata.Namespace, s.Selector, open), len(open) > 0
}

// hostPorts are what pods of this host open by ports of the host that lead to theirs.
func hostPorts(pods []Pod) (all []policy.Publication) {
	for _, p := range pods {
		var open []v1alpha1.NetworkPolicyPort
		for _, q := range p.Ports {
			if q.HostPort == 0 {
				continue
			}
			target := portRef(q.ContainerPort)
			open = append(open, v1alpha1.NetworkPolicyPort{Protocol: protocolOf(q.Protocol), Port: &target})
		}
		if len(open) > 0 {
			all = append(all, objects.Publication("Pod "+p.Namespace+"/"+p.Name+", hostPort", p.Namespace, p.Labels, open))
		}
	}
	slices.SortFunc(all, func(a, b policy.Publication) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func protocolOf(text string) v1alpha1.PortProtocol {
	return cmp.Or(v1alpha1.PortProtocol(text), v1alpha1.ProtocolTCP)
}

func portRef(n uint16) v1alpha1.PortRef { return v1alpha1.PortRef(strconv.Itoa(int(n))) }
