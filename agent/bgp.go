package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/route"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
)

// Runners of BGP: what is announced, and what is learned.
const (
	partBGP     = "bgp"
	partLearned = "learned"
)

// farewell is how long a drained host goes on after it withdrew everything, so that the withdrawals are sent before the session
// ends.
const farewell = time.Second

// speaking is the agent's part in BGP: what to announce goes out of the snapshot, what is learned goes into the kernel.
type speaking struct {
	speaker *bgp.Speaker
	routers *ndp.Routers // finds unnumbered peers, and lets them find this host
	fib     *route.FIB

	mu       sync.Mutex // guards all following fields
	drain    announce.Drain
	left     bool // drained: no peer is spoken to
	withheld []announce.Withheld
	problem  error // why nothing is spoken
}

// openSpeaking opens the kernel's side of BGP. The speaker costs nothing before a BGPPeer selects this host.
func (a *Agent) openSpeaking(closing *closers) (err error) {
	s := &speaking{}
	if s.fib, err = route.OpenFIB(a.options.NS, route.Protocol); err != nil {
		return err
	}
	closing.add(s.fib)
	a.kernel.routers.Hush(s.fib.Hush)
	if s.routers, err = ndp.OpenRouters(a.options.NS); err != nil {
		return err
	}
	closing.add(s.routers)
	s.speaker = bgp.New(bgp.Options{Log: a.log, Neighbours: s.routers})
	a.speaking = s
	return nil
}

// runSpeaking speaks until ctx ends.
func (a *Agent) runSpeaking(ctx context.Context) error {
	a.kick(partBGP, partLearned) // what was learned before a BGPPeer was taken away has to go
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.speaking.routers.Run(ctx) })
	g.Go(func() error { return a.speaking.speaker.Run(ctx) })
	g.Go(func() error { return a.followLearned(ctx) })
	return g.Wait()
}

// speak makes the speaker say what follows from the snapshot. Peers that cannot be reached yet are no failure of it: the
// speaker tries again by itself, and the status tells.
func (a *Agent) speak(ctx context.Context) error {
	s := a.speaking
	me, ok, err := a.config.Load().set.Speaker(a.options.Host)
	if err == nil && ok && a.options.NS != nil {
		err = errors.New("an agent that looks after another network namespace than its own cannot speak BGP there: start it inside")
	}
	snapshot := a.sections.Snapshot()
	s.mu.Lock()
	s.problem = err
	if err != nil || s.left {
		ok = false
	}
	routes, withheld := announce.ForHost(announce.Host{
		Own: snapshot.Own(), OnLink: snapshot.OnLink(), Pools: poolsOf(snapshot), Held: heldBy(snapshot), NAT64: translatedBy(snapshot, me.ASN), Drain: s.drain, Retired: snapshot.Config.Self.Retired,
	})
	s.withheld = withheld
	s.mu.Unlock()
	want, links := bgp.Config{Own: snapshot.Own()}, map[string]ndp.RouterLink{}
	if ok {
		want.Speaker, want.Announce = me, routes
		for _, p := range me.Peers {
			if p.Unnumbered() {
				// The peer is a router whatever it may announce: FRR calls itself a default router on unnumbered links. Whether its
				// default route is taken is for the peer's terms to say.
				links[p.Interface] = ndp.RouterLink{Advertise: true, RouterPeer: true}
			}
		}
	}
	tellPref64(links, snapshot)
	_, linkErr := s.routers.Reconcile(ctx, links)
	delta, _ := s.speaker.Reconcile(ctx, want)
	a.changed(partBGP, delta)
	return errors.Join(err, linkErr)
}

// tellPref64 adds the prefixes of the translation to what is advertised, on links where that is asked for, while this host translates.
func tellPref64(links map[string]ndp.RouterLink, s desired.Snapshot) {
	t := s.Config.Translation
	if t == nil || !s.Translating {
		return
	}
	for _, name := range t.Tell {
		l := links[name]
		l.Advertise, l.Pref64 = true, t.Prefixes
		links[name] = l
	}
}

// translatedBy is what the translator of this host is reached by, if it is there for others. An address of the pool is told by every gateway of a group,
// with a path that is the longer the more others are to have it first: routers turn to the next one as soon as one is gone.
func translatedBy(s desired.Snapshot, asn uint32) (out []announce.Route) {
	t := s.Config.Translation
	if t == nil || !t.Announce || !s.Translating {
		return nil
	}
	for _, p := range t.Prefixes {
		out = append(out, announce.Route{Prefix: p, Purpose: announce.PurposeNAT64})
	}
	for i, a := range t.Pool {
		r := announce.Route{Prefix: netip.PrefixFrom(a, a.BitLen()), Purpose: announce.PurposeNAT64}
		if t.Group != nil {
			r.Path = slices.Repeat([]uint32{asn}, t.Group.Ranks[i])
		}
		out = append(out, r)
	}
	return out
}

func poolsOf(s desired.Snapshot) (out []netip.Prefix) {
	for _, p := range s.Config.Pools {
		out = append(out, p.Prefix)
	}
	return out
}

func heldBy(s desired.Snapshot) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, e := range s.Endpoints.All() {
			for _, addr := range e.Addrs {
				if !yield(addr) {
					return
				}
			}
		}
	}
}

// speakOf asks for a new look at what is announced when an endpoint with an address outside the host's own prefixes came or
// went: all others change nothing.
func (a *Agent) speakOf(e desired.Endpoint) {
	s := a.sections.Snapshot()
	for _, own := range slices.Concat(s.Own(), s.OnLink()) {
		if len(e.Addrs) > 0 && own.Contains(e.Addrs[0]) {
			return
		}
	}
	a.kick(partBGP)
}

// Drain implements local.Speaking.
func (a *Agent) Drain(ctx context.Context, wait time.Duration, undo bool) error {
	step := func(d announce.Drain, left bool) error {
		a.speaking.mu.Lock()
		a.speaking.drain, a.speaking.left = d, left
		a.speaking.mu.Unlock()
		a.log.Info("drain", "step", int(d), "left", left)
		return a.speak(ctx)
	}
	if undo {
		return step(announce.InService, false)
	}
	if err := step(announce.ServicesLeaving, false); err != nil {
		return err
	}
	if !rest(ctx, wait) {
		return fmt.Errorf("drain of %s was broken off; fixed addresses are told to the next routers alone, the host's prefix is announced; finish with hexapod drain, or undo with hexapod drain --undo", a.options.Host)
	}
	if err := step(announce.Leaving, false); err != nil {
		return err
	}
	rest(ctx, farewell)
	return step(announce.Leaving, true)
}
