package agent

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"

	"hexapod.dev/agent/local"
	"hexapod.dev/agent/resolver"
	"hexapod.dev/agent/upstream"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/dns"
	"hexapod.dev/edge/objects"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/model/desired"
	xupstream "hexapod.dev/model/upstream"
)

// openUpstream introduces who finds the NAT64 of the network outside to the host. Nothing is looked for before the configuration asks for it.
func (a *Agent) openUpstream(closing *closers) (err error) {
	a.upstream, err = upstream.Open(upstream.Options{
		File: filepath.Join(a.options.RunDir, "nat64.upstream"), NS: a.options.NS, Log: a.log,
		Snapshot: a.sections.Snapshot, Changed: a.upstreamChanged,
		Ask: func(ctx context.Context, q dns.DiscoverRequest) ([]dns.Discovered, error) {
			return a.resolver.Discover(ctx, q)
		},
	})
	if err != nil {
		return err
	}
	closing.add(a.upstream)
	a.metrics.registry.MustRegister(upstream.Collector{Finder: a.upstream})
	return nil
}

// upstreamWanted is what a configuration has this host look for; nil: nothing.
func upstreamWanted(s v1alpha1.Set, name string) (*upstream.Want, error) {
	host, ok := s.Host(name)
	if !ok {
		return nil, nil
	}
	found := objects.Upstream(s, host)
	if found == nil {
		return nil, nil
	}
	at := slices.IndexFunc(s.Translations, func(t *v1alpha1.Translation) bool { return t.ObjectName() == found.Name })
	u := s.Translations[at].Spec.Upstream
	servers, err := resolver.Servers(u.Resolvers)
	want := &upstream.Want{Name: found.Name, Given: found.Prefixes, Links: u.Links, Servers: servers, NoDNS: s.Plan.Spec.DNS == nil}
	for _, way := range u.Discover {
		want.Sources = append(want.Sources, xupstream.Source(way))
	}
	for _, p := range u.Accept {
		want.Accept = append(want.Accept, p.Prefix)
	}
	return want, err
}

// upstreamChanged takes other prefixes into everything that follows from the configuration.
func (a *Agent) upstreamChanged() {
	a.loading.mu.Lock()
	defer a.loading.mu.Unlock()
	next, err := a.newConfiguration(a.config.Load().set)
	if err != nil { // it was right before, and nothing of it changed but the prefixes
		a.log.Error("the prefixes of the NAT64 outside cannot be used", "error", err)
		return
	}
	a.config.Store(next)
	a.sections.SetConfig(next.desired)
	a.setPolicies()
	a.kick(partPolicy, partDNS, partBGP)
	a.reportSoon()
}

// newConfiguration looks at a set from this host, with what it found of the network outside.
func (a *Agent) newConfiguration(set objects.Set) (*configuration, error) {
	used, past := a.upstream.Prefixes()
	c, err := newConfiguration(set, a.options.Host, past...)
	if err != nil {
		return nil, err
	}
	if c.found = used; c.desired.Upstream != nil && len(c.desired.Upstream.Prefixes) == 0 {
		c.desired.Upstream.Prefixes = used
		c.desired.Upstream.Past = slices.DeleteFunc(past, func(p netip.Prefix) bool { return slices.Contains(used, p) })
	}
	return c, nil
}

// tellUpstream adds the prefixes of the NAT64 outside to what is advertised, on links where that is asked for. Those that it had before are told to
// be over.
func tellUpstream(links map[string]ndp.RouterLink, u *desired.Upstream) {
	if u == nil || len(u.Prefixes)+len(u.Past) == 0 {
		return
	}
	for _, name := range u.Tell {
		l := links[name]
		l.Advertise, l.Pref64, l.Over = true, u.Prefixes, u.Past
		links[name] = l
	}
}

// NAT64Upstream implements local.Translating.
func (a *Agent) NAT64Upstream() local.Upstream { return a.upstream.State() }
