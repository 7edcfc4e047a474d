package controller

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/identity"
)

// Every number is given once. The 65,281st set gets one that does not fit into addresses and the plan says so; a set after all of these
// gets none, and the plan says that. The others go on, and a number that returned is given to the next set.
func TestNumbersAreUsedUp(t *testing.T) {
	b := newNumberBook()
	key := func(name string) string {
		return b.rules(identity.Set{Namespace: "shop", Labels: map[string]string{"n": name}})
	}
	given := map[identity.Number]bool{}
	give := func(name string) (identity.Number, error) {
		set := identity.Set{Namespace: "shop", Labels: map[string]string{"n": name}}
		n, err := b.decide(b.rules(set), time.Now(), true)
		if err == nil {
			b.wrote(v1alpha1.NewIdentity(v1alpha1.IdentitySpec{Number: uint32(n), Namespace: set.Namespace, Labels: set.Labels, KeyVersion: identity.KeyVersion}))
		}
		return n, err
	}
	for i := range int(identity.LastWorkload-identity.FirstWorkload) + 1 {
		n, err := give(fmt.Sprint(i))
		if err != nil || given[n] || !n.Workload() {
			t.Fatalf("set %d: number %d, given %v, %v", i, n, given[n], err)
		}
		given[n] = true
	}
	if _, told := b.condition(1); told {
		t.Error("the plan tells of numbers although all got one")
	}
	if n, err := give("beyond"); err != nil || n != identity.FirstWide {
		t.Fatalf("the 65,281st set: number %d, %v", n, err)
	}
	if c, told := b.condition(1); !told || c.Status != v1alpha1.ConditionFalse || c.Reason != string(NumbersFull) ||
		!strings.Contains(c.Message, "excludeLabels") || !strings.Contains(c.Message, "were used: 1.") {
		t.Errorf("the plan says %+v, %v", c, told)
	}
	if n, err := give("beyond"); err != nil || n != identity.FirstWide {
		t.Errorf("the same set again: %d, %v", n, err)
	}

	// A number of before returns: the next set gets it, the one that came before keeps its own.
	old := b.of(key("7"))
	b.identity(old, true)
	if n, err := give("after"); err != nil || uint32(n) != old.Spec.Number {
		t.Errorf("after %d returned: %d, %v", old.Spec.Number, n, err)
	}
	if i := b.of(key("beyond")); i == nil || i.Spec.Number != uint32(identity.FirstWide) {
		t.Errorf("the 65,281st set has %+v", i)
	}

	for n := identity.FirstWide + 1; n < identity.LastWide; n++ {
		b.living(n)
	}
	if n, err := give("last"); err != nil || n != identity.LastWide {
		t.Fatalf("the last number of all: %d, %v", n, err)
	}
	var problem *Problem
	if _, err := give("one too many"); !errors.As(err, &problem) || problem.Why != NumbersFull || !strings.Contains(problem.Text, "excludeLabels") {
		t.Errorf("a set after all numbers: %v", err)
	}
	if c, told := b.condition(1); !told || c.Status != v1alpha1.ConditionFalse || !strings.Contains(c.Message, "known to other hosts by no labels") {
		t.Errorf("the plan says %+v, %v", c, told)
	}
	for n, i := range b.objects {
		if n.Wide() {
			b.identity(i, true)
		}
	}
	b.identity(b.of(key("8")), true)
	if n, err := give("one too many"); err != nil || n.Wide() {
		t.Errorf("after others went: %d, %v", n, err)
	}
	if c, told := b.condition(1); !told || c.Status != v1alpha1.ConditionTrue {
		t.Errorf("the plan says %+v, %v", c, told)
	}
}

// A store that was put back to a time before knows less than hosts do: whoever has heard of a number beyond those that fit into addresses
// has heard that all of them were given.
func TestWideNumbersAreNotForgotten(t *testing.T) {
	for name, report := range map[string]v1alpha1.HostReport{
		"carried": {Identities: []uint32{uint32(identity.FirstWide) + 4}},
		"seen":    {Seen: v1alpha1.Seen{Identity: uint32(identity.FirstWide) + 4}},
	} {
		b := newNumberBook()
		none := func() []*v1alpha1.Identity { return nil }
		b.restart(none, func() []*v1alpha1.HostStatus { return []*v1alpha1.HostStatus{v1alpha1.NewHostStatus("h", report)} })
		b.restart(none, func() []*v1alpha1.HostStatus { return nil }) // the host is silent now
		if n, err := b.decide("a", time.Now(), false); err != nil || n != identity.FirstWide+5 {
			t.Errorf("%s, while a host is silent: %d, %v", name, n, err)
		}
		if n, err := b.decide("b", time.Now(), true); err != nil || n != identity.FirstWorkload {
			t.Errorf("%s, when all have reported: %d, %v", name, n, err)
		}
	}
}
