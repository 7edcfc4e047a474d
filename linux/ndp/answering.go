package ndp

import (
	"bytes"
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Answer is one address of this host that neighbours on a link look for there.
type Answer struct {
	Addr netip.Addr
	// Shared says that others have addresses in the same prefix: before its first use Ensure looks whether somebody has it.
	Shared bool
}

// Conflict is an address of ours that somebody else says to have.
type Conflict struct {
	Link  string
	Addr  netip.Addr
	MAC   MAC       // of the other
	When  time.Time // the last time it was heard
	Times int
}

// Times and rates of RFC 4861 10 and RFC 4862 5.1.
const (
	retransTimer   = time.Second // RetransTimer: between announcements, and how long a probe waits for an objection
	announcements  = 3           // MAX_NEIGHBOR_ADVERTISEMENT
	announceRate   = 1000        // unsolicited advertisements a second on one link
	announceBurst  = 256
	replyRate      = 10000 // answers a second on one link
	replyBurst     = 1000
	conflictMemory = 10 * time.Minute
	maxConflicts   = 256 // remembered per link
)

// answering is the machine that answers for addresses on one link.
type answering struct {
	link     string
	mac      MAC
	entries  map[netip.Addr]*entry
	fresh    []announcement // due at once
	repeats  []announcement // in order of time
	probes   []netip.Addr   // in order of time
	announce bucket
	reply    bucket

	conflicts map[netip.Addr]Conflict
	answered  uint64
	defended  uint64
	changed   func()           // called when conflicts change
	release   func(netip.Addr) // called when an address is no longer answered for
}

type entry struct {
	answer Answer
	probe  *probe // nil: in use
	round  int    // announcements of an older round are void
}

// probe is a running duplicate address detection (RFC 4862 5.4).
type probe struct {
	nonce []byte
	sent  bool
	due   time.Time // when it is over without an objection
	done  []chan<- error
}

type announcement struct {
	addr  netip.Addr
	round int
	left  int
	due   time.Time
}

func newAnswering(link string, mac MAC, changed func(), release func(netip.Addr)) *answering {
	return &answering{
		link: link, mac: mac, changed: changed, release: release, entries: map[netip.Addr]*entry{}, conflicts: map[netip.Addr]Conflict{},
		announce: newBucket(announceRate, announceBurst), reply: newBucket(replyRate, replyBurst),
	}
}

// use begins to answer for a, and announces it.
func (m *answering) use(a Answer) {
	e := &entry{answer: a}
	m.entries[a.Addr] = e
	m.tell(e)
}

// tell announces an address that is in use (RFC 4861 7.2.6).
func (m *answering) tell(e *entry) {
	e.round++
	m.fresh = append(m.fresh, announcement{addr: e.answer.Addr, round: e.round, left: announcements})
}

// tellAll announces all addresses again: the host has moved to another port of a switch, or has another MAC.
func (m *answering) tellAll() {
	for _, e := range m.entries {
		if e.probe == nil {
			m.tell(e)
		}
	}
}

// try begins to look whether somebody has a. done gets nil, or a *DuplicateError.
func (m *answering) try(a Answer, nonce []byte, done chan<- error) {
	m.entries[a.Addr] = &entry{answer: a, probe: &probe{nonce: nonce, done: []chan<- error{done}}}
	m.probes = append(m.probes, a.Addr)
}

// errGone ends the wait for a probe that will not be finished.
var errGone = errors.New("the look for duplicates was given up: the address or the link is no longer wanted")

// forget ends answering for addr. A missing one is nothing.
func (m *answering) forget(addr netip.Addr) {
	e := m.entries[addr]
	if e == nil {
		return
	}
	m.drop(e, errGone)
	if _, known := m.conflicts[addr]; known {
		delete(m.conflicts, addr)
		m.changed()
	}
}

func (m *answering) hear(p Packet, now time.Time) []Packet {
	if p.SrcMAC == m.mac {
		return nil // our own, sent back by a switch
	}
	switch msg := p.Message.(type) {
	case *Solicitation:
		return m.solicited(p, msg, now)
	case *Advertisement:
		m.advertised(p, msg, now)
	}
	return nil
}

// solicited answers a solicitation (RFC 4861 7.2.4). The answer comes from the target itself, as the owner's would: it needs no
// address on the link, and fits what switches know that bind addresses to ports.
func (m *answering) solicited(p Packet, s *Solicitation, now time.Time) []Packet {
	e := m.entries[s.Target]
	switch {
	case e == nil:
		return nil
	case e.probe != nil:
		// RFC 4862 5.4.3: who asks from the unspecified address wants the same address; all others only look for it.
		if p.Src == anywhere && !bytes.Equal(s.Nonce, e.probe.nonce) { // RFC 7527 4.1
			m.refuse(e, p.SrcMAC)
		}
		return nil
	case !m.reply.take(now):
		return nil
	case p.Src == anywhere:
		m.defended++
		return []Packet{m.advertisement(s.Target)} // RFC 4862 5.4.4 makes the other one give up
	}
	to := s.MAC
	if to == (MAC{}) { // allowed in unicast ones (RFC 4861 4.3)
		to = p.SrcMAC
	}
	m.answered++
	return []Packet{{
		Src: s.Target, Dst: p.Src, SrcMAC: m.mac, DstMAC: to,
		Message: &Advertisement{Target: s.Target, Solicited: true, Override: true, MAC: m.mac},
	}}
}

// advertisement is the unsolicited one, to all nodes. Override is set (RFC 4861 7.2.4): no other node of the link has the address,
// so 7.2.8, for those who stand in for a node that may speak itself, does not apply, and neighbours of a host that had the
// address before learn the new MAC at once. Router is not set: an endpoint is nobody's default router.
func (m *answering) advertisement(target netip.Addr) Packet {
	return Packet{
		Src: target, Dst: allNodes, SrcMAC: m.mac, DstMAC: groupMAC(allNodes),
		Message: &Advertisement{Target: target, Override: true, MAC: m.mac},
	}
}

// advertised notes that somebody else says to have an address of ours.
func (m *answering) advertised(p Packet, a *Advertisement, now time.Time) {
	e := m.entries[a.Target]
	if e == nil || a.MAC == m.mac {
		return
	}
	other := a.MAC
	if other == (MAC{}) {
		other = p.SrcMAC
	}
	if e.probe != nil {
		m.refuse(e, other)
		return
	}
	m.conflict(a.Target, other, now)
}

// conflict remembers who else says to have addr. Nothing is sent: two hosts that answer each other's claims would never end, and
// who took the address over on purpose is right. Of two that announce at the same time the one that began last has the last word.
func (m *answering) conflict(addr netip.Addr, mac MAC, now time.Time) {
	c, known := m.conflicts[addr]
	if !known && len(m.conflicts) >= maxConflicts {
		return
	}
	m.conflicts[addr] = Conflict{Link: m.link, Addr: addr, MAC: mac, When: now, Times: c.Times + 1}
	if !known || c.MAC != mac {
		m.changed()
	}
}

// refuse ends a probe: mac has the address.
func (m *answering) refuse(e *entry, mac MAC) {
	m.drop(e, &DuplicateError{Link: m.link, Addr: e.answer.Addr, MAC: mac})
}

// drop forgets an entry; who waits for it gets err.
func (m *answering) drop(e *entry, err error) {
	delete(m.entries, e.answer.Addr)
	m.release(e.answer.Addr)
	e.probe.end(err)
}

func (m *answering) stop() {
	for _, e := range m.entries {
		m.drop(e, errGone)
	}
}

// end tells those who wait. A nil probe has none.
func (p *probe) end(err error) {
	if p == nil {
		return
	}
	for _, d := range p.done {
		d <- err
	}
}

func (m *answering) tick(now time.Time) (send []Packet, next time.Time) {
	send, next = m.tickProbes(now)
	more, later := m.tickAnnouncements(now)
	for addr, c := range m.conflicts {
		end := c.When.Add(conflictMemory)
		if !now.Before(end) {
			delete(m.conflicts, addr)
			m.changed()
			continue
		}
		later = earlier(later, end)
	}
	return append(send, more...), earlier(next, later)
}

// tickProbes sends the probes of RFC 4862 5.4.2, one for each address, and ends those that nobody objected to.
func (m *answering) tickProbes(now time.Time) (send []Packet, next time.Time) {
	m.probes = slices.DeleteFunc(m.probes, func(addr netip.Addr) bool {
		e := m.entries[addr]
		switch {
		case e == nil || e.probe == nil:
			return true
		case !e.probe.sent:
			e.probe.sent, e.probe.due = true, now.Add(retransTimer)
			send = append(send, m.question(addr, e.probe.nonce))
		case !now.Before(e.probe.due):
			waiting := e.probe
			e.probe = nil
			m.tell(e)
			waiting.end(nil)
			return true
		}
		next = earlier(next, e.probe.due)
		return false
	})
	return send, next
}

func (m *answering) question(addr netip.Addr, nonce []byte) Packet {
	group := Group(addr)
	return Packet{Src: anywhere, Dst: group, SrcMAC: m.mac, DstMAC: groupMAC(group), Message: &Solicitation{Target: addr, Nonce: nonce}}
}

func (m *answering) tickAnnouncements(now time.Time) (send []Packet, next time.Time) {
	due := func() *[]announcement {
		switch {
		case len(m.fresh) > 0:
			return &m.fresh
		case len(m.repeats) > 0 && !now.Before(m.repeats[0].due):
			return &m.repeats
		}
		return nil
	}
	for queue := due(); queue != nil; queue = due() {
		a := (*queue)[0]
		e := m.entries[a.addr]
		if e == nil || e.round != a.round { // gone, or announced anew since
			*queue = (*queue)[1:]
			continue
		}
		if !m.announce.take(now) {
			return send, m.announce.ready(now)
		}
		*queue = (*queue)[1:]
		send = append(send, m.advertisement(a.addr))
		if a.left--; a.left > 0 {
			a.due = now.Add(retransTimer)
			m.repeats = append(m.repeats, a)
		}
	}
	if len(m.repeats) > 0 {
		next = m.repeats[0].due
	}
	return send, next
}

// earlier returns the earlier of two times; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// list returns the conflicts, sorted by address.
func (m *answering) list() []Conflict {
	list := make([]Conflict, 0, len(m.conflicts))
	for _, c := range m.conflicts {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Conflict) int { return cmp.Or(a.Addr.Compare(b.Addr), bytes.Compare(a.MAC[:], b.MAC[:])) })
	return list
}
