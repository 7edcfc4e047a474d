package policy_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/policy/policytest"
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
