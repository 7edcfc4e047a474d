package main

import (
	"slices"

	"hexapod.dev/model/identity"
	"hexapod.dev/test/bench/fleet"
)

// change is one thing that happens to a fleet.
type change struct {
	name   string
	change func(f *fleet.Fleet, round int)
}

// changes are what is measured.
var changes = []change{
	{"a policy is changed", func(f *fleet.Fleet, i int) {
		f.Policies = slices.Clone(f.Policies)
		f.Policies[i*97] = fleet.Policy(i*97, 20_000+i)
	}},
	{"a policy is added", func(f *fleet.Fleet, i int) {
		f.Policies = append(slices.Clone(f.Policies), fleet.Policy(fleet.Policies+i, 30_000+i))
	}},
	{"an identity comes", func(f *fleet.Fleet, i int) { f.Sets[newest(i)] = fleet.Set(fleet.Identities + i) }},
	{"an identity goes", func(f *fleet.Fleet, i int) { delete(f.Sets, newest(i)) }},
}

func newest(i int) identity.Number {
	return identity.FirstWorkload + fleet.Identities + identity.Number(i)
}
