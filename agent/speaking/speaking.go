// Package speaking is a host's part in BGP: what follows from the newest snapshot is announced, what is learned goes into the kernel.
package speaking

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/bgp"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/diff"
)

// farewell is how long a drained host goes on after it withdrew everything, so that the withdrawals are sent before the session
// ends.
const farewell = time.Second

// Options are what a mouth works with.
type Options struct {
	Host string    // its name in the configuration
	NS   *netns.NS // namespace of the host; nil: that of the process
	Conn *rtnl.Conn
	Log  *slog.Logger

	Me        func() (me announce.Speaker, ok bool, err error) // this host as a speaker; false: it speaks to nobody
	Announced func(asn uint32) announce.Host                   // what there is to announce, but for the drain
	Also      func(map[string]ndp.RouterLink)                  // adds what else is advertised on links

	Again func() // asks for a pass of Speak and of Learn; it must not wait
	Look  func() // asks for a pass of Learn; it must not wait
	Moved func() // told of each step of a drain; it must not wait
}

// Mouth speaks BGP for a host. Open makes it; Run speaks while a BGPPeer selects this host.
type Mouth struct {
	options Options
	speaker *bgp.Speaker
	routers *ndp.Routers // finds unnumbered peers, and lets them find this host
	fib     *route.FIB

	mu       sync.Mutex // guards all following fields
	drain    announce.Drain
	left     bool // drained: no peer is spoken to
	withheld []announce.Withheld
}

// Open opens the kernel's side of BGP. The speaker costs nothing before a BGPPeer selects this host.
func Open(o Options) (_ *Mouth, err error) {
	m := &Mouth{options: o}
	if m.fib, err = route.OpenFIB(o.NS, route.Protocol); err != nil {
		return nil, err
	}
	if m.routers, err = ndp.OpenRouters(o.NS); err != nil {
		return nil, errors.Join(err, m.fib.Close())
	}
	m.speaker = bgp.New(bgp.Options{Log: o.Log, Neighbours: m.routers})
	return m, nil
}

// Close closes the sockets. What was learned stays in the kernel.
func (m *Mouth) Close() error { return errors.Join(m.routers.Close(), m.fib.Close()) }

// Hush keeps what is learned from being told to s.
func (m *Mouth) Hush(s *rtnl.Subscription) error { return m.fib.Hush(s) }

// Run speaks until ctx ends.
func (m *Mouth) Run(ctx context.Context) error {
	m.options.Again() // what was learned before a BGPPeer was taken away has to go
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.routers.Run(ctx) })
	g.Go(func() error { return m.speaker.Run(ctx) })
	g.Go(func() error { return m.follow(ctx) })
	return g.Wait()
}

// Speak makes the speaker say what follows from the snapshot. Peers that cannot be reached yet are no failure of it: the
// speaker tries again by itself, and the status tells.
func (m *Mouth) Speak(ctx context.Context) (diff.Delta[string], error) {
	me, ok, err := m.options.Me()
	if err == nil && ok && m.options.NS != nil {
		err = errors.New("an agent that looks after another network namespace than its own cannot speak BGP there: start it inside")
	}
	host := m.options.Announced(me.ASN)
	m.mu.Lock()
	if err != nil || m.left {
		ok = false
	}
	host.Drain = m.drain
	routes, withheld := announce.ForHost(host)
	m.withheld = withheld
	m.mu.Unlock()
	want, links := bgp.Config{Own: host.Own}, map[string]ndp.RouterLink{}
	if ok {
		want.Speaker, want.Announce = me, routes
		for _, p := range me.Peers {
			if p.Unnumbered() {
				// The peer is a router whatever it may announce: FRR calls itself a default router on unnumbered links. Whether its
				// default route is taken is for the peer's terms to say.
				links[p.Interface] = ndp.RouterLink{Advertise: true, RouterPeer: true, Password: p.Password}
			}
		}
	}
	m.options.Also(links)
	_, linkErr := m.routers.Reconcile(ctx, links)
	delta, _ := m.speaker.Reconcile(ctx, want)
	return delta, errors.Join(err, linkErr)
}

// Drain leaves the fabric step by step: what others can serve as well first, then everything, then the sessions. wait lies behind the
// first step. undo takes it back.
func (m *Mouth) Drain(ctx context.Context, wait time.Duration, undo bool) error {
	step := func(d announce.Drain, left bool) error {
		m.mu.Lock()
		m.drain, m.left = d, left
		m.mu.Unlock()
		m.options.Log.Info("drain", "step", int(d), "left", left)
		m.options.Moved()
		_, err := m.Speak(ctx)
		return err
	}
	if undo {
		return step(announce.InService, false)
	}
	if err := step(announce.ServicesLeaving, false); err != nil {
		return err
	}
	if !rest(ctx, wait) {
		return fmt.Errorf("drain of %s was broken off; fixed addresses are told to the next routers alone, the host's prefix is announced; finish with hexapod drain, or undo with hexapod drain --undo", m.options.Host)
	}
	if err := step(announce.Leaving, false); err != nil {
		return err
	}
	rest(ctx, farewell)
	return step(announce.Leaving, true)
}

// Leaving reports whether the host is being drained, or was.
func (m *Mouth) Leaving() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drain != announce.InService
}

// rest waits for d and reports whether ctx goes on.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return ctx.Err() == nil
	}
}

// Peers tells of every peer.
func (m *Mouth) Peers() []bgp.PeerStatus { return m.speaker.Peers() }

// Offers lists what peers announce, and what became of it; rejected: only what was not taken.
func (m *Mouth) Offers(rejected bool) []bgp.Offer { return m.speaker.Received(rejected) }

// Sent tells what is announced, and what is withheld and why.
func (m *Mouth) Sent() local.Sent {
	m.mu.Lock()
	withheld := slices.Clone(m.withheld)
	m.mu.Unlock()
	if withheld == nil {
		withheld = []announce.Withheld{}
	}
	return local.Sent{Announced: m.speaker.Announced(), Withheld: withheld}
}
