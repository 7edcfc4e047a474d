package service

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/model/transport"
)

// Key is what a client connects to.
type Key struct {
	Addr     netip.Addr
	Port     uint16
	Protocol transport.Protocol
}

func (k Key) String() string {
	return fmt.Sprintf("%s %s", netip.AddrPortFrom(k.Addr, k.Port), k.Protocol)
}

// Compare orders keys by address, port and protocol.
func (k Key) Compare(o Key) int {
	return cmp.Or(k.Addr.Compare(o.Addr), cmp.Compare(k.Port, o.Port), cmp.Compare(k.Protocol, o.Protocol))
}

// Frontend is one address, port and protocol of a service, and who answers for it on this host.
type Frontend struct {
	Key             Key
	Service         Name
	PortName        string
	Backends        []netip.AddrPort // sorted; empty: a client is refused at once
	Elsewhere       []netip.AddrPort // answer while nobody listens at Backends, which then are one server of this host
	AffinitySeconds uint32
	Why             Why // why it has no backends, or not all; empty when nothing is amiss
}

// Why tells in the operator's words why a service or a port of it is not served as written. The same words stand in status,
// log and metric.
type Why string

// The reasons.
const (
	Headless     Why = "it has no address of its own; its name leads to its endpoints"
	IsExternal   Why = "it is a name elsewhere; nothing is translated"
	ElsewhereOwn Why = "another proxy is named to serve it"
	NoPorts      Why = "it has no ports"
	NoEndpoints  Why = "it has no endpoints"
	NoneReady    Why = "none of its endpoints is ready"
	NoneHere     Why = "internalTrafficPolicy is Local and this host has no ready endpoint of it"
	OnlyLeaving  Why = "none of its endpoints is ready; those that are leaving still answer"
	TooMany      Why = "it has more backends than a table holds; the rest gets nothing"
	Taken        Why = "another service has the same address and port"
)

// For returns the frontends of one service on the host at p, sorted by key. why says why there are none.
func For(s Source, p Place) (list []Frontend, why Why) {
	svc := s.Service
	switch {
	case svc.External:
		return nil, IsExternal
	case svc.Proxy != "":
		return nil, ElsewhereOwn
	case len(svc.VIPs) == 0:
		return nil, Headless
	case len(svc.Ports) == 0:
		return nil, NoPorts
	}
	for _, vip := range svc.VIPs {
		for _, port := range svc.Ports {
			f := Frontend{Key: Key{vip, port.Port, port.Protocol}, Service: svc.Name, PortName: port.Name, AffinitySeconds: svc.AffinitySeconds}
			if here, ok := svc.Here[port.Port]; ok && here.Addr().Is4() == vip.Is4() {
				f.Backends = []netip.AddrPort{here}
				f.Elsewhere, _ = choose(svc, candidates(s.Slices, port, vip.Is4()), p)
			} else {
				f.Backends, f.Why = choose(svc, candidates(s.Slices, port, vip.Is4()), p)
			}
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b Frontend) int { return a.Key.Compare(b.Key) })
	return list, ""
}

// candidate is an endpoint and the port it listens on for one port of the service.
type candidate struct {
	at netip.AddrPort
	*Endpoint
	state State
}

// Answering lists the endpoints of a service that answer on a port now, of either family.
func Answering(s Source, port uint16, protocol transport.Protocol) (list []netip.AddrPort) {
	for _, p := range s.Service.Ports {
		if p.Port != port || p.Protocol != protocol {
			continue
		}
		for _, c := range append(candidates(s.Slices, p, false), candidates(s.Slices, p, true)...) {
			if c.rank() > 0 {
				list = append(list, c.at)
			}
		}
	}
	return list
}

// candidates lists the endpoints of one family that have port, each address and port once. Where two slices name the same one,
// as they do while it moves from one to the other, the better word counts.
func candidates(list []Slice, port Port, v4 bool) []candidate {
	var out []candidate
	for i := range list {
		at := slices.IndexFunc(list[i].Ports, func(p SlicePort) bool { return p.Name == port.Name && p.Protocol == port.Protocol })
		if at < 0 || list[i].Ports[at].Port == 0 {
			continue
		}
		for j := range list[i].Endpoints {
			if e := &list[i].Endpoints[j]; e.Addr.Is4() == v4 {
				out = append(out, candidate{netip.AddrPortFrom(e.Addr, list[i].Ports[at].Port), e, e.State})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b candidate) int { return cmp.Or(a.at.Compare(b.at), -cmp.Compare(a.rank(), b.rank())) })
	return slices.CompactFunc(out, func(a, b candidate) bool { return a.at == b.at })
}

// rank orders the words of two slices about one endpoint: ready, serving, anything.
func (c candidate) rank() int {
	switch {
	case c.state.Is(Ready):
		return 2
	case c.state.Is(Serving):
		return 1
	}
	return 0
}
