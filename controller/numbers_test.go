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

// Every number is given once; the 65,281st set gets none and the plan says so, the others go on, and when one goes its number is given and
// the plan says that, too.
func TestNumbersAreUsedUp(t *testing.T) {
	b := newNumberBook()
	given := map[identity.Number]bool{}
	give := func(name string) (identity.Number, error) {
		set := identity.Set{Namespace: "shop", Labels: map[string]string{"n": name}}
		n, err := b.decide(b.rules(set), time.Now(), true)
		if err == nil {
			b.wrote(v1alpha1.NewIdentity(v1alpha1.IdentitySpec{Number: uint16(n), Namespace: set.Namespace, Labels: set.Labels, KeyVersion: identity.KeyVersion}))
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
	_, err := give("one too many")
	var problem *Problem
	if !errors.As(err, &problem) || problem.Why != NumbersFull || !strings.Contains(problem.Text, "excludeLabels") {
		t.Errorf("the 65,281st set: %v", err)
	}
	if c, told := b.condition(1); !told || c.Status != v1alpha1.ConditionFalse || c.Reason != string(NumbersFull) {
		t.Errorf("the plan says %+v, %v", c, told)
	}
	old := b.of(b.rules(identity.Set{Namespace: "shop", Labels: map[string]string{"n": "7"}}))
	if old == nil {
		t.Fatal("a set that has a number lost it")
	}
	b.identity(old, true)
	if n, err := give("one too many"); err != nil || uint16(n) != old.Spec.Number {
		t.Errorf("after %d returned: %d, %v", old.Spec.Number, n, err)
	}
	if c, told := b.condition(1); !told || c.Status != v1alpha1.ConditionTrue {
		t.Errorf("the plan says %+v, %v", c, told)
	}
}
