package nat64

import (
	"net/netip"
	"slices"

	"hexapod.dev/model/xlat"
)

// To4 maps a packet of an endpoint to the pool (RFC 6146 3.5). What is quoted by an ICMP error, and its fragments, follow the binding that is
// there; other packets make one.
func (t *Table) To4(q xlat.Query) (xlat.Ends, xlat.Why) {
	t.learn()
	switch {
	case q.Error:
		return t.error4(q)
	case q.Quoted: // it went to the endpoint, so the pool is its destination
		remote, why := t.extract(q.Ends.Src)
		i, ok := t.by6[key6{q.Ends.Dst.As16(), q.Ends.DstPort, q.Protocol}]
		if why == xlat.Translated && (!ok || !t.alive(i)) {
			why = xlat.NoMapping
		}
		if why != xlat.Translated {
			return xlat.Ends{}, why
		}
		four := t.bindings[i].four
		e := xlat.Ends{Src: remote, Dst: netip.AddrFrom4(four.addr), SrcPort: q.Ends.SrcPort, DstPort: four.port}
		return echoed(e, four.port, q.Protocol), xlat.Translated
	}
	remote, why := t.extract(q.Ends.Dst)
	switch {
	case why != xlat.Translated:
		return xlat.Ends{}, why
	case !t.mayHave(q.Ends.Src):
		return xlat.Ends{}, xlat.Forbidden
	case q.Protocol != tcp && q.Protocol != udp && q.Protocol != icmp:
		return xlat.Ends{}, xlat.NoMapping
	case q.Offset > 0:
		return t.rest(q)
	}
	i, s, why := t.admit6(q, remote)
	if why != xlat.Translated {
		return xlat.Ends{}, why
	}
	four := t.bindings[i].four
	e := xlat.Ends{Src: netip.AddrFrom4(four.addr), Dst: remote, SrcPort: four.port, DstPort: q.Ends.DstPort}
	t.first(q, e)
	t.hurry(i, s, q, q.Ends, e)
	return echoed(e, four.port, q.Protocol), xlat.Translated
}

// To6 maps a packet from outside to the endpoint that has the binding.
func (t *Table) To6(q xlat.Query) (xlat.Ends, xlat.Why) {
	t.learn()
	switch {
	case q.Error:
		return t.error6(q)
	case q.Quoted: // it came from the endpoint, so the pool is its source
		i, ok := t.by4[key4{q.Ends.Src.As4(), q.Ends.SrcPort, q.Protocol}]
		if !ok || !t.alive(i) {
			return xlat.Ends{}, xlat.NoMapping
		}
		six := t.bindings[i].six
		e := xlat.Ends{Src: netip.AddrFrom16(six.addr), Dst: t.embed(q.Ends.Dst), SrcPort: six.port, DstPort: q.Ends.DstPort}
		return echoed(e, six.port, q.Protocol), xlat.Translated
	case !t.mayCome(q.Ends.Src):
		return xlat.Ends{}, xlat.Forbidden
	case q.Offset > 0:
		return t.rest(q)
	}
	i, ok := t.by4[key4{q.Ends.Dst.As4(), q.Ends.DstPort, q.Protocol}]
	if !ok || !t.alive(i) {
		return xlat.Ends{}, xlat.NoMapping
	}
	six := t.bindings[i].six
	var s *session
	if q.Protocol != tcp {
		t.refresh(i, q.Protocol)
	} else {
		var why xlat.Why
		if s, why = t.segment(i, q.Ends.Src.As4(), q.Ends.SrcPort, eventOf(q.Payload, true)); why != xlat.Translated {
			return xlat.Ends{}, why
		}
	}
	e := xlat.Ends{Src: t.embed(q.Ends.Src), Dst: netip.AddrFrom16(six.addr), SrcPort: q.Ends.SrcPort, DstPort: six.port}
	t.first(q, e)
	t.hurry(i, s, q, turned(e), turned(q.Ends))
	return echoed(e, six.port, q.Protocol), xlat.Translated
}

