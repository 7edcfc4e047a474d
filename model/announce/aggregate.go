package announce

import "net/netip"

// Aggregate is one route that stands for many: a rack at its ToR, a cluster at a spine.
type Aggregate struct {
	Prefix  netip.Prefix
	Members []Member
	// Shared says that another router announces the same aggregate: the two ToRs of a rack, the spines of a cluster.
	Shared bool
	// Specifics says that each of these routers announces the members it reaches beside the aggregate.
	Specifics bool
}

// Member is one prefix that an aggregate stands for.
type Member struct {
	Prefix  netip.Prefix
	Reached bool // a route to it is known here
}

// ForAggregate returns what a router announces for an aggregate.
//
// The aggregate draws packets for every member. Where this router alone announces it, a member that is not reached is reached
// by nobody, and its packets are answered here by the discard route. Where others announce it too, they may reach a member
// that this router has lost, and would never be asked: so the aggregate goes, unless the members are announced beside it, for
// the longer match leads around this router.
func ForAggregate(a Aggregate) (routes []Route, withheld []Withheld) {
	reached := 0
	for _, m := range a.Members {
		if m.Reached {
			reached++
		}
	}
	lost := reached < len(a.Members)
	switch {
	case reached == 0:
		return nil, []Withheld{{a.Prefix, WhyNoMembers}}
	case a.Shared && lost && !a.Specifics:
		withheld = append(withheld, Withheld{a.Prefix, WhyMemberLost})
	default:
		routes = append(routes, Route{Prefix: a.Prefix, Purpose: PurposeAggregate})
	}
	if a.Specifics || len(routes) == 0 {
		for _, m := range a.Members {
			if m.Reached && m.Prefix != a.Prefix {
				routes = append(routes, Route{Prefix: m.Prefix, Purpose: PurposeMember})
			}
		}
	}
	return sorted(routes), withheld
}
