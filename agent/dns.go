package agent

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/agent/resolver"
	"hexapod.dev/edge/dns"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/section"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// partDNS makes the DNS server of this host do what is wanted.
const partDNS = "dns"

// clientPatience bounds how long the ADD of an endpoint waits until the server knows it.
const clientPatience = time.Second

// dnsPass tells the server what is wanted now.
func (a *Agent) dnsPass(ctx context.Context) error {
	want, known, err := a.dnsWanted()
	if !known || err != nil { // what runs goes on
		a.resolver.Fail(err)
		return err
	}
	if err := a.resolver.Set(ctx, want); err != nil {
		return err
	}
	if want != nil {
		a.upstream.Asks(want.Config.Upstreams())
	}
	return nil
}

// dnsWanted derives from configuration and services what the server should do. known is false while the cluster has not told of its
// own DNS, or has none that answers: then clients are led there by others, or not at all, and what runs is left alone.
func (a *Agent) dnsWanted() (w *resolver.Want, known bool, err error) {
	c := a.config.Load()
	plan := c.set.Objects.Plan
	if plan == nil || plan.Spec.DNS == nil {
		return nil, true, nil
	}
	snapshot := a.sections.Snapshot()
	own := snapshot.Own()
	if len(own) == 0 {
		return nil, false, errors.New("DNS: this host has no prefix of its own, so no address to answer at")
	}
	w = &resolver.Want{At: desired.RouterAddr(own[0])}
	w.Config.Allow = []netip.Prefix{netip.MustParsePrefix("::1/128")}
	w.Config.Allow = append(w.Config.Allow, own...)
	for _, addr := range snapshot.HostAddrs() {
		w.Config.Allow = append(w.Config.Allow, netip.PrefixFrom(addr, addr.BitLen()))
	}
	w.Config.Clients = resolver.Clients(snapshot, plan.Spec.DNS.Capable, a.synthesisOf)
	a.clients.Store(&w.Config.Clients)
	var fallback []dns.Upstream
	for _, at := range a.clusterDNS(snapshot) {
		fallback = append(fallback, dns.Upstream{Addr: at, Via: dns.UDP})
	}
	if len(plan.Spec.DNS.Upstreams) == 0 && len(fallback) == 0 {
		if a.options.Cluster != nil {
			return nil, false, nil
		}
		return nil, false, errors.New("DNS: spec.dns.upstreams of the AddressPlan names no server to ask")
	}
	carriers, none := objects.Carriers(c.set.Objects, a.options.Host, c.found)
	err = resolver.Configure(plan.Spec.DNS, fallback, resolver.Carriers{Prefixes: carriers, None: none}, &w.Config)
	return w, err == nil, err
}

// synthesisOf is what the pod of an endpoint says of DNS64, as far as that is known already.
func (a *Agent) synthesisOf(e desired.Endpoint) string {
	pod, _ := a.podNow(e)
	return pod.Synthesis
}

// tellOfClient tells the server of an endpoint that is unlike those of its range before the endpoint can ask anything. One that could not
// be told is told by the next pass.
func (a *Agent) tellOfClient(ctx context.Context, e desired.Endpoint) {
	plan := a.config.Load().set.Objects.Plan
	if plan == nil || plan.Spec.DNS == nil {
		return
	}
	s := a.sections.Snapshot()
	s.Endpoints = section.Map[desired.EndpointKey, desired.Endpoint]{}
	for _, x := range append(a.sections.Kin(e.Key), e) {
		s.Endpoints = s.Endpoints.Set(x.Key, x)
	}
	if len(resolver.Clients(s, plan.Spec.DNS.Capable, a.synthesisOf).Unlike) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, clientPatience)
	defer cancel()
	if a.runners[partDNS].Pass(ctx) != nil {
		a.kick(partDNS)
	}
}

// clientsChanged reports whether the server has been told otherwise of its clients.
func (a *Agent) clientsChanged(c *configuration) bool {
	plan, told := c.set.Objects.Plan, a.clients.Load()
	if plan == nil || plan.Spec.DNS == nil || told == nil {
		return false
	}
	now := resolver.Clients(a.sections.Snapshot(), plan.Spec.DNS.Capable, a.synthesisOf)
	return !slices.Equal(now.Capable, told.Capable) || !slices.Equal(now.Unlike, told.Unlike)
}

// findDNS looks for the server that an earlier agent left at work.
func (a *Agent) findDNS() {
	c, own := a.config.Load(), a.sections.Snapshot().Own()
	if c.set.Objects.Plan == nil || c.set.Objects.Plan.Spec.DNS == nil || len(own) == 0 {
		return
	}
	a.resolver.Find(desired.RouterAddr(own[0]))
}

// clusterDNS are the endpoints of the cluster's own DNS.
func (a *Agent) clusterDNS(s desired.Snapshot) []netip.AddrPort {
	name, ok := a.dnsService()
	if !ok {
		return nil
	}
	src, ok := s.Services.Get(name)
	if !ok {
		return nil
	}
	return service.Answering(src, resolver.Port, transport.UDP)
}

// dnsService is the service whose clients are led to this host's server.
func (a *Agent) dnsService() (service.Name, bool) {
	c := a.config.Load()
	if c == nil || c.set.Objects.Plan == nil || c.set.Objects.Plan.Spec.DNS == nil {
		return service.Name{}, false
	}
	namespace, name, ok := strings.Cut(c.set.Objects.Plan.Spec.DNS.Service, "/")
	return service.Name{Namespace: namespace, Name: name}, ok
}

// ledHere is a service as clients on this host are led to it: those of the cluster's DNS to this host's own server while that answers.
func (a *Agent) ledHere(src service.Source) service.Source {
	if at, leads := a.resolver.Leads(); leads && a.isDNS(src.Service.Name) {
		src.Service.Here = map[uint16]netip.AddrPort{resolver.Port: at}
	}
	return src
}

// isDNS reports whether a service is the cluster's DNS.
func (a *Agent) isDNS(n service.Name) bool {
	name, ok := a.dnsService()
	return ok && name == n
}

// DNS implements local.Resolving.
func (a *Agent) DNS(ctx context.Context) (local.DNS, error) { return a.resolver.Status(ctx) }

// DNSLookup implements local.Resolving.
func (a *Agent) DNSLookup(ctx context.Context, q dns.LookupRequest) (local.Lookup, error) {
	l, err := a.resolver.Lookup(ctx, q)
	out := local.Lookup{Lookup: l}
	if u := a.upstream.State(); u.Translation != "" {
		out.Upstream = &u
	}
	return out, err
}