func turned(e xlat.Ends) xlat.Ends {
	return xlat.Ends{Src: e.Dst, Dst: e.Src, SrcPort: e.DstPort, DstPort: e.SrcPort}
}

// hurry lets the fast path have the flow of a packet that was just mapped. Ends are those of packets from the endpoint, before and after.
func (t *Table) hurry(i uint32, s *session, q xlat.Query, six, four xlat.Ends) {
	if t.c.Fast == nil || q.More || q.Protocol == tcp && (s == nil || s.fast != 0) {
		return
	}
	t.c.Fast.add(t, i, six, four, t.embed(four.Dst), q.Protocol, s)
}

// echoed gives both ports of an ICMP query its identifier: it has but one.
func echoed(e xlat.Ends, id uint16, protocol uint8) xlat.Ends {
	if protocol == icmp {
		e.SrcPort, e.DstPort = id, id
	}
	return e
}

// admit6 finds or makes the binding of a packet from an endpoint, and keeps it alive.
func (t *Table) admit6(q xlat.Query, remote netip.Addr) (i uint32, s *session, why xlat.Why) {
	if q.Protocol != tcp {
		if i, why = t.outbound(q.Ends.Src, q.Ends.SrcPort, q.Protocol); why == xlat.Translated {
			t.refresh(i, q.Protocol)
		}
		return i, nil, why
	}
	event := eventOf(q.Payload, false)
	i, known := t.by6[key6{q.Ends.Src.As16(), q.Ends.SrcPort, tcp}]
	if event != SYN6 && (!known || !t.alive(i)) {
		return 0, nil, xlat.NoMapping // only a SYN begins anything (RFC 6146 3.5.2.2, CLOSED)
	}
	if i, why = t.outbound(q.Ends.Src, q.Ends.SrcPort, tcp); why == xlat.Translated {
		s, why = t.segment(i, remote.As4(), q.Ends.DstPort, event)
	}
	return i, s, why
}

// refresh keeps a UDP or ICMP binding alive. Errors never come here: they refresh nothing (RFC 5508 REQ-5).
func (t *Table) refresh(i uint32, protocol uint8) {
	t.bindings[i].expires = t.now + t.c.Times.of(protocol)
}

// segment lets a TCP segment act on its session, and returns the session if there is one.
func (t *Table) segment(i uint32, addr [4]byte, port uint16, e Event) (*session, xlat.Why) {
	k := sessionKey{i, addr, port}
	s := t.sessions[k]
	if s != nil && t.isOver(s) {
		t.bindings[i].sessions++ // the segment holds the binding, whatever ends now
		t.silent(k, s)
		t.bindings[i].sessions--
		s = t.sessions[k]
	}
	switch {
	case s != nil:
	case e == SYN6 || e == SYN4 && t.bindings[i].sessions > 0:
		s = t.begin(k, Closed)
	case t.bindings[i].expires > t.now: // it was here before this process, its sessions are not known any more
		s = t.begin(k, Established)
	case t.bindings[i].sessions == 0: // its last session just ended, and nobody inside asks for another
		t.remove(i)
		return nil, xlat.NoMapping
	default:
		return nil, xlat.Translated // by the binding, and it makes nothing (RFC 6146 3.5.2.2, CLOSED)
	}
	t.step(s, e)
	return s, xlat.Translated
}

func (t *Table) begin(k sessionKey, state State) *session {
	s := &session{own: life(state, t.now+t.c.Times.TCPTrans)}
	t.sessions[k] = s
	t.bindings[k.binding].sessions++
	return s
}

func (t *Table) isOver(s *session) bool {
	_, expires := t.look(s)
	return expires <= t.now
}

