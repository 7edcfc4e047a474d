package controller

import (
	"context"
	"errors"
	"slices"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
	edgeobjects "hexapod.dev/edge/objects"
)

// check writes into what people wrote whether it is in use, and if not why: what no object shows by itself, but only beside others.
func (t *term) check(ctx context.Context) error {
	set := v1alpha1.Group(t.written())
	problems := t.problems(set)
	counts, _ := t.c.claims.claimed()
	first := map[[2]string]v1alpha1.Problem{} // the first error of each object
	for _, p := range problems.Errors() {
		key := [2]string{p.Kind, p.Name}
		if _, more := first[key]; !more {
			first[key] = p
		}
	}
	var errs []error
	if set.Plan != nil {
		c, ok := t.c.numbers.condition(set.Plan.Metadata.Generation)
		if _, said := set.Plan.Status.Condition(v1alpha1.ConditionNumbers); ok || said {
			set.Plan.Status.Conditions = slices.Clone(set.Plan.Status.Conditions) // the feed's list is not ours to change
			set.Plan.Status.Set(c)
		}
		errs = append(errs, writeStatus(ctx, t.c.o.Client, t.c.plans, set.Plan, first, &set.Plan.Status.Status))
	}
	for _, p := range set.Pools {
		p.Status.Claimed = counts[p.ObjectName()]
		errs = append(errs, writeStatus(ctx, t.c.o.Client, t.c.pools, p, first, &p.Status.Status))
	}
	for _, a := range set.Addresses {
		errs = append(errs, writeStatus(ctx, t.c.o.Client, t.c.addresses, a, first, &a.Status.Status))
	}
	for _, b := range set.BGPPeers {
		errs = append(errs, writeStatus(ctx, t.c.o.Client, t.c.peers, b, first, &b.Status))
	}
	for _, n := range set.Translations {
		errs = append(errs, writeStatus(ctx, t.c.o.Client, t.c.nat64, n, first, &n.Status))
	}
	return errors.Join(errs...)
}

// written are copies of what people wrote, with the hosts they are judged against.
func (t *term) written() []v1alpha1.Object {
	var all []v1alpha1.Object
	all = appendCopies[v1alpha1.AddressPlan](all, t.c.plans)
	all = appendCopies[v1alpha1.Pool](all, t.c.pools)
	all = appendCopies[v1alpha1.Address](all, t.c.addresses)
	all = appendCopies[v1alpha1.BGPPeer](all, t.c.peers)
	all = appendCopies[v1alpha1.Translation](all, t.c.nat64)
	return appendCopies[v1alpha1.Host](all, t.c.hosts)
}

// pointerTo is the pointer type of a kind.
type pointerTo[T any] interface {
	*T
	v1alpha1.Object
}

func appendCopies[T any, P pointerTo[T]](all []v1alpha1.Object, f *feed[T]) []v1alpha1.Object {
	for _, o := range f.store.All() {
		again := *o
		all = append(all, P(&again))
	}
	return all
}

func (t *term) problems(set v1alpha1.Set) v1alpha1.Problems {
	var found v1alpha1.Problems
	for _, o := range set.Objects() {
		if _, host := o.(*v1alpha1.Host); !host {
			found = append(found, v1alpha1.Validate(o)...)
		}
	}
	found = append(found, v1alpha1.Check(set.Objects())...)
	if set.Plan == nil || len(found.Errors()) > 0 {
		return found
	}
	_, more := edgeobjects.For(set)
	found = append(found, more...)
	if _, err := newLayout(edgeobjects.Plan(v1alpha1.Set{Plan: set.Plan}), t.c.o.Cluster); err != nil {
		found = append(found, v1alpha1.ProblemAt(set.Plan, "spec.clusters", err.Error(), ""))
	}
	return found
}

// writeStatus writes the status of an object when its condition Accepted, or anything else of it, has changed. o is a copy of what
// the feed has, with defaults that are not to be written: only the status goes out.
func writeStatus[T any, P pointerTo[T]](ctx context.Context, client *objects.Client, f *feed[T], o P, first map[[2]string]v1alpha1.Problem, status *v1alpha1.Status) error {
	head := o.Head()
	c := v1alpha1.Condition{Type: v1alpha1.ConditionAccepted, Status: v1alpha1.ConditionTrue, Reason: string(Accepted), Message: "in use as it is written",
		LastTransitionTime: v1alpha1.TimeFrom(time.Now()), ObservedGeneration: head.Metadata.Generation}
	if p, bad := first[[2]string{head.Kind, head.ObjectName()}]; bad {
		c.Status, c.Reason, c.Message = v1alpha1.ConditionFalse, string(Refused), p.Field+": "+p.What+"; "+p.Next
	}
	conditions := append([]v1alpha1.Condition(nil), status.Conditions...) // the feed's list is not ours to change
	status.Conditions = conditions
	status.Set(c)
	want := map[string]any{"conditions": status.Conditions}
	if pool, ok := any(o).(*v1alpha1.Pool); ok {
		want["claimed"] = pool.Status.Claimed
	}
	if before, known := f.get(head.ObjectName()); known && sameJSON(statusOf(before), statusOf((*T)(o))) {
		return nil
	}
	patch := map[string]any{"metadata": map[string]any{"uid": head.Metadata.UID}, "status": want}
	got, err := objects.In(client, f.resource).Patch(ctx, head.ObjectName(), "status", patch)
	if err == nil {
		f.store.Wrote(got)
	}
	return gone(err)
}

// statusOf returns the status of an object of a kind that has one.
func statusOf(o any) any {
	switch o := o.(type) {
	case *v1alpha1.AddressPlan:
		return o.Status
	case *v1alpha1.Pool:
		return o.Status
	case *v1alpha1.Address:
		return o.Status
	case *v1alpha1.BGPPeer:
		return o.Status
	case *v1alpha1.Translation:
		return o.Status
	}
	return nil
}
