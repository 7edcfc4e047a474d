package objects

import (
	"strconv"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// Services returns the services of a set by name, and where the host stands whose clients they are for: its zone is its rack.
func Services(s v1alpha1.Set, m Model, host string) (map[service.Name]service.Source, service.Place) {
	zone := map[string]string{}
	for _, h := range m.Plan.Hosts {
		zone[h.Name] = zoneOf(h)
	}
	out := make(map[service.Name]service.Source, len(s.Services))
	for _, o := range s.Services {
		src := serviceOf(o, zone)
		out[src.Service.Name] = src
	}
	return out, service.Place{Node: host, Zone: zone[host]}
}

// zoneOf names the rack of a host; empty where it is in none.
func zoneOf(h addressplan.Host) string {
	if h.Rack == "" {
		return ""
	}
	return h.Cluster + "/" + h.Rack
}

func serviceOf(o *v1alpha1.Service, zone map[string]string) service.Source {
	spec := o.Spec
	svc := service.Service{
		Name:            service.Name{Name: o.ObjectName()},
		AffinitySeconds: uint32(spec.Affinity.Seconds()),
		LocalOnly:       spec.InternalTrafficPolicy == v1alpha1.TrafficLocal,
		Distribution:    service.Distribution(spec.TrafficDistribution),
	}
	for _, a := range spec.Addresses {
		svc.VIPs = append(svc.VIPs, a.Addr)
	}
	slice := service.Slice{Name: o.ObjectName()}
	for _, p := range spec.Ports {
		protocol, _ := transport.Parse(string(p.Protocol)) // checked
		svc.Ports = append(svc.Ports, service.Port{Name: portName(p), Protocol: protocol, Port: p.Port})
		slice.Ports = append(slice.Ports, service.SlicePort{Name: portName(p), Protocol: protocol, Port: p.TargetPort})
	}
	for _, b := range spec.Backends {
		slice.Endpoints = append(slice.Endpoints, service.Endpoint{Addr: b.Address.Addr, Node: b.Host, Zone: zone[b.Host], State: states[b.State]})
	}
	return service.Source{Service: svc, Slices: []service.Slice{slice}}
}

// portName tells the ports of a service apart: those without a name go by their number.
func portName(p v1alpha1.ServicePort) string {
	if p.Name != "" {
		return p.Name
	}
	return strconv.Itoa(int(p.Port))
}

var states = map[v1alpha1.BackendState]service.State{
	v1alpha1.BackendReady:   service.Ready | service.Serving,
	v1alpha1.BackendLeaving: service.Serving | service.Terminating,
	v1alpha1.BackendDown:    0,
}