// silent is the time-out of a session.
func (t *Table) silent(k sessionKey, s *session) {
	switch t.step(s, Timeout) {
	case gone:
		if s.fast != 0 {
			t.c.Fast.drop(t, s.fast-1)
		}
		delete(t.sessions, k)
		if t.bindings[k.binding].sessions--; t.bindings[k.binding].sessions == 0 {
			t.remove(k.binding)
		}
	case probe:
		if t.Probe != nil {
			six := t.bindings[k.binding].six
			t.Probe(netip.AddrPortFrom(netip.AddrFrom16(six.addr), six.port), netip.AddrPortFrom(t.embed(netip.AddrFrom4(k.addr)), k.port))
		}
	}
}

// Merge learns what passed by the fast path. It is called every second: until then the packets of the last one count for nothing.
func (t *Table) Merge() {
	if t.c.Fast != nil {
		t.learn()
		t.c.Fast.allow(t)
		t.c.Fast.merge(t)
	}
}

// Expire ends everything whose time is over.
func (t *Table) Expire() {
	t.Merge()
	for k, s := range t.sessions {
		if t.isOver(s) {
			t.silent(k, s)
		}
	}
	for i := range t.bindings {
		if b := &t.bindings[i]; b.six != (key6{}) && !t.alive(uint32(i)) {
			t.remove(uint32(i))
		}
	}
	t.forget()
}

// error4 maps the outside of an ICMP error that an endpoint or a router on its way sends out. An endpoint keeps the address of the
// binding it is about; a router has none and speaks with the gateway's (RFC 6146 3.5.3, RFC 7915 6).
func (t *Table) error4(q xlat.Query) (xlat.Ends, xlat.Why) {
	inner, ok := q.Inner()
	if !ok {
		return xlat.Ends{}, xlat.Malformed
	}
	e, why := t.To4(inner)
	if why != xlat.Translated {
		return xlat.Ends{}, why
	}
	out := xlat.Ends{Src: t.c.Self4, Dst: e.Src}
	if q.Ends.Src == inner.Ends.Dst {
		out.Src = e.Dst
	}
	return out, xlat.Translated
}

// error6 maps the outside of an ICMP error to the endpoint whose packet it quotes.
func (t *Table) error6(q xlat.Query) (xlat.Ends, xlat.Why) {
	inner, ok := q.Inner()
	if !ok {
		return xlat.Ends{}, xlat.Malformed
	}
	e, why := t.To6(inner)
	if why != xlat.Translated {
		return xlat.Ends{}, why
	}
	if inner.Ends.Src != q.Ends.Dst {
		return xlat.Ends{}, xlat.NoMapping // it quotes somebody else's packet
	}
	return xlat.Ends{Src: t.embed(q.Ends.Src), Dst: e.Src}, xlat.Translated
}

// extract returns the server that a destination carries.
func (t *Table) extract(a netip.Addr) (netip.Addr, xlat.Why) {
	for _, p := range t.c.Prefixes {
		if four, ok := p.Extract(a); ok {
			if !p.May(four) || !t.mayReach(four) {
				return netip.Addr{}, xlat.Forbidden
			}
			return four, xlat.Translated
		}
	}
	return netip.Addr{}, xlat.NoMapping
}

// embed returns a server's address in the first prefix, by which endpoints know it.
func (t *Table) embed(a netip.Addr) netip.Addr { return t.c.Prefixes[0].Embed(a) }

// mayHave reports whether an address can have bindings: not one that carries an IPv4 address itself, which would loop (RFC 6146 3.5), and
// none that is no endpoint's.
func (t *Table) mayHave(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range t.c.Prefixes {
		if p.Prefix().Contains(a) {
			return false
		}
	}
	return len(t.c.Clients) == 0 || slices.ContainsFunc(t.c.Clients, func(p netip.Prefix) bool { return p.Contains(a) })
}

// mayReach reports whether endpoints may talk to an IPv4 address at all: a private one only if it was named.
func (t *Table) mayReach(a netip.Addr) bool {
	return xlat.Global(a) || slices.ContainsFunc(t.c.Private, func(p netip.Prefix) bool { return p.Contains(a) })
}

// mayCome reports whether an IPv4 source can be shown to endpoints.
func (t *Table) mayCome(a netip.Addr) bool { return t.c.Prefixes[0].May(a) && t.mayReach(a) }
