package objects

import (
	"net/netip"
	"slices"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/xlat/nat64"
)

// Translation returns how a host translates; nil: it does not.
func Translation(s v1alpha1.Set, m Model, host *v1alpha1.Host) *desired.Translation {
	at := slices.IndexFunc(s.Translations, func(t *v1alpha1.Translation) bool { return t.Translates(host) })
	if at < 0 {
		return nil
	}
	o := s.Translations[at]
	pool := nat64.Pool{}
	for _, h := range s.Hosts {
		if o.Translates(h) {
			pool.Gateways = append(pool.Gateways, h.ObjectName())
		}
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
			if owner, _ := pool.Owners(nat64.Block{Addr: a}); owner == host.ObjectName() {
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
