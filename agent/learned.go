package agent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/bgp"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
)

// followLearned writes what is learned into the kernel as it comes.
func (a *Agent) followLearned(ctx context.Context) error {
	settled := false
	for {
		news, err := a.speaking.speaker.Learned(ctx)
		if err != nil {
			return nil // ctx ended
		}
		if now := a.speaking.speaker.Settled(); now != settled {
			settled = now
			a.kick(partLearned) // what is only of before goes now
		}
		if err := a.follow(ctx, news, settled); err != nil {
			a.kick(partLearned) // a whole look finds out, reports it and tries again
		}
	}
}

// follow writes a part. Before the peers have told all, routes of before stay: most of them come again (RFC 4724 section 4.1).
func (a *Agent) follow(ctx context.Context, news []announce.Learned, settled bool) error {
	set, gone := map[netip.Prefix][]desired.NextHop{}, []netip.Prefix(nil)
	for _, l := range news {
		switch {
		case !l.Prefix.Addr().Is6(): // shown, and not used: no IPv4 inside
		case len(l.Hops) > 0:
			set[l.Prefix] = l.Hops
		case settled:
			gone = append(gone, l.Prefix)
		}
	}
	if err := a.nameLinks(set); err != nil {
		return err
	}
	if len(set) > 0 {
		if err := a.speaking.fib.Ensure(ctx, set); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		return a.speaking.fib.Remove(ctx, gone...)
	}
	return nil
}

// learn makes the kernel hold what is learned, all of it.
func (a *Agent) learn(ctx context.Context) error {
	settled := a.speaking.speaker.Settled()
	want := a.speaking.speaker.Routes()
	maps.DeleteFunc(want, func(p netip.Prefix, _ []desired.NextHop) bool { return !p.Addr().Is6() })
	if err := a.nameLinks(want); err != nil {
		return err
	}
	if !settled {
		return a.speaking.fib.Ensure(ctx, want)
	}
	delta, err := a.speaking.fib.Reconcile(ctx, want)
	a.changed(partLearned, delta)
	return err
}

// nameLinks fills in the links of next hops that were told by their address alone: the link on whose prefix they lie. Next hops
// that were one slice stay one.
func (a *Agent) nameLinks(routes map[netip.Prefix][]desired.NextHop) error {
	named := map[*desired.NextHop][]desired.NextHop{}
	var find func(netip.Addr) string
	for p, hops := range routes {
		if !slices.ContainsFunc(hops, func(h desired.NextHop) bool { return h.Link == "" }) {
			continue
		}
		done, ok := named[&hops[0]]
		if !ok {
			if find == nil {
				var err error
				if find, err = a.linkFinder(); err != nil {
					return err
				}
			}
			for _, h := range hops {
				if h.Link == "" {
					h.Link = find(h.Via)
				}
				done = append(done, h)
			}
			named[&hops[0]] = done
		}
		routes[p] = done
	}
	return nil
}

// linkFinder returns a function that names the link on whose prefix an address lies; empty when there is none.
func (a *Agent) linkFinder() (func(netip.Addr) string, error) {
	addrs, err := a.kernel.conn.Addrs(0)
	if err != nil {
		return nil, err
	}
	links, err := a.kernel.conn.Links()
	if err != nil {
		return nil, err
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Index] = l.Name
	}
	return func(addr netip.Addr) string {
		for _, have := range addrs {
			if have.Prefix.Contains(addr) && !have.Prefix.IsSingleIP() {
				return names[have.Index]
			}
		}
		return ""
	}, nil
}

// BGPPeers implements local.Speaking.
func (a *Agent) BGPPeers() []bgp.PeerStatus { return a.speaking.speaker.Peers() }

// BGPOffers implements local.Speaking.
func (a *Agent) BGPOffers(rejected bool) []bgp.Offer { return a.speaking.speaker.Received(rejected) }

// BGPSent implements local.Speaking.
func (a *Agent) BGPSent() local.Sent {
	a.speaking.mu.Lock()
	withheld := slices.Clone(a.speaking.withheld)
	a.speaking.mu.Unlock()
	if withheld == nil {
		withheld = []announce.Withheld{}
	}
	return local.Sent{Announced: a.speaking.speaker.Announced(), Withheld: withheld}
}

// reportBGP tells of every peer, and whether what is learned is in the kernel.
func (a *Agent) reportBGP() (list []local.Object) {
	if a.speaking == nil {
		return nil
	}
	for _, p := range a.speaking.speaker.Peers() {
		o := local.Object{Kind: "bgp", Name: p.Name, State: local.Done}
		if p.State == bgp.Established {
			o.Detail = bgpDetail(p)
		} else {
			o.State, o.Why = local.Failed, string(p.State)+": "+p.Why
		}
		list = append(list, o)
	}
	list = append(list, reportAdvertising(a.speaking.routers.State())...)
	for _, part := range []string{partBGP, partLearned} {
		if _, _, last := a.runners[part].State(); last != nil {
			list = append(list, stateOf(local.Object{Kind: "kernel", Name: part}, a.runners[part]))
		}
	}
	return list
}

func bgpDetail(p bgp.PeerStatus) string {
	text := fmt.Sprintf("%s AS %d: taken: %d, refused: %d, sent: %d", p.Addr, p.ASN, p.Accepted, p.Rejected, p.Sent)
	if p.Kept > 0 {
		text += fmt.Sprintf(", kept of before: %d", p.Kept)
	}
	if p.LastError != "" {
		text += ", last: " + p.LastError
	}
	return text
}
