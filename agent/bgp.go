package agent

import (
	"context"
	"iter"
	"net/netip"
	"slices"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/agent/speaking"
	"hexapod.dev/edge/bgp"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
)

// Parts of BGP: what is announced, and what is learned.
const (
	partBGP     = "bgp"
	partLearned = "learned"
)

var _ local.Speaking = (*Agent)(nil)

// openSpeaking introduces BGP to the host.
func (a *Agent) openSpeaking(closing *closers) (err error) {
	a.speaking, err = speaking.Open(speaking.Options{
		Host: a.options.Host, NS: a.options.NS, Conn: a.kernel.conn, Log: a.log, Announced: a.announced,
		Me: func() (announce.Speaker, bool, error) { return a.config.Load().set.Speaker(a.options.Host) },
		Also: func(links map[string]ndp.RouterLink) {
			s := a.sections.Snapshot()
			tellPref64(links, s)
			tellUpstream(links, s.Config.Upstream)
		},
		Again: func() { a.kick(partBGP, partLearned) },
		Look:  func() { a.kick(partLearned) },
		Moved: func() { a.kick(partNAT64) }, // a gateway gives its addresses to the others, or has them again
	})
	if err != nil {
		return err
	}
	closing.add(a.speaking)
	a.kernel.routers.Hush(a.speaking.Hush)
	a.metrics.registry.MustRegister(speaking.Collector{Mouth: a.speaking})
	return nil
}

// speak announces what follows from the snapshot.
func (a *Agent) speak(ctx context.Context) error {
	delta, err := a.speaking.Speak(ctx)
	a.changed(partBGP, delta)
	return err
}

// learn makes the kernel hold what is learned.
func (a *Agent) learn(ctx context.Context) error {
	delta, err := a.speaking.Learn(ctx)
	a.changed(partLearned, delta)
	return err
}

// announced is what this host has to announce.
func (a *Agent) announced(asn uint32) announce.Host {
	s := a.sections.Snapshot()
	return announce.Host{Own: s.Own(), OnLink: s.OnLink(), Pools: poolsOf(s), Held: heldBy(s), NAT64: translatedBy(s, asn), Retired: s.Config.Self.Retired}
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
	return a.speaking.Drain(ctx, wait, undo)
}

// BGPPeers implements local.Speaking.
func (a *Agent) BGPPeers() []bgp.PeerStatus { return a.speaking.Peers() }

// BGPOffers implements local.Speaking.
func (a *Agent) BGPOffers(rejected bool) []bgp.Offer { return a.speaking.Offers(rejected) }

// BGPSent implements local.Speaking.
func (a *Agent) BGPSent() local.Sent { return a.speaking.Sent() }

// reportBGP tells of every peer, and whether what is learned is in the kernel.
func (a *Agent) reportBGP() []local.Object {
	if a.speaking == nil { // not open yet
		return nil
	}
	list := a.speaking.Report()
	for _, part := range []string{partBGP, partLearned} {
		if _, _, last := a.runners[part].State(); last != nil {
			list = append(list, stateOf(local.Object{Kind: "kernel", Name: part}, a.runners[part]))
		}
	}
	return list
}
