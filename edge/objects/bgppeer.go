package objects

import (
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/prefix"
)

// Speaker returns with whom a host speaks BGP and as whom. ok is false when no BGPPeer selects it: then it speaks with nobody.
// A host that announces a translation is one of several that go on for each other: what is led to it has to come to the others when it hangs.
// passwords are the contents of password files by their name in the configuration. m is the model of the same set.
func Speaker(s v1alpha1.Set, m Model, host string, passwords map[string]string) (sp announce.Speaker, ok bool, err error) {
	at := slices.IndexFunc(m.Plan.Hosts, func(h addressplan.Host) bool { return h.Name == host })
	if at < 0 || m.Plan.Hosts[at].Retired {
		return announce.Speaker{}, false, nil
	}
	h := m.Plan.Hosts[at]
	gateway := announcesTranslation(s, host)
	tor, own, asnErr := asnOf(m.Plan, h)
	for _, b := range s.BGPPeers {
		if !selects(s.Plan, b.Spec, h) {
			continue
		}
		p := peer(s, b, passwords[b.Spec.PasswordFile])
		if p.ASN == 0 {
			p.ASN = tor
		}
		if asnErr != nil && (p.ASN == 0 || p.LocalASN == 0 && sp.ASN == 0) {
			return announce.Speaker{}, false, fmt.Errorf("BGPPeer %s: %w; write spec.asn and spec.localASN", p.Name, asnErr)
		}
		p.Restart.Silence = gateway && !p.Restart.Off
		sp.Peers = append(sp.Peers, p)
		if sp.ASN == 0 {
			sp.ASN = own
		}
		if sp.ASN == 0 { // a host without a rack is called what its first peer wants it to be
			sp.ASN = p.LocalASN
		}
	}
	if len(sp.Peers) == 0 {
		return announce.Speaker{}, false, nil
	}
	if sp.RouterID, err = m.Plan.RouterIDOf(h); err != nil {
		return announce.Speaker{}, false, err
	}
	return sp, true, nil
}

// asnOf returns the AS numbers of the ToR and of the hosts of h's rack.
func asnOf(p addressplan.Plan, h addressplan.Host) (tor, hosts uint32, err error) {
	for _, c := range p.Clusters {
		for _, r := range c.Racks {
			if c.Name == h.Cluster && r.Name == h.Rack {
				return p.RackASN(c, r)
			}
		}
	}
	return 0, 0, fmt.Errorf("host %s is in no rack of the plan, which would give the AS numbers", h.Name)
}

// selects reports whether a BGPPeer is one of h's.
func selects(plan *v1alpha1.AddressPlan, s v1alpha1.BGPPeerSpec, h addressplan.Host) bool {
	if slices.Contains(s.Hosts, h.Name) {
		return true
	}
	if s.Cluster == "" && len(s.Racks) == 0 {
		return len(s.Hosts) == 0
	}
	c, ok := plan.Cluster(s.Cluster)
	if !ok || c.Name != h.Cluster {
		return false
	}
	if len(s.Racks) == 0 {
		return len(s.Hosts) == 0
	}
	return slices.ContainsFunc(s.Racks, func(ref v1alpha1.Ref) bool {
		r, ok := c.Rack(ref)
		return ok && r.Name == h.Rack
	})
}

func peer(s v1alpha1.Set, b *v1alpha1.BGPPeer, password string) announce.Peer {
	spec := b.Spec
	p := announce.Peer{
		Name: b.ObjectName(), Addr: spec.Address.Addr, Interface: spec.Interface, ASN: spec.ASN, LocalASN: spec.LocalASN,
		Password: password, GTSM: spec.GTSM, Passive: spec.Passive, MaxPrefixes: spec.MaxPrefixes,
		HoldSeconds: uint32(spec.HoldTime.Seconds()), KeepaliveSeconds: uint32(spec.Keepalive.Seconds()),
		Restart: announce.RestartTimes{Off: spec.GracefulRestart.Off, Seconds: uint32(spec.GracefulRestart.RestartTime.Seconds())},
		Terms:   announce.Terms{AllowDefault: spec.AllowDefault, Accept: accepted(s, spec)},
	}
	for _, c := range spec.Communities {
		switch n, ok := v1alpha1.ParseCommunity(c); {
		case ok && len(n) == 2:
			p.Communities = append(p.Communities, n[0]<<16|n[1])
		case ok:
			p.Large = append(p.Large, [3]uint32(n))
		}
	}
	if spec.BFD != nil {
		p.BFD = &announce.BFD{IntervalMillis: uint32(spec.BFD.Interval.Milliseconds()), Multiplier: spec.BFD.Multiplier}
	}
	return p
}

func accepted(s v1alpha1.Set, spec v1alpha1.BGPPeerSpec) []prefix.Match {
	if len(spec.Accept) > 0 {
		var out []prefix.Match
		for _, p := range spec.Accept {
			out = append(out, prefix.Within(p.Prefix))
		}
		return out
	}
	var others, pools []netip.Prefix
	for _, q := range s.Plan.Spec.Peers {
		others = append(others, q.Prefix.Prefix)
	}
	for _, q := range s.Pools {
		pools = append(pools, q.Spec.Prefix.Prefix)
	}
	return announce.DefaultAccept(s.Plan.Spec.Prefix.Prefix, others, pools)
}
