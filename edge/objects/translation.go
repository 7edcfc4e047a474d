package objects

import (
	"net/netip"
	"slices"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/xlat/nat64"
)

// Translation returns how a host translates; nil: it does not.
func Translation(s v1alpha1.Set, m Model, host string) *desired.Translation {
	at := slices.IndexFunc(s.Translations, func(t *v1alpha1.Translation) bool { return t.Translates(host) })
	if at < 0 {
		return nil
	}
	o := s.Translations[at]
	gateways := slices.DeleteFunc(slices.Clone(m.Plan.Hosts), func(h addressplan.Host) bool { return h.Retired || !o.Translates(h.Name) })
	pool := nat64.Pool{}
	for _, h := range gateways {
		pool.Gateways = append(pool.Gateways, h.Name)
	}
	t := &desired.Translation{
		Name: o.ObjectName(), Prefixes: bare(o.Spec.Prefixes), Clients: bare(o.Spec.Clients), Private: bare(o.Spec.Private),
		Blocks: int(o.Spec.Blocks), Bindings: int(o.Spec.Bindings),
	}
	if len(t.Clients) == 0 {
		t.Clients = []netip.Prefix{m.Plan.Prefix}
	}
	for _, p := range o.Spec.Pool {
		for a := p.Masked().Addr(); p.Contains(a); a = a.Next() {
			// Each address has one gateway: what comes to it from outside comes where its bindings are.
			if owner, _ := pool.Owners(nat64.Block{Addr: a}); owner == host {
				t.Pool = append(t.Pool, a)
			}
		}
	}
	return t
}

func bare(list []v1alpha1.Prefix) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, p.Prefix)
	}
	return out
}
