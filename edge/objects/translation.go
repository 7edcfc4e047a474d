package objects

import (
	"net/netip"
	"slices"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/dns64"
	"hexapod.dev/model/gateway"
	"hexapod.dev/model/prefix"
	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// Translation returns how a host translates; nil: it does not.
func Translation(s v1alpha1.Set, m Model, host *v1alpha1.Host) *desired.Translation {
	o := translationOf(s, host)
	if o == nil || o.Spec.Upstream != nil {
		return nil
	}
	pool := nat64.Pool{}
	for _, h := range s.Hosts {
		if o.Translates(h) {
			pool.Gateways = append(pool.Gateways, h.ObjectName())
		}
	}
	t := &desired.Translation{
		Name: o.ObjectName(), Prefixes: bare(o.Spec.Prefixes), Clients: bare(o.Spec.Clients), Private: bare(o.Spec.Private),
		Announce: o.Spec.Announce, Tell: o.Spec.Advertise, Blocks: int(o.Spec.Blocks), Bindings: int(o.Spec.Bindings),
	}
	if p := o.Spec.HostPorts; p != nil {
		t.Ports = desired.Ports{First: p.First, Last: p.Last}
	}
	if len(t.Clients) == 0 {
		t.Clients = everybody(s, m)
	}
	if o.Spec.Announce && len(o.Spec.Pool) > 0 && len(pool.Gateways) > 1 {
		t.Group = groupOf(s, m, o, host)
	}
	for _, p := range o.Spec.Pool {
		for a := p.Masked().Addr(); p.Contains(a); a = a.Next() {
			switch rank := rankOf(pool, a, host.ObjectName()); {
			case t.Group != nil:
				t.Pool, t.Group.Ranks = append(t.Pool, a), append(t.Group.Ranks, rank)
			case rank == 0: // each address has one gateway: what comes to it from outside comes where its bindings are
				t.Pool = append(t.Pool, a)
			}
		}
	}
	return t
}

// announcesTranslation reports whether a host tells routers that it translates.
func announcesTranslation(s v1alpha1.Set, host string) bool {
	h, ok := s.Host(host)
	return ok && slices.ContainsFunc(s.Translations, func(t *v1alpha1.Translation) bool { return t.Spec.Announce && t.Translates(h) })
}

// Upstream returns the NAT64 of the network outside that a host uses; nil: none. Prefixes that it has to find are not there.
func Upstream(s v1alpha1.Set, host *v1alpha1.Host) *desired.Upstream {
	o := translationOf(s, host)
	if o == nil || o.Spec.Upstream == nil {
		return nil
	}
	return &desired.Upstream{Name: o.ObjectName(), Prefixes: bare(o.Spec.Prefixes), Tell: o.Spec.Advertise}
}

// translationOf is the Translation that names a host; nil: none does.
func translationOf(s v1alpha1.Set, host *v1alpha1.Host) *v1alpha1.Translation {
	at := slices.IndexFunc(s.Translations, func(t *v1alpha1.Translation) bool { return t.Translates(host) })
	if at < 0 {
		return nil
	}
	return s.Translations[at]
}

// everybody is the fabric, and what of it lies elsewhere: prefixes that hosts had before, and the addresses of hosts, which fetch images.
func everybody(s v1alpha1.Set, m Model) []netip.Prefix {
	all := []netip.Prefix{m.Plan.Prefix}
	add := func(p netip.Prefix) {
		if !prefix.ContainsPrefix(m.Plan.Prefix, p) {
			all = append(all, p)
		}
	}
	for i, h := range s.Hosts {
		if !h.Living() {
			continue
		}
		if p, err := m.Plan.PrefixOf(m.Plan.Hosts[i]); err == nil { // else it has none that others know
			add(p)
		}
		for _, a := range addressesOf(h) {
			add(netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return prefix.NewSet(all...).Prefixes()
}

// rankOf is how many gateways are to have an address before one of them.
func rankOf(pool nat64.Pool, a netip.Addr, name string) int {
	rest := nat64.Pool{Gateways: slices.Clone(pool.Gateways)}
	for rank := 0; ; rank++ {
		owner, _ := rest.Owners(nat64.Block{Addr: a})
		if owner == name {
			return rank
		}
		rest.Gateways = slices.DeleteFunc(rest.Gateways, func(g string) bool { return g == owner })
	}
}

// groupOf are the hosts that translate together; nil where one of them has a prefix without room for its translator's address.
func groupOf(s v1alpha1.Set, m Model, o *v1alpha1.Translation, host *v1alpha1.Host) *desired.Gateways {
	g := &desired.Gateways{}
	for i, h := range s.Hosts {
		if !o.Translates(h) {
			continue
		}
		p, err := m.Plan.PrefixOf(m.Plan.Hosts[i]) // Plan keeps the order of the set
		if err != nil {
			return nil
		}
		parts, err := addressplan.PartsOf(p)
		if err != nil || !parts.NAT64.IsValid() {
			return nil
		}
		g.Members = append(g.Members, gateway.Member{Name: h.ObjectName(), At: parts.NAT64})
		if h == host {
			g.Self = parts.NAT64
		}
	}
	return g
}

// Carriers are the prefixes that names lead to on a host: those of the Translation that names it, or else of the first by name that has a
// translator of its own. Servers with global addresses are seen by the first of its prefixes, or by all that the host found of a NAT64 of
// others; private ones by the first that may carry them (RFC 6052 3.1). none tells why there are none where a Translation speaks of them.
func Carriers(s v1alpha1.Set, host string, found []netip.Prefix) (out []dns64.Pref64, none dns64.Why) {
	var o *v1alpha1.Translation
	if h, ok := s.Host(host); ok {
		o = translationOf(s, h)
	}
	if o == nil {
		at := slices.IndexFunc(s.Translations, func(t *v1alpha1.Translation) bool { return t.Spec.Upstream == nil })
		if at < 0 {
			return nil, ""
		}
		o = s.Translations[at]
	}
	prefixes, all := bare(o.Spec.Prefixes), false
	if o.Spec.Upstream != nil && len(prefixes) == 0 {
		prefixes, all, none = found, true, dns64.NoUpstream
	}
	private := bare(o.Spec.Private)
	for i, p := range prefixes {
		x, err := xlat.NewPref64(p)
		if err != nil {
			continue // the Translation would have been refused
		}
		if i == 0 || all {
			out = append(out, dns64.Pref64{Pref64: x})
		}
		if len(private) > 0 && x != xlat.WellKnown {
			out = append(out, dns64.Pref64{Pref64: x, For: private})
			private = nil
		}
	}
	if len(out) > 0 {
		none = ""
	}
	return out, none
}

// Announced is what translators tell the routers of the fabric: prefixes that carry IPv4 addresses, and pools.
func Announced(s v1alpha1.Set) (list []netip.Prefix) {
	for _, t := range s.Translations {
		if t.Spec.Announce {
			list = append(list, bare(t.Spec.Prefixes)...)
			list = append(list, bare(t.Spec.Pool)...)
		}
	}
	return list
}

func bare(list []v1alpha1.Prefix) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, p.Prefix)
	}
	return out
}
