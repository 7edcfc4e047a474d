package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
)

// table is what all peers offer, judged. The server's events fill it, the caller of Learned empties its news.
type table struct {
	mu     sync.Mutex // guards all following fields
	rules  announce.Import
	terms  map[string]announce.Terms // by name of peer
	peers  map[netip.Addr]*heard     // by the address of the session
	routes map[netip.Prefix][]entry
	fresh  map[netip.Prefix]bool // may have other next hops than the caller knows
	groups map[string][]desired.NextHop
	late   bool                   // the time to settle is over
	ends   map[string]map[End]int // by name of peer
	told   bool                   // configure was called: who the peers are is known

	news chan struct{} // holds one word while fresh is not empty or the table settled
	over chan struct{} // holds one word after a peer offered too much
}

// heard is one peer as far as its session tells.
type heard struct {
	peer      announce.Peer
	addr      netip.Addr
	state     State
	since     time.Time
	session   uint32  // counts sessions
	ended     [2]bool // IPv4, IPv6: the peer said that it has told all (End-of-RIB, RFC 4724 section 2)
	accepted  int
	rejected  int
	lastError string
	silent    bool      // nothing was heard for the hold time, which ends the session
	notified  bool      // what it said is kept then, too: both sides set the N bit (RFC 8538 section 2)
	overSince time.Time // it offered more than it may; zero: it did not
	refused   bool      // it was told so
}

// entry is what one peer offers for one prefix.
type entry struct {
	from    *heard
	attrs   *attrs
	session uint32 // in which it was offered last: of an earlier one, it is kept until the peer comes back (RFC 4724 section 4.2)
	why     announce.Why
}

func newTable() *table {
	return &table{
		terms: map[string]announce.Terms{}, peers: map[netip.Addr]*heard{}, routes: map[netip.Prefix][]entry{},
		fresh: map[netip.Prefix]bool{}, groups: map[string][]desired.NextHop{}, ends: map[string]map[End]int{}, news: make(chan struct{}, 1), over: make(chan struct{}, 1),
	}
}

// configure takes the rules of want and judges everything anew if they changed.
func (t *table) configure(want Config) {
	rules := announce.Import{ASN: want.ASN, Own: want.own()}
	terms := make(map[string]announce.Terms, len(want.Peers))
	for _, p := range want.Peers {
		terms[p.Name] = p.Terms
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.told {
		t.told = true
		tell(t.news) // without peers that is all there is to wait for
	}
	if sameRules(t.rules, rules) && sameTerms(t.terms, terms) {
		return
	}
	t.rules, t.terms = rules, terms
	for p, list := range t.routes {
		for i := range list {
			e := &list[i]
			if why := t.judge(e.from, e.attrs, p); why != e.why {
				e.from.count(e.why, -1)
				e.from.count(why, 1)
				e.why = why
				t.renew(p)
			}
		}
	}
}

func sameRules(a, b announce.Import) bool {
	return a.ASN == b.ASN && slices.Equal(a.Own.Prefixes(), b.Own.Prefixes())
}

func sameTerms(a, b map[string]announce.Terms) bool {
	if len(a) != len(b) {
		return false
	}
	for name, x := range a {
		y, ok := b[name]
		if !ok || x.AllowDefault != y.AllowDefault || !slices.Equal(x.Accept, y.Accept) {
			return false
		}
	}
	return true
}

func (t *table) judge(from *heard, a *attrs, p netip.Prefix) announce.Why {
	rules := t.rules
	if from.peer.LocalASN != 0 {
		rules.ASN = from.peer.LocalASN
	}
	return rules.Decide(t.terms[from.peer.Name], a.offer(p))
}

func (h *heard) count(why announce.Why, n int) {
	if why == "" {
		h.accepted += n
	} else {
		h.rejected += n
	}
}

// offered takes what a peer says of a prefix. A peer that offers more than it may is not listened to until it may try again.
func (t *table) offered(h *heard, p netip.Prefix, a *attrs) {
	if !h.overSince.IsZero() {
		return
	}
	e := entry{from: h, attrs: a, session: h.session, why: t.judge(h, a, p)}
	h.count(e.why, 1)
	list := t.routes[p]
	if i := slices.IndexFunc(list, func(o entry) bool { return o.from == h }); i >= 0 {
		h.count(list[i].why, -1)
		if list[i].why == "" || e.why == "" {
			t.renew(p)
		}
		list[i] = e
		return
	}
	t.routes[p] = append(list, e)
	if e.why == "" {
		t.renew(p)
	}
	if most := h.peer.MaxPrefixes; most > 0 && h.accepted+h.rejected > int(most) {
		h.exceeded(time.Now())
		tell(t.over)
	}
}

// exceeded notes that a peer offered too much.
func (h *heard) exceeded(at time.Time) {
	h.overSince, h.refused = at, false
	h.lastError = fmt.Sprintf("it offered more than %d prefixes (maxPrefixes); the next attempt is at %s",
		h.peer.MaxPrefixes, at.Add(limitRest).UTC().Format(time.RFC3339))
}

// withdrawn forgets what a peer said of a prefix.
func (t *table) withdrawn(h *heard, p netip.Prefix) {
	list := t.routes[p]
	i := slices.IndexFunc(list, func(o entry) bool { return o.from == h })
	if i < 0 {
		return
	}
	h.count(list[i].why, -1)
	if list[i].why == "" {
		t.renew(p)
	}
	if len(list) == 1 {
		delete(t.routes, p)
		return
	}
	t.routes[p] = slices.Delete(list, i, i+1)
}

// drop forgets what is said by peers of which gone is true of an entry.
func (t *table) drop(gone func(netip.Prefix, entry) bool) {
	for p, list := range t.routes {
		for _, e := range slices.Clone(list) {
			if gone(p, e) {
				t.withdrawn(e.from, p)
			}
		}
	}
}

// renew notes that the next hops of p may have changed.
func (t *table) renew(p netip.Prefix) {
	t.fresh[p] = true
	tell(t.news)
}

// tell leaves a word for whoever waits at c.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// hops returns the next hops of p as they are now. Equal ones are one slice, so that the caller can tell routes that share them.
func (t *table) hops(p netip.Prefix) []desired.NextHop {
	list := t.routes[p]
	offers := make([]announce.Offer, 0, 2)
	for _, e := range list {
		if e.why == "" {
			offers = append(offers, e.attrs.offer(p))
		}
	}
	hops := announce.NextHops(offers)
	if len(hops) == 0 {
		return nil
	}
	key := make([]byte, 0, 32*len(hops))
	for _, h := range hops {
		key = append(append(h.Via.AppendTo(key), '%'), h.Link...)
	}
	if same, ok := t.groups[string(key)]; ok {
		return same
	}
	if len(t.groups) >= maxGroups { // only slices that are shared are lost with them
		clear(t.groups)
	}
	t.groups[string(key)] = hops
	return hops
}

// maxGroups bounds what is remembered of next hops.
const maxGroups = 4096

// Learned waits until routes changed since the last call and returns them, or until the speaker settled, and then returns none.
// One caller at a time; equal next hops are one slice.
func (s *Speaker) Learned(ctx context.Context) ([]announce.Learned, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.table.news:
	}
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]announce.Learned, 0, len(t.fresh))
	for p := range t.fresh {
		out = append(out, announce.Learned{Prefix: p, Hops: t.hops(p)})
	}
	t.fresh = map[netip.Prefix]bool{} // not cleared: after a full table the old map would keep its size
	return out, nil
}

