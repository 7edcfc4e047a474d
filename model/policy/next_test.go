package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/policy/policytest"
	"hexapod.dev/model/transport"
)

// A compiler that goes from world to world says of each what its rules say, and what concerns nobody here is not made again.
func TestNextIsLikeNew(t *testing.T) {
	kept, all := 0, 0
	for seed := range uint64(60) {
		r := policytest.Dice{Rand: rand.New(rand.NewPCG(seed, 67))}
		w := r.World()
		c := policy.NewCompiler(w)
		subjects := map[netip.Addr]policy.Subject{}
		for range 6 {
			subjects[r.Addr()] = *r.Subject(w)
		}
		var before policy.Compiled
		for step := range 12 {
			if step > 0 {
				w = r.After(w)
				c = c.Next(w)
			}
			got, err := c.CompileAll(subjects, policy.Believed{})
			if err != nil {
				t.Fatal(err)
			}
			for a, tables := range got.Subjects {
				s := subjects[a]
				for range 60 {
					f := r.Flow()
					f.Other.Who.Number = got.Believed.Known.Seen(f.Other.Who.Number)
					if f.Other.Who.By == identity.Outside {
						f.Other.Who.Number = identity.Unknown
					}
					if v, want := tables[f.Direction].Lookup(f), w.Judge(&s, f); v != want {
						t.Fatalf("seed %d, world %d: %+v at %s: the table says %v, the rules %v", seed, step, f, s.Set, v, want)
					}
				}
				if all++; before.Subjects[a] == tables {
					kept++
				}
			}
			before = got
		}
	}
	if kept == 0 || kept == all {
		t.Errorf("%d of %d tables were kept", kept, all)
	}
	t.Logf("%d of %d tables were kept", kept, all)
}

// Peers of a rule for a port by name may select the same identities, in any order.
func TestNamedPortsOfSeveralPeers(t *testing.T) {
	w := &policy.World{Identities: map[identity.Number]identity.Set{}, Named: map[identity.Number][]policy.NamedPort{}}
	http := policy.NamedPort{Name: "http", Protocol: transport.TCP, Port: 8080}
	for n := range identity.Number(12) {
		w.Identities[0x100+n] = identity.Set{Namespace: "shop", Labels: map[string]string{"odd": fmt.Sprint(int(n) % 2), "third": fmt.Sprint(int(n) % 3)}}
		w.Named[0x100+n] = []policy.NamedPort{http}
	}
	peer := func(key, value string) policy.Peer {
		return policy.Peer{Workloads: &policy.Workloads{Namespace: "shop", Endpoints: policy.Selector{{Key: key, Op: policy.In, Values: []string{value}}}}}
	}
	p := &policy.Policy{Name: "NetworkPolicy shop/p", Tier: policy.Namespace, Subject: policy.Workloads{Namespace: "shop"}, Governs: [2]bool{policy.Egress: true}}
	p.Rules[policy.Egress] = []policy.Rule{{Name: "egress 0", Peers: []policy.Peer{peer("odd", "1"), peer("third", "2"), peer("third", "0")},
		Ports: []policy.Port{{Protocol: transport.TCP, Name: "http"}}}}
	w.Policies = []*policy.Policy{p}
	s := &policy.Subject{Number: 0x100, Set: w.Identities[0x100]}
	table, err := policy.NewCompiler(w).Compile(s, policy.Egress)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for n := range w.Identities {
		f := policy.Flow{Direction: policy.Egress, Other: policy.Other{Who: identity.Answer{Number: n, By: identity.ByBits}}, Protocol: transport.TCP, Port: 8080}
		if got, want := table.Lookup(f), w.Judge(s, f); got != want {
			t.Errorf("identity %d: the table says %v, the rules %v", n, got, want)
		} else if want.Action == policy.Accept {
			accepted++
		}
	}
	if accepted != 10 { // of 12, all but two even ones that three leaves 1 of
		t.Errorf("%d identities are accepted", accepted)
	}
}
