package ndp

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"

	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// RouterLink says what Routers does on a link.
type RouterLink struct {
	// Advertise lets the router at the other end find this host: advertisements with lifetime 0, without prefix and MTU. It is for
	// cables with one other end; without it the link is only listened to.
	Advertise bool
	// RouterPeer says that the one neighbour may call itself a default router, as FRR does on its unnumbered links, if it takes BGP
	// connections: that it is asked first. A router of a LAN refuses them. It does not allow a second neighbour.
	RouterPeer bool
	// Password is that of BGP with this neighbour (RFC 2385); empty: none is known.
	Password string
	// Cable says that the link is known to be a cable between two routers: nothing is listened for before the first advertisement.
	Cable bool
	// Pref64 are prefixes for NAT64 that are told to everybody on the link (RFC 8781), beside other routers and any number of neighbours.
	Pref64 []netip.Prefix
	// Over are those that were told before: that they are not to be used any more is told, too (lifetime 0, RFC 8781 4.1).
	Over []netip.Prefix
	// Ask has routers asked for advertisements when the link comes up, until one tells a prefix for NAT64.
	Ask bool
}

func (l RouterLink) equal(o RouterLink) bool {
	return l.Advertise == o.Advertise && l.RouterPeer == o.RouterPeer && l.Password == o.Password && l.Cable == o.Cable && l.Ask == o.Ask &&
		slices.Equal(l.Pref64, o.Pref64) && slices.Equal(l.Over, o.Over)
}

// tellsPref64 reports whether the link has something to say of NAT64.
func (l RouterLink) tellsPref64() bool { return len(l.Pref64)+len(l.Over) > 0 }

// Why nothing is advertised on a link that asks for it.
const (
	Listening      desired.Why = "listening first, whether a router or a second neighbour is there"
	OtherRouter    desired.Why = "another router calls itself a default router there"
	AskingRouter   desired.Why = "asking the default router there whether it speaks BGP"
	NotOfFabric    desired.Why = "the default router there takes no BGP connection from this host, so it is none of the fabric"
	ManyNeighbours desired.Why = "more than one neighbour is there; router advertisements are for cables with one other end"
	NoLinkLocal    desired.Why = "the link has no usable link-local address"
)

// Router is a router that was heard on a link.
type Router struct {
	Addr     netip.Addr // link-local
	MAC      MAC
	Lifetime time.Duration // as default router, of its last advertisement
	Heard    time.Time
	Prefixes []PrefixInformation
}

// Delegates reports whether the router asks hosts to get a prefix of their own by DHCPv6 (RFC 9762 6).
func (r Router) Delegates() bool {
	return slices.ContainsFunc(r.Prefixes, func(p PrefixInformation) bool { return p.Delegate && p.Preferred > 0 })
}

// Times. Those of RFC 4861 6.2.4, 6.2.6 and 6.3.7 keep its names; the interval is that of FRR and of BIRD's fast links.
const (
	maxInterval    = 10 * time.Second                        // MaxRtrAdvInterval
	minInterval    = maxInterval / 3                         // MinRtrAdvInterval
	replyDelay     = 500 * time.Millisecond                  // MAX_RA_DELAY_TIME
	pref64Lifetime = 3 * maxInterval                         // RFC 8781 4.1
	betweenGroup   = 3 * time.Second                         // MIN_DELAY_BETWEEN_RAS
	askDelay       = time.Second                             // MAX_RTR_SOLICITATION_DELAY
	askInterval    = 4 * time.Second                         // RTR_SOLICITATION_INTERVAL
	askTimes       = 3                                       // MAX_RTR_SOLICITATIONS
	listenFirst    = betweenGroup + replyDelay + time.Second // for a router that has much to do
	listenPeer     = time.Second
	idleBeforeTest = 5 * time.Second  // a silent neighbour is asked whether it is there
	testTimes      = 3                // MAX_UNICAST_SOLICIT
	quietRouter    = 30 * time.Minute // where we do not ask: three of the longest intervals of RFC 4861 6.2.1
	maxNeighbours  = 16               // one is too many already
)