// Routes returns all prefixes that are taken from peers, with their next hops.
func (s *Speaker) Routes() map[netip.Prefix][]desired.NextHop {
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[netip.Prefix][]desired.NextHop, len(t.routes))
	for p := range t.routes {
		if hops := t.hops(p); hops != nil {
			out[p] = hops
		}
	}
	return out
}

// Settled reports whether every peer has told all it has, or the time for that is over; before the first Reconcile nobody
// knows who the peers are. Until then routes that the kernel has
// of before may still be good, and only those that are learned anew should be changed (RFC 4724 section 4.1).
func (s *Speaker) Settled() bool {
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.settled()
}

func (t *table) settled() bool {
	if t.late {
		return true
	}
	if !t.told {
		return false
	}
	for name := range t.terms {
		if !slices.ContainsFunc(mapValues(t.peers), func(h *heard) bool { return h.peer.Name == name && h.ended[1] }) {
			return false
		}
	}
	return true
}

func mapValues(m map[netip.Addr]*heard) (out []*heard) {
	for _, h := range m {
		out = append(out, h)
	}
	return out
}

// settle ends the time to settle.
func (t *table) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late = true
	tell(t.news)
}

// forget drops all peers and what they said.
func (t *table) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(func(netip.Prefix, entry) bool { return true })
	clear(t.peers)
}

// add begins to listen to a peer.
func (t *table) add(p announce.Peer, addr netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.peers[addr] = &heard{peer: p, addr: addr, state: Idle, since: time.Now()}
}

// remove drops a peer and what it said.
func (t *table) remove(addr netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.peers[addr]
	if !ok {
		return
	}
	delete(t.peers, addr)
	t.drop(func(_ netip.Prefix, e entry) bool { return e.from == h })
}

// overSince returns the peers that offered too much before a time.
func (t *table) overSince(before time.Time) (out []netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for addr, h := range t.peers {
		if !h.overSince.IsZero() && h.overSince.Before(before) {
			h.overSince = time.Time{}
			out = append(out, addr)
		}
	}
	return out
}

// halfOpen returns the peers whose first session has begun to open, and since when it got no further.
func (t *table) halfOpen() map[netip.Addr]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[netip.Addr]time.Time{}
	for addr, h := range t.peers {
		if h.session == 0 && (h.state == OpenSent || h.state == OpenConfirm) {
			out[addr] = h.since
		}
	}
	return out
}

// overNow returns the peers that offered too much and were not told so yet.
func (t *table) overNow() (out []*heard) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.peers {
		if !h.overSince.IsZero() && !h.refused {
			h.refused = true
			out = append(out, h)
		}
	}
	return out
}

func (t *table) overLimit() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.peers {
		if !h.overSince.IsZero() {
			return true
		}
	}
	return false
}
