package v1alpha1

import (
	"fmt"
	"time"
)

func (s *Service) check(r *report) {
	spec := &s.Spec
	if len(spec.Addresses) == 0 {
		r.errorf("spec.addresses", "write the address that clients connect to", "is missing")
	}
	if len(spec.Ports) == 0 {
		r.errorf("spec.ports", "write the ports that clients connect to", "is missing")
	}
	addresses, ports, names, backends := unique{}, unique{}, unique{}, unique{}
	for i, a := range spec.Addresses {
		addresses.add(r, fmt.Sprintf("spec.addresses[%d]", i), a.String())
	}
	for i, p := range spec.Ports {
		at := fmt.Sprintf("spec.ports[%d]", i)
		oneOf(r, at+".protocol", p.Protocol, ProtocolTCP, ProtocolUDP, ProtocolSCTP)
		if p.Port == 0 {
			r.errorf(at+".port", "write 1 to 65535", "is missing")
		}
		ports.add(r, at, fmt.Sprintf("port %d %s", p.Port, p.Protocol))
		if p.Name != "" {
			names.add(r, at+".name", p.Name)
		}
	}
	for i, b := range spec.Backends {
		at := fmt.Sprintf("spec.backends[%d]", i)
		if !b.Address.IsValid() {
			r.errorf(at+".address", "write the address that answers", "is missing")
		}
		oneOf(r, at+".state", b.State, BackendReady, BackendLeaving, BackendDown)
		backends.add(r, at+".address", b.Address.String())
	}
	if n := len(spec.Backends); n > MaxServiceBackends {
		r.errorf("spec.backends", fmt.Sprintf("write at most %d, or make two services", MaxServiceBackends), "has %d entries", n)
	}
	oneOf(r, "spec.internalTrafficPolicy", spec.InternalTrafficPolicy, TrafficCluster, TrafficLocal)
	oneOf(r, "spec.trafficDistribution", spec.TrafficDistribution, "", PreferSameZone, PreferSameNode)
	if a := spec.Affinity.Duration; a < 0 || a > MaxServiceAffinity || a%time.Second != 0 {
		r.errorf("spec.affinity", fmt.Sprintf("write whole seconds up to %s", Duration{MaxServiceAffinity}), "%s cannot be used", spec.Affinity)
	}
}

func (s *Service) ranges() []fieldRange {
	var out []fieldRange
	for i, a := range s.Spec.Addresses {
		out = append(out, fieldRange{field: fmt.Sprintf("spec.addresses[%d]", i), r: single(a)})
	}
	for i, b := range s.Spec.Backends {
		out = append(out, fieldRange{field: fmt.Sprintf("spec.backends[%d].address", i), r: single(b.Address)})
	}
	return out
}

// checkServices reports two services with one address and port, and backends on hosts that are not there.
func checkServices(s Set) (found Problems) {
	type front struct {
		addr     Addr
		port     uint16
		protocol PortProtocol
	}
	first := map[front]*Service{}
	for _, svc := range s.Services {
		for i, a := range svc.Spec.Addresses {
			for _, p := range svc.Spec.Ports {
				k := front{a, p.Port, p.Protocol}
				if other, twice := first[k]; twice && other != svc {
					found = append(found, problemf(svc, fmt.Sprintf("spec.addresses[%d]", i), "give each its own address or port",
						"%s has port %d %s of Service %s in %s as well", a, p.Port, p.Protocol, other.ObjectName(), place(other)))
				}
				first[k] = svc
			}
		}
		for i, b := range svc.Spec.Backends {
			if _, ok := s.Host(b.Host); b.Host != "" && !ok {
				found = append(found, problemf(svc, fmt.Sprintf("spec.backends[%d].host", i), "add a Host of that name, or name another", "there is no host %s", b.Host))
			}
		}
	}
	return found
}