// discovery is the machine that finds routers on one link and lets itself be found.
type discovery struct {
	want   RouterLink
	mac    MAC
	local  netip.Addr // own link-local address; invalid: none
	random func() float64
	link   rtnl.Link
	knock  func(knock) bool // asks a router whether it speaks BGP; the answer comes to answered. False: not now

	began      time.Time // listening; zero until the first tick
	asked      int
	nextAsk    time.Time
	nextRA     time.Time
	reply      *neighbour
	replyDue   time.Time
	neighbours map[MAC]*neighbour
	pref64     told
	why        desired.Why // as told last
	changed    func()
}

// neighbour is another node on the link.
type neighbour struct {
	mac    MAC
	addr   netip.Addr
	heard  time.Time
	tested int       // solicitations without an answer
	test   time.Time // of the next one
	gone   bool      // it does not answer; kept while its lifetime as a router lasts
	router *Router

	speaks   bool      // it takes BGP connections
	knocking bool      // that is being asked
	knocked  int       // how often it was asked in vain
	ask      time.Time // again
}

func newDiscovery(l rtnl.Link, random func() float64, changed func(), knock func(knock) bool) *discovery {
	return &discovery{mac: l.MAC, link: l, random: random, changed: changed, knock: knock, neighbours: map[MAC]*neighbour{}}
}

// begin starts anew: somebody plugged the cable, and there may be another neighbour at its other end.
func (m *discovery) begin() {
	m.listen()
	clear(m.neighbours)
	m.pref64.doubtful = true
	m.changed()
}

// listen begins to listen before the next advertisement.
func (m *discovery) listen() { m.began, m.asked, m.reply = time.Time{}, 0, nil }

// verdict tells why nothing is advertised now; empty when it is.
func (m *discovery) verdict(now time.Time) desired.Why {
	present := 0
	var router *neighbour // that calls itself a default router, one that does not speak BGP before one that does
	for _, n := range m.neighbours {
		if !n.gone {
			present++
		}
		if n.router != nil && n.router.Lifetime > 0 && (router == nil || !n.speaks) {
			router = n
		}
	}
	switch {
	case !m.local.IsValid():
		return NoLinkLocal
	case m.want.tellsPref64(): // lifetime 0 as a router: nobody counts on this host for more than it says
		return ""
	case present > 1:
		return ManyNeighbours
	case router != nil && !m.want.RouterPeer:
		return OtherRouter
	case router != nil && !m.want.Cable && !router.speaks && router.knocked == 0:
		return AskingRouter
	case router != nil && !m.want.Cable && !router.speaks:
		return NotOfFabric
	case m.began.IsZero() || now.Before(m.began.Add(m.listening())):
		return Listening
	}
	return ""
}

// listening is how long to listen first. A router answers within listenFirst, as it may have just advertised (RFC 4861 6.2.6).
// Where one is expected and has been heard, a second is enough to notice another node beside it.
func (m *discovery) listening() time.Duration {
	if m.want.Cable {
		return 0
	}
	if m.want.RouterPeer && m.knowsRouter() {
		return listenPeer
	}
	return listenFirst
}

func (m *discovery) hear(p Packet, now time.Time) []Packet {
	if p.SrcMAC == m.mac || p.Src == anywhere {
		return nil // our own sent back; or one that has no address yet and will speak again
	}
	router, isRouter := p.Message.(*RouterAdvertisement)
	if isRouter && m.pref64.hear(p.Src, router.Pref64, now) {
		m.changed()
	}
	n := m.neighbours[p.SrcMAC]
	isNew := n == nil
	if isNew {
		if len(m.neighbours) >= maxNeighbours && !(isRouter && m.makeRoom()) {
			return nil
		}
		n = &neighbour{mac: p.SrcMAC}
		m.neighbours[p.SrcMAC] = n
		m.changed()
	}
	if isLinkLocal(p.Src) || !n.addr.IsValid() {
		n.addr = p.Src
	}
	n.heard, n.tested, n.gone = now, 0, false
	if isNew { // asked soon, so that it knows of this host before it has listened long enough
		n.heard = now.Add(replyDelay - idleBeforeTest)
	}
	switch msg := p.Message.(type) {
	case *RouterAdvertisement:
		m.advertised(n, p, msg, now)
	case *RouterSolicitation:
		if m.want.Advertise && m.reply == nil {
			// RFC 4861 6.2.6: after a random time, so that routers do not all speak at once.
			m.reply, m.replyDue = n, now.Add(time.Duration(m.random()*float64(replyDelay)))
		}
	}
	return nil
}

