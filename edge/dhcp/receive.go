package dhcp

import (
	"net/netip"
	"slices"
	"time"
)

// hinted is how a client asks for a prefix of some length: zeros of that length (RFC 8415 18.2.1 and RFC 8168 3.1).
func hinted(bits int) netip.Prefix { return netip.PrefixFrom(netip.IPv6Unspecified(), bits) }

// receive takes an answer.
func (m *Machine) receive(now time.Time, r Message) {
	if !m.answers(r) {
		return
	}
	if r.SolMaxRT >= time.Minute && r.SolMaxRT <= 24*time.Hour { // RFC 8415 21.24: from 60 to 86400 seconds
		m.solMaxRT = r.SolMaxRT
	}
	if m.state == Soliciting {
		m.advertised(r)
		return
	}
	switch ia := m.association(r); {
	case r.Status != Success: // RFC 8415 18.2.10: go on asking
		m.refusal = r.Status
	case ia == nil:
	case ia.Status == NoBinding && m.state != Requesting: // RFC 8415 18.2.10.1: the server knows us no more: request what we have
		m.refusal = NoBinding
		m.offer = &Message{Server: r.Server, IA: &IA{ID: m.iaid, Prefixes: m.lease.asked()}}
		m.request()
	case ia.Status != Success:
		m.refusal = ia.Status
		if m.state == Requesting { // RFC 8415 18.2.10.1: another server may have one
			m.solicit(now)
		}
	default:
		m.replied(now, r, *ia)
	}
}

// association returns the IA_PD of an answer if it is ours and makes sense.
func (m *Machine) association(r Message) *IA {
	if r.IA == nil || r.IA.ID != m.iaid || r.IA.T1 > r.IA.T2 && r.IA.T2 > 0 { // RFC 8415 21.21: T1 after T2 is no IA_PD
		return nil
	}
	return r.IA
}

// advertised takes an offer. The best one is requested when the first timeout has passed, at once when nothing can be better
// (RFC 8415 18.2.9).
func (m *Machine) advertised(r Message) {
	ia := m.association(r)
	switch {
	case r.Status != Success:
		m.refusal = r.Status
		return
	case ia == nil || ia.Status != Success:
		if ia != nil {
			m.refusal = ia.Status
		}
		return
	case !slices.ContainsFunc(ia.Prefixes, usable):
		return
	}
	if m.offer == nil || r.Preference > m.offer.Preference {
		m.offer = &r
	}
	const best = 255
	if r.Preference == best || m.exchange.sent > 1 { // nobody answered the first: the next who does is taken
		m.request()
	}
}

// usable reports whether an offered prefix is one. RFC 8415 21.22: preferred longer than valid is to be ignored.
func usable(o Offer) bool {
	return o.Valid > 0 && o.Preferred <= o.Valid && o.Prefix.Bits() > 0 && o.Prefix.Addr().IsGlobalUnicast()
}

// replied takes what a server delegates (RFC 8415 18.2.10.1). What it does not mention stays as it is.
func (m *Machine) replied(now time.Time, r Message, ia IA) {
	held := slices.Clone(m.lease.Prefixes)
	taken, shortest := false, time.Duration(0)
	for _, o := range ia.Prefixes {
		o.Prefix = o.Prefix.Masked()
		at := slices.IndexFunc(held, func(d Delegation) bool { return d.Prefix == o.Prefix })
		switch {
		case usable(o):
			d := Delegation{Prefix: o.Prefix, Preferred: now.Add(o.Preferred), Valid: now.Add(o.Valid)}
			if at < 0 {
				held = append(held, d)
			} else {
				held[at] = d
			}
			if !taken || o.Preferred < shortest {
				shortest = o.Preferred
			}
			taken = true
		case o.Valid == 0 && at >= 0: // taken back: it is no part of the lease any more, but who lives in it goes on
			held[at].Withdrawn = true
			held[at].Preferred = now
		}
	}
	m.lease.Prefixes = held
	if !taken {
		if len(m.lease.asked()) == 0 {
			m.solicit(now)
		}
		return
	}
	m.refusal = Success
	m.lease.Server = r.Server
	t1, t2 := ia.T1, ia.T2
	if t2 == 0 { // RFC 8415 21.21: four fifths of the shortest preferred lifetime are recommended
		t2 = max(shortest/5*4, t1)
	}
	if t1 == 0 {
		t1 = min(shortest/2, t2)
	}
	m.lease.T1, m.lease.T2 = now.Add(max(t1, time.Second)), now.Add(max(t2, time.Second))
	m.enter(Bound)
}
