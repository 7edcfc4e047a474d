package policy

import (
	"slices"
	"strings"

	"hexapod.dev/model/identity"
)

// Judge answers a flow by reading every rule from the top: the slow twin of the Tables.
func (w *World) Judge(s *Subject, f Flow) Verdict {
	if f.Direction == Ingress && slices.Contains(s.Host, f.Other.Addr) {
		return Verdict{Accept, ByHost}
	}
	if v, decided := w.judgeTier(Admin, s, f); decided {
		return v
	}
	if v, decided := w.judgeTier(Namespace, s, f); decided {
		return v
	}
	if w.closed(s, f.Direction) {
		return Verdict{Deny, ByIsolation}
	}
	if v, decided := w.judgeTier(Baseline, s, f); decided {
		return v
	}
	if f.Direction == Egress || !w.CloseOutside || !w.outside(f.Other) {
		return Verdict{Accept, ByDefault}
	}
	for i := range w.Published {
		p := &w.Published[i]
		if w.selects(p.Subject, s.Set) && w.matches(&Rule{Ports: p.Ports}, s, f) {
			return Verdict{Accept, p.Name}
		}
	}
	return Verdict{Deny, ByOutside}
}

// Logs reports whether it is to be written down that a rule denied a flow of a subject: its policy says so or, where none of the rules
// matched, one of the policies that close the subject.
func (w *World) Logs(s *Subject, d Direction, rule string) bool {
	name, _, _ := strings.Cut(rule, ", ")
	return slices.ContainsFunc(w.Policies, func(p *Policy) bool {
		return p.Log && (p.Name == name || rule == ByIsolation && p.Tier == Namespace && p.Governs[d] && w.selects(p.Subject, s.Set))
	})
}

// judgeTier returns the verdict of the first rule of a tier that matches. A rule that passes decides nothing and ends the tier.
func (w *World) judgeTier(t Tier, s *Subject, f Flow) (Verdict, bool) {
	for _, p := range w.inOrder(t) {
		if !p.Governs[f.Direction] || !w.selects(p.Subject, s.Set) {
			continue
		}
		for i := range p.Rules[f.Direction] {
			r := &p.Rules[f.Direction][i]
			if w.matches(r, s, f) {
				return Verdict{r.Action, p.title(r)}, r.Action != Pass
			}
		}
	}
	return Verdict{}, false
}

// closed reports whether a policy of tier Namespace governs the direction of the subject.
func (w *World) closed(s *Subject, d Direction) bool {
	return slices.ContainsFunc(w.Policies, func(p *Policy) bool {
		return p.Tier == Namespace && p.Governs[d] && w.selects(p.Subject, s.Set)
	})
}

// matches reports whether a rule matches a flow. A name of a port belongs to the destination: the subject itself, or a peer that is known by
// its labels. Who is known by address alone has no names.
func (w *World) matches(r *Rule, s *Subject, f Flow) bool {
	named := func(p Port) bool {
		if r.Action == Deny && f.Direction == Egress && w.unknown(f.Other) {
			return p.Name != "" && p.Protocol == f.Protocol && w.somebodyCalls(p, f.Port, r.Peers)
		}
		return p.Name != "" && w.portMatches(p, s, f)
	}
	plain := func(p Port) bool { return p.Name == "" && w.portMatches(p, s, f) }
	if len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, plain) || f.Direction == Ingress && slices.ContainsFunc(r.Ports, named) {
		return w.peerMatches(r, r.Peers, f.Other)
	}
	if !slices.ContainsFunc(r.Ports, named) {
		return false
	}
	return len(r.Peers) == 0 || slices.ContainsFunc(r.Peers, func(p Peer) bool { return p.Workloads != nil && w.peerMatches(r, []Peer{p}, f.Other) })
}

// somebodyCalls reports whether an identity among peers has a name for a port.
func (w *World) somebodyCalls(p Port, port uint16, peers []Peer) bool {
	for n, set := range w.Identities {
		selects := func(q Peer) bool { return q.Workloads != nil && w.selects(*q.Workloads, set) }
		if slices.Contains(w.Named[n], NamedPort{p.Name, p.Protocol, port}) && (len(peers) == 0 || slices.ContainsFunc(peers, selects)) {
			return true
		}
	}
	return false
}

func (w *World) peerMatches(r *Rule, peers []Peer, o Other) bool {
	if len(peers) == 0 {
		return true
	}
	return slices.ContainsFunc(peers, func(p Peer) bool {
		switch {
		case p.Workloads != nil:
			set, known := w.Identities[o.Who.Number]
			return o.Who.By != identity.Outside && known && w.selects(*p.Workloads, set) || r.Action == Deny && w.unknown(o)
		case p.Hosts != nil:
			return slices.ContainsFunc(w.Hosts, func(h Host) bool { return p.Hosts.Matches(h.Labels) && slices.Contains(h.Addrs, o.Addr) })
		default:
			return slices.ContainsFunc(p.Networks, func(b Block) bool { return b.contains(o.Addr) })
		}
	})
}

func (w *World) portMatches(p Port, s *Subject, f Flow) bool {
	switch {
	case p.Protocol != f.Protocol:
		return false
	case p.Name == "":
		return p.First <= f.Port && f.Port <= p.Last
	case f.Direction == Ingress:
		return slices.Contains(s.Named, NamedPort{p.Name, p.Protocol, f.Port})
	}
	return f.Other.Who.By != identity.Outside && slices.Contains(w.Named[f.Other.Who.Number], NamedPort{p.Name, p.Protocol, f.Port})
}