// makeRoom forgets a neighbour that is no router: on a full link routers are heard all the same. There are too many either way.
func (m *discovery) makeRoom() bool {
	for mac, n := range m.neighbours {
		if n.router == nil {
			delete(m.neighbours, mac)
			return true
		}
	}
	return false
}

func (m *discovery) advertised(n *neighbour, p Packet, a *RouterAdvertisement, now time.Time) {
	before := n.router
	n.router = &Router{Addr: p.Src, MAC: n.mac, Lifetime: a.Lifetime, Heard: now, Prefixes: a.Prefixes}
	if before == nil || before.Addr != p.Src || before.Lifetime != a.Lifetime || !slices.Equal(before.Prefixes, a.Prefixes) {
		m.changed()
	}
}

func (m *discovery) tick(now time.Time) (send []Packet, next time.Time) {
	if m.began.IsZero() && m.local.IsValid() { // without an address of its own it could not have asked
		m.began, m.nextAsk, m.nextRA = now, now, now
		if !m.want.Advertise { // RFC 4861 6.3.7; on a cable there is nobody else who starts at the same time
			m.nextAsk = now.Add(time.Duration(m.random() * float64(askDelay)))
		}
	}
	send, next = m.tickNeighbours(now)
	over, changed := m.pref64.tick(now)
	if next = earlier(next, over); changed {
		m.changed()
	}
	if m.want.Advertise || m.want.Ask {
		// Once also where the router is known: it is how another host that listens as this one does hears of it.
		enough := m.want.Advertise && m.knowsRouter() || m.want.Ask && len(m.pref64.list) > 0
		more, later := m.tickAsk(now, enough)
		send, next = append(send, more...), earlier(next, later)
	}
	if m.want.Advertise {
		next = earlier(next, m.tickKnock(now))
		more, later := m.tickAdvertise(now)
		send, next = append(send, more...), earlier(next, later)
	}
	if why := m.verdict(now); why != m.why {
		m.why = why
		m.changed()
	}
	return send, next
}

// tickAsk asks for advertisements, at least once, and a few times until there is enough.
func (m *discovery) tickAsk(now time.Time, enough bool) (send []Packet, next time.Time) {
	if !m.local.IsValid() || m.asked == askTimes || m.asked > 0 && enough {
		return nil, next
	}
	if !now.Before(m.nextAsk) {
		m.asked, m.nextAsk = m.asked+1, now.Add(askInterval)
		send = append(send, m.packet(allRouters, groupMAC(allRouters), &RouterSolicitation{MAC: m.mac}))
	}
	if m.asked < askTimes {
		next = m.nextAsk
	}
	return send, next
}

// tickAdvertise advertises, if the link allows it.
func (m *discovery) tickAdvertise(now time.Time) (send []Packet, next time.Time) {
	switch m.verdict(now) {
	case "":
	case Listening:
		return send, earlier(next, m.began.Add(m.listening()))
	default: // packets and neighbours that end change that
		m.reply = nil
		return send, next
	}
	if m.reply != nil && !now.Before(m.replyDue) {
		send = append(send, m.packet(m.reply.addr, m.reply.mac, m.advertisement()))
		m.reply = nil
	}
	if !now.Before(m.nextRA) {
		send = append(send, m.packet(allNodes, groupMAC(allNodes), m.advertisement()))
		m.nextRA = now.Add(minInterval + time.Duration(m.random()*float64(maxInterval-minInterval)))
	}
	if m.reply != nil {
		next = earlier(next, m.replyDue)
	}
	return send, earlier(next, m.nextRA)
}

// tickKnock asks the one neighbour whether it speaks BGP, where it may call itself a default router and does.
func (m *discovery) tickKnock(now time.Time) (next time.Time) {
	if why := m.verdict(now); why != AskingRouter && why != NotOfFabric {
		return next
	}
	for _, n := range m.neighbours {
		switch {
		case n.gone || n.router == nil || n.router.Lifetime == 0 || n.speaks || n.knocking:
		case now.Before(n.ask):
			next = earlier(next, n.ask)
		default:
			n.knocking = m.knock(knock{link: m.link, local: m.local, peer: n.router.Addr, mac: n.mac, password: m.want.Password})
			if !n.knocking {
				n.ask = now.Add(knockSoon)
				next = earlier(next, n.ask)
			}
		}
	}
	return next
}

