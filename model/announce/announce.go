// Package announce decides which prefixes a host or router tells the network about, which it takes from others, and why not.
//
// What this host holds goes in, routes go out; what peers offer goes in, a verdict comes out. Nothing here speaks a protocol:
// a speaker (BGP, neighbour discovery) carries the answers.
package announce

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"hexapod.dev/model/prefix"
)

// Why tells in the operator's words why a prefix is not announced, or not taken. Empty: it is.
type Why string

// Why this host keeps a prefix to itself.
const (
	WhyNoPool     Why = "it lies neither in a prefix of this host nor in a pool"
	WhyDraining   Why = "this host is being drained"
	WhyHostGone   Why = "this host is marked retired"
	WhyNoMembers  Why = "none of what it stands for is reached from here"
	WhyOnLink     Why = "it lies on a link, with addresses of others: the routers of the link know it, and neighbours find each endpoint"
	WhyMemberLost Why = "another router reaches a part of it that this one has lost; the parts that are reached are announced one by one"
)

// Purpose says what a route is announced for.
type Purpose string

// The purposes of routes.
const (
	PurposeHost      Purpose = "host"      // the host's own prefix
	PurposeFixed     Purpose = "fixed"     // a fixed address of a pool that an endpoint here holds
	PurposeNAT64     Purpose = "nat64"     // what a translator is reached by: prefixes that carry IPv4, and addresses of its pool
	PurposeAggregate Purpose = "aggregate" // a rack or a cluster in one route
	PurposeMember    Purpose = "member"    // one part of an aggregate beside it, or instead of it
	PurposeRouter    Purpose = "router"    // the address of a router itself
	PurposePassed    Purpose = "passed"    // what a router has from one peer and tells others
)

// Route is one prefix that is announced.
type Route struct {
	Prefix  netip.Prefix
	Purpose Purpose
	Path    []uint32 `json:",omitempty"` // AS path of what is passed on, as it was told (RFC 4271 section 9.2)
	// Leaving says that it is about to be withdrawn: the peer goes on to forward, tells nobody else (NO_ADVERTISE, RFC 1997) and prefers
	// any other way there is (GRACEFUL_SHUTDOWN, RFC 8326). So routers far off forget it first, while those near still lead there.
	Leaving bool `json:",omitempty"`
}

// Equal reports whether peers would be told the same.
func (r Route) Equal(o Route) bool {
	return r.Prefix == o.Prefix && r.Purpose == o.Purpose && r.Leaving == o.Leaving && slices.Equal(r.Path, o.Path)
}

// Discard reports whether a discard route must lie under the announced one: packets to unused addresses of an aggregate would
// else bounce between this router and the default route. Hosts have theirs already (model/desired).
func (r Route) Discard() bool { return r.Purpose == PurposeAggregate }

// Withheld is one prefix that is not announced, and why.
type Withheld struct {
	Prefix netip.Prefix
	Why    Why
}

// Drain is how far a host has gone on its way out of service.
type Drain int

// The steps of a drain. Services leave first: their last packets are still answered while others take over.
const (
	InService       Drain = iota
	ServicesLeaving       // fixed addresses are withdrawn from all but the routers next to the host, its prefix stays
	Leaving               // everything is withdrawn
)

// Host is what one host has to announce.
type Host struct {
	Own     []netip.Prefix       // prefixes routed to it
	OnLink  []netip.Prefix       // prefixes of its endpoints that it shares with others on a link
	Pools   []netip.Prefix       // ranges of fixed addresses
	Held    iter.Seq[netip.Addr] // addresses of its endpoints, in any order; nil: none
	NAT64   []Route              // what its translator is reached by, while it translates for others
	Drain   Drain
	Retired bool
}

// ForHost returns what a host announces, sorted, and what it does not. A prefix of its own is announced once; endpoints' own
// addresses lie in it and add nothing. Longer than that are only fixed addresses of pools.
func ForHost(h Host) (routes []Route, withheld []Withheld) {
	refuse := Why("")
	if h.Retired {
		refuse = WhyHostGone
	}
	own := prefix.NewSet(h.Own...)
	for _, p := range own.Prefixes() {
		if refuse == "" && h.Drain != Leaving {
			routes = append(routes, Route{Prefix: p, Purpose: PurposeHost})
		} else {
			withheld = append(withheld, Withheld{p, cmp.Or(refuse, WhyDraining)})
		}
	}
	onLink, pools := prefix.NewSet(h.OnLink...), prefix.NewSet(h.Pools...)
	for _, p := range onLink.Prefixes() {
		withheld = append(withheld, Withheld{p, WhyOnLink})
	}
	if h.Held != nil {
		for a := range h.Held {
			p := netip.PrefixFrom(a, a.BitLen())
			switch {
			case own.Contains(a), onLink.Contains(a): // the usual endpoint: its host's prefix, or the link's, brings its packets here
			case !pools.Contains(a):
				withheld = append(withheld, Withheld{p, WhyNoPool})
			case refuse != "" || h.Drain == Leaving:
				withheld = append(withheld, Withheld{p, cmp.Or(refuse, WhyDraining)})
			default:
				routes = append(routes, Route{Prefix: p, Purpose: PurposeFixed, Leaving: h.Drain == ServicesLeaving})
			}
		}
	}
	for _, r := range h.NAT64 {
		if refuse != "" || h.Drain != InService {
			withheld = append(withheld, Withheld{r.Prefix, cmp.Or(refuse, WhyDraining)})
		} else {
			routes = append(routes, r)
		}
	}
	return sorted(routes), sortedWithheld(withheld)
}

func sorted(list []Route) []Route {
	slices.SortFunc(list, func(a, b Route) int { return prefix.Compare(a.Prefix, b.Prefix) })
	return slices.CompactFunc(list, func(a, b Route) bool { return a.Prefix == b.Prefix })
}

func sortedWithheld(list []Withheld) []Withheld {
	slices.SortFunc(list, func(a, b Withheld) int { return prefix.Compare(a.Prefix, b.Prefix) })
	return slices.CompactFunc(list, func(a, b Withheld) bool { return a.Prefix == b.Prefix })
}
