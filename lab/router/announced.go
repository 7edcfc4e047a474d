package router

import (
	"net/netip"
	"slices"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/prefix"
)

// Times and limits that the plan does not know; those of a host's peers are the same (api/v1alpha1).
const (
	holdSeconds      = 9
	keepaliveSeconds = 3
	restartSeconds   = 120
	bfdMillis        = 300
	bfdMultiplier    = 3
)

// speaker is with whom the router speaks.
func (c Config) speaker() announce.Speaker {
	s := announce.Speaker{ASN: c.ASN, RouterID: c.RouterID}
	var bfd *announce.BFD
	if c.BFD {
		bfd = &announce.BFD{IntervalMillis: bfdMillis, Multiplier: bfdMultiplier}
	}
	for _, p := range c.Peers {
		s.Peers = append(s.Peers, announce.Peer{
			BFD:  bfd,
			Name: p.Name, Interface: p.Port, ASN: p.ASN, MaxPrefixes: uint32(p.Limit), Tell: p.Out,
			HoldSeconds: holdSeconds, KeepaliveSeconds: keepaliveSeconds, Restart: announce.RestartTimes{Seconds: restartSeconds},
			Terms: announce.Terms{Accept: p.In, AllowDefault: has(p.In, anywhere)},
		})
	}
	return s
}

var anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)

func has(list []prefix.Match, p netip.Prefix) bool {
	return slices.ContainsFunc(list, func(m prefix.Match) bool { return m.Has(p) })
}

// way is how a prefix is reached.
type way struct {
	hops []desired.NextHop
	path []uint32
	near bool // nobody offers it for others to be told
}

// reached returns what of the offers packets are sent by. A link that is down reaches nothing, whatever its session still says.
func reached(offers []bgp.Offer, up map[string]bool) map[netip.Prefix]way {
	all := map[netip.Prefix]way{}
	for _, o := range offers {
		if !o.Used || !up[o.NextHop.Link] || !o.Prefix.Addr().Is6() {
			continue
		}
		w, more := all[o.Prefix]
		if !more || w.near && !o.Near { // the path of one that may be passed on
			w.near, w.path = o.Near, nil
		}
		if !slices.Contains(w.hops, o.NextHop) {
			w.hops = append(w.hops, o.NextHop)
		}
		if w.path == nil {
			w.path = o.ASPath
		}
		all[o.Prefix] = w
	}
	return all
}

// announced returns what is announced: aggregates, the router's own address, and what some peer is to be told of others.
func (c Config) announced(taken map[netip.Prefix]way) (routes []announce.Route, withheld []announce.Withheld) {
	said := map[netip.Prefix]bool{}
	for _, p := range c.Discard {
		members := c.members(p)
		if len(members) == 0 { // it stands for nothing that peers tell: the network outside
			routes = append(routes, announce.Route{Prefix: p, Purpose: announce.PurposeAggregate})
			said[p] = true
			continue
		}
		a := announce.Aggregate{Prefix: p, Shared: c.Shared}
		for _, m := range members {
			_, ok := taken[m]
			a.Members = append(a.Members, announce.Member{Prefix: m, Reached: ok})
		}
		rs, ws := announce.ForAggregate(a)
		withheld = append(withheld, ws...)
		for _, r := range rs {
			r.Path = taken[r.Prefix].path // of a member; an aggregate is the router's own (RFC 4271 section 9.2.2.2)
			routes = append(routes, r)
			said[r.Prefix] = true
		}
	}
	if c.Loopback.IsValid() {
		routes = append(routes, announce.Route{Prefix: netip.PrefixFrom(c.Loopback, c.Loopback.BitLen()), Purpose: announce.PurposeRouter})
	}
	for p, w := range taken {
		if !w.near && !said[p] && !slices.Contains(c.Discard, p) && c.tells(p) {
			routes = append(routes, announce.Route{Prefix: p, Purpose: announce.PurposePassed, Path: w.path})
		}
	}
	slices.SortFunc(routes, func(a, b announce.Route) int { return prefix.Compare(a.Prefix, b.Prefix) })
	return routes, withheld
}

// members are what an aggregate stands for.
func (c Config) members(aggregate netip.Prefix) (all []netip.Prefix) {
	for _, m := range c.Members {
		if prefix.ContainsPrefix(aggregate, m) {
			all = append(all, m)
		}
	}
	return all
}

func (c Config) tells(p netip.Prefix) bool {
	for _, peer := range c.Peers {
		if has(peer.Out, p) {
			return true
		}
	}
	return false
}
