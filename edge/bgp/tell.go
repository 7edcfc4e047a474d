package bgp

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/api"

	"hexapod.dev/model/announce"
	"hexapod.dev/model/prefix"
)

// told is what peers at an address are told of the announced routes, by the address without its link: the server cannot tell
// two peers apart whose link-local address is the same on two links, so they are told the same.
type told map[netip.Addr]words

// words are what one peer is told, and what goes with it.
type words struct {
	routes      []prefix.Match // nil: all
	communities []uint32       // RFC 1997
	large       [][3]uint32    // RFC 8092
}

func wordsFor(p announce.Peer) words { return words{p.Tell, p.Communities, p.Large} }

func (w words) equal(to words) bool {
	return slices.Equal(w.routes, to.routes) && (w.routes == nil) == (to.routes == nil) &&
		slices.Equal(w.communities, to.communities) && slices.Equal(w.large, to.large)
}

// policies writes t in the server's words. A peer that is not in it is told everything.
func (t told) policies() (sets []*api.DefinedSet, policy *api.Policy) {
	policy = &api.Policy{Name: "tell"}
	for addr, w := range t {
		name := addr.String()
		sets = append(sets, &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: name, List: []string{netip.PrefixFrom(addr, addr.BitLen()).String()}})
		of := &api.Conditions{NeighborSet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: name}}
		if marks := w.marks(); marks != nil { // without a verdict: the next statements have it
			policy.Statements = append(policy.Statements, &api.Statement{Name: name + " communities", Conditions: of, Actions: marks})
		}
		if w.routes == nil {
			continue
		}
		for _, v6 := range []bool{true, false} { // a set of the server has prefixes of one family
			set := prefixSet(fmt.Sprintf("%s v6 %t", name, v6), w.routes, v6)
			if len(set.Prefixes) == 0 {
				continue
			}
			sets = append(sets, set)
			policy.Statements = append(policy.Statements, &api.Statement{
				Name:       set.Name,
				Conditions: &api.Conditions{NeighborSet: of.NeighborSet, PrefixSet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: set.Name}},
				Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
			})
		}
		policy.Statements = append(policy.Statements, &api.Statement{
			Name: name, Conditions: of, Actions: &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_REJECT},
		})
	}
	return sets, policy
}

// marks adds the communities; nil without any.
func (w words) marks() *api.Actions {
	if len(w.communities) == 0 && len(w.large) == 0 {
		return nil
	}
	a := &api.Actions{}
	if len(w.communities) > 0 {
		a.Community = &api.CommunityAction{Type: api.CommunityAction_TYPE_ADD}
		for _, c := range w.communities {
			a.Community.Communities = append(a.Community.Communities, fmt.Sprintf("%d:%d", c>>16, c&0xffff))
		}
	}
	if len(w.large) > 0 {
		a.LargeCommunity = &api.CommunityAction{Type: api.CommunityAction_TYPE_ADD}
		for _, c := range w.large {
			a.LargeCommunity.Communities = append(a.LargeCommunity.Communities, fmt.Sprintf("%d:%d:%d", c[0], c[1], c[2]))
		}
	}
	return a
}

func prefixSet(name string, list []prefix.Match, v6 bool) *api.DefinedSet {
	set := &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: name}
	for _, m := range list {
		if m.Prefix.Addr().Is6() != v6 {
			continue
		}
		least, most := m.Min, m.Max
		if least == 0 && most == 0 {
			least, most = m.Prefix.Bits(), m.Prefix.Bits()
		}
		set.Prefixes = append(set.Prefixes, &api.Prefix{IpPrefix: m.Prefix.String(), MaskLengthMin: uint32(least), MaskLengthMax: uint32(most)})
	}
	return set
}

// tell makes the server tell each peer what it should be told; peers that stand are told anew if that changed.
func (s *server) tell(want told) error {
	if maps.EqualFunc(want, s.told, words.equal) {
		return nil
	}
	ctx := context.Background()
	sets, policy := want.policies()
	// The names stay and sets cannot be swapped one by one, so the old ones make room first. In between peers would be told too
	// much: nothing goes out until the new ones stand.
	export := func(policies []*api.Policy, rest api.RouteAction) error {
		return s.bgp.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: "global", Direction: api.PolicyDirection_POLICY_DIRECTION_EXPORT, Policies: policies, DefaultAction: rest,
		}})
	}
	if err := export(nil, api.RouteAction_ROUTE_ACTION_REJECT); err != nil {
		return err
	}
	old, stale := s.told.policies()
	if len(stale.Statements) > 0 {
		if err := s.bgp.DeletePolicy(ctx, &api.DeletePolicyRequest{Policy: stale, All: true}); err != nil {
			return err
		}
	}
	for _, set := range old {
		if err := s.bgp.DeleteDefinedSet(ctx, &api.DeleteDefinedSetRequest{DefinedSet: set, All: true}); err != nil {
			return err
		}
	}
	s.told = nil
	for _, set := range sets {
		if err := s.bgp.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: set}); err != nil {
			return err
		}
	}
	var policies []*api.Policy
	if len(policy.Statements) > 0 {
		policies = []*api.Policy{policy}
		if err := s.bgp.AddPolicy(ctx, &api.AddPolicyRequest{Policy: policy}); err != nil {
			return err
		}
	}
	if err := export(policies, api.RouteAction_ROUTE_ACTION_ACCEPT); err != nil {
		return err
	}
	s.told = want
	if len(s.spoken) == 0 {
		return nil
	}
	return s.bgp.ResetPeer(ctx, &api.ResetPeerRequest{Address: "all", Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT})
}

// tellable returns what the sessions of next are told, and drops those from next that cannot be.
func tellable(next map[string]session, errs map[string]error) told {
	all := told{}
	for _, key := range slices.Sorted(maps.Keys(next)) {
		n := next[key]
		addr := n.addr.WithZone("")
		if had, twice := all[addr]; twice && !had.equal(wordsFor(n.peer)) {
			errs[n.peer.Name] = fmt.Errorf("peer %s: another peer has the address %s too, on another link, and is to be told other routes or communities: give one of the two another address", n.peer.Name, addr)
			delete(next, key)
			continue
		}
		all[addr] = wordsFor(n.peer)
	}
	maps.DeleteFunc(all, func(_ netip.Addr, w words) bool { return w.equal(words{}) })
	return all
}
