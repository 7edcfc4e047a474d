package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
	edgeobjects "hexapod.dev/edge/objects"
	"hexapod.dev/model/policy"
)

// policyTask is the task of a policy: those of the cluster have no namespace.
func policyTask(k objects.Key) task { return task{taskPolicy, k.String()} }

// connectPolicies says what changes of policies ask for.
func (c *Controller) connectPolicies() {
	c.networkPolicies.changed = func(p *objects.NetworkPolicy, _ bool) { c.ask(policyTask(objects.KeyOf(&p.Header))) }
	c.clusterPolicies.changed = func(p *objects.ClusterNetworkPolicy, _ bool) { c.ask(policyTask(objects.KeyOf(&p.Header))) }
	c.networkPolicies.replaced = func(l objects.Listing[objects.NetworkPolicy]) {
		for _, p := range l.Objects {
			c.ask(policyTask(objects.KeyOf(&p.Header)))
		}
	}
	c.clusterPolicies.replaced = func(l objects.Listing[objects.ClusterNetworkPolicy]) {
		for _, p := range l.Objects {
			c.ask(policyTask(objects.KeyOf(&p.Header)))
		}
	}
}

// runClusterPolicies follows a kind that somebody may have installed or not.
func (c *Controller) runClusterPolicies(ctx context.Context, log *slog.Logger) error {
	return c.clusterPolicies.collection.FollowKind(ctx, log, c.clusterPolicies, objects.ClusterNetworkPolicyKind)
}

// checkPolicy tells the owner of a policy what of it is not in force as it is written: by an event and, where the kind has a status, by
// a condition.
func (t *term) checkPolicy(ctx context.Context, name string) error {
	namespace, short, namespaced := strings.Cut(name, "/")
	if namespaced {
		p, ok := t.c.networkPolicies.store.Get(objects.Key{Namespace: namespace, Name: short})
		if !ok {
			return nil
		}
		t.warnOfPolicy(ctx, &p.Header, t.unheld(p.Problem, edgeobjects.NetworkPolicy(&p.NetworkPolicy)))
		return nil
	}
	p, ok := t.c.clusterPolicies.get(name)
	if !ok {
		return nil
	}
	left := t.unheld(p.Problem, edgeobjects.ClusterNetworkPolicy(&p.ClusterNetworkPolicy))
	t.warnOfPolicy(ctx, &p.Header, left)
	return t.writePolicyCondition(ctx, p, left)
}

// unheld says in words what of a policy is not held; empty: nothing.
func (t *term) unheld(problem string, p policy.Policy) string {
	var words []string
	if problem != "" {
		words = append(words, "left out, and closed: "+problem)
	}
	if rules, known := t.c.pods.rulesNow(); known {
		if labels := edgeobjects.UnknownLabels(p, rules); len(labels) > 0 {
			words = append(words, fmt.Sprintf("rules tell others by %s, which is no part of an identity, so nobody matches: select by another label, "+
				"or take it out of spec.identity.excludeLabels of the AddressPlan", strings.Join(labels, ", ")))
		}
	}
	return strings.Join(words, "; ")
}

func (t *term) warnOfPolicy(ctx context.Context, h *v1alpha1.Header, left string) {
	if left == "" {
		return
	}
	t.c.events.warn(ctx, objects.ObjectReference{APIVersion: h.APIVersion, Kind: h.Kind, Namespace: h.Metadata.Namespace, Name: h.ObjectName(), UID: h.Metadata.UID}, NotHeld, left)
}

// policyCondition is the condition of a ClusterNetworkPolicy: others who hold it have conditions of their own in the same list.
const policyCondition = "hexapod.dev/Accepted"

func (t *term) writePolicyCondition(ctx context.Context, p *objects.ClusterNetworkPolicy, left string) error {
	status := v1alpha1.Status{Conditions: slices.Clone(p.Status.Conditions)}
	c := v1alpha1.Condition{Type: policyCondition, Status: v1alpha1.ConditionTrue, Reason: string(Accepted), Message: "in force as it is written",
		LastTransitionTime: v1alpha1.TimeFrom(time.Now()), ObservedGeneration: p.Metadata.Generation}
	if left != "" {
		c.Status, c.Reason, c.Message = v1alpha1.ConditionFalse, string(NotHeld), left
	}
	if !status.Set(c) {
		return nil
	}
	patch := map[string]any{"metadata": map[string]any{"uid": p.Metadata.UID, "resourceVersion": p.Metadata.ResourceVersion}, "status": status}
	got, err := objects.In(t.c.o.Client, objects.ClusterNetworkPolicies()).Patch(ctx, p.ObjectName(), "status", patch)
	if err == nil {
		t.c.clusterPolicies.store.Wrote(got)
	}
	return gone(err)
}