// answered takes the answer of a router that was asked. One that takes connections is of the fabric for as long as it is there.
func (m *discovery) answered(mac MAC, addr netip.Addr, speaks bool, now time.Time) {
	n := m.neighbours[mac]
	if n == nil {
		return
	}
	n.knocking = false
	if n.router == nil || n.router.Addr != addr {
		return // it has another address by now: that is asked for next
	}
	if n.speaks = speaks; speaks {
		return
	}
	n.knocked++
	n.ask = now.Add(knockSoon)
	if n.knocked > knockOften {
		n.ask = now.Add(knockLater)
	}
}

// advertisement is what this host says of itself.
func (m *discovery) advertisement() *RouterAdvertisement {
	a := &RouterAdvertisement{MAC: m.mac}
	for _, p := range m.want.Pref64 {
		a.Pref64 = append(a.Pref64, Pref64{Prefix: p, Lifetime: pref64Lifetime})
	}
	for _, p := range m.want.Over {
		a.Pref64 = append(a.Pref64, Pref64{Prefix: p})
	}
	return a
}

func (m *discovery) packet(dst netip.Addr, mac MAC, msg Message) Packet {
	return Packet{Src: m.local, Dst: dst, SrcMAC: m.mac, DstMAC: mac, Message: msg}
}

func (m *discovery) knowsRouter() bool {
	for _, n := range m.neighbours {
		if n.router != nil && !n.gone {
			return true
		}
	}
	return false
}

// tickNeighbours asks neighbours that have been silent for a while whether they are there, as RFC 4861 7.3 does for those it sends
// to, and forgets those that are not.
func (m *discovery) tickNeighbours(now time.Time) (send []Packet, next time.Time) {
	for _, n := range m.sorted() {
		testing := m.want.Advertise && m.local.IsValid()
		switch {
		case n.gone:
		case testing && n.tested == 0 && now.Before(n.heard.Add(idleBeforeTest)):
			next = earlier(next, n.heard.Add(idleBeforeTest))
		case testing && n.tested > 0 && now.Before(n.test):
			next = earlier(next, n.test)
		case testing && n.tested < testTimes:
			n.tested, n.test = n.tested+1, now.Add(retransTimer)
			next = earlier(next, n.test)
			send = append(send, m.packet(n.addr, n.mac, &Solicitation{Target: n.addr, MAC: m.mac}))
		case testing, !now.Before(n.heard.Add(quietRouter)):
			n.gone = true
			m.changed()
		default:
			next = earlier(next, n.heard.Add(quietRouter))
		}
		later := m.expire(n, now)
		next = earlier(next, later)
	}
	return send, next
}

// expire ends what a neighbour said of itself as a router when its time is over, and forgets one that is gone.
func (m *discovery) expire(n *neighbour, now time.Time) (next time.Time) {
	if r := n.router; r != nil && r.Lifetime > 0 {
		end := r.Heard.Add(r.Lifetime)
		if now.Before(end) {
			return end
		}
		r = &Router{Addr: r.Addr, MAC: r.MAC, Heard: r.Heard}
		n.router = r
		m.changed()
	}
	if n.gone {
		delete(m.neighbours, n.mac)
		m.changed()
	}
	return time.Time{}
}

func (m *discovery) stop() {}

func (m *discovery) sorted() []*neighbour {
	list := make([]*neighbour, 0, len(m.neighbours))
	for _, n := range m.neighbours {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b *neighbour) int { return bytes.Compare(a.mac[:], b.mac[:]) })
	return list
}

// routers returns those that are there, by address.
func (m *discovery) routers() []Router {
	var list []Router
	for _, n := range m.neighbours {
		if n.router != nil && !n.gone {
			list = append(list, *n.router)
		}
	}
	slices.SortFunc(list, func(a, b Router) int { return cmp.Or(a.Addr.Compare(b.Addr), bytes.Compare(a.MAC[:], b.MAC[:])) })
	return list
}
