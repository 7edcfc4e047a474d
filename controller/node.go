package controller

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// writeHost makes the Host what is wanted. An address that another host has is left out, and is the problem that is returned.
func (t *term) writeHost(ctx context.Context, node *objects.Node, g given) error {
	report, _ := t.c.statuses.get(node.ObjectName())
	spec := wantHost(node, report, g)
	twice, freed := t.c.reached.claim(node.ObjectName(), &spec)
	for _, name := range freed {
		t.c.ask(task{taskHost, name})
	}
	want := v1alpha1.NewHost(node.ObjectName(), spec)
	want.Metadata.Labels = node.Metadata.Labels // policies select hosts by them
	all := objects.In(t.c.o.Client, objects.Hosts())
	have, ok := t.c.hosts.get(node.ObjectName())
	var err error
	written := true
	switch {
	case !ok:
		have, err = all.Create(ctx, want)
	case have.Spec.Prefix.IsValid() && have.Spec.Prefix != want.Spec.Prefix:
		// The object of another life of this name. Others forget it before they hear of the next.
		return errors.Join(gone(all.Delete(ctx, node.ObjectName(), objects.Only{UID: have.Metadata.UID})), errAgain)
	case !sameJSON(have.Spec, want.Spec) || !maps.Equal(have.Metadata.Labels, want.Metadata.Labels):
		labels := want.Metadata.Labels
		want.Metadata = have.Metadata
		want.Metadata.Labels = labels
		want.Status = have.Status
		have, err = all.Update(ctx, want)
	default:
		written = false
	}
	if err != nil {
		return err
	}
	if written {
		t.c.hosts.store.Wrote(have)
	}
	if twice != nil {
		return twice
	}
	return nil
}

// errAgain asks for a task once more; it is no failure.
var errAgain = &objects.StatusError{Code: 409, Reason: "Conflict", Message: "written anew in two steps"}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// notReadyTaint keeps pods from a node that cannot give them addresses yet.
const notReadyTaint = "hexapod.dev/not-ready"

// The conditions of a node that the controller writes. The first is Kubernetes' own.
const (
	networkUnavailable = "NetworkUnavailable"
	addressesCondition = "HexapodAddresses"
)

// found keeps why a host has no prefix, for its node to be told; nil: it has.
func (t *term) found(name string, problem *Problem) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if problem == nil {
		delete(t.causes, name)
		return
	}
	t.causes[name] = problem
}

// cause is what was found.
func (t *term) cause(name string) *Problem {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.causes[name]
}

// ensureNode writes into the node whether pods may run on it, and what is wrong with its addresses.
func (t *term) ensureNode(ctx context.Context, name string) error {
	node, ok := t.c.nodes.get(name)
	if !ok || node.Metadata.DeletionTimestamp != nil {
		return nil
	}
	problem := t.cause(name)
	if problem == nil {
		problem = t.judgeAgent(name)
	}
	serves := problem == nil
	network := objects.NodeCondition{Type: networkUnavailable, Status: v1alpha1.ConditionFalse, Reason: string(Ready), Message: "Hexapod serves pods on this node"}
	if !serves {
		network = objects.NodeCondition{Type: networkUnavailable, Status: v1alpha1.ConditionTrue, Reason: string(problem.Why), Message: problem.Text}
	}
	addresses := objects.NodeCondition{Type: addressesCondition, Status: v1alpha1.ConditionTrue, Reason: string(Ready), Message: "the node's addresses are as they should be"}
	judged := judgeAddresses(node)
	if judged == nil {
		judged = t.c.stale.of(node.ObjectName())
	}
	if judged != nil {
		addresses.Status, addresses.Reason, addresses.Message = v1alpha1.ConditionFalse, string(judged.Why), judged.Text
		t.c.events.warn(ctx, aboutNode(node.ObjectName()), judged.Why, judged.Text)
	}
	node, err := t.writeConditions(ctx, node, network, addresses)
	if err != nil {
		return err
	}
	return t.writeTaint(ctx, node, !serves)
}

// judgeAgent says why the agent of a host does not serve.
func (t *term) judgeAgent(name string) *Problem {
	report, ok := t.c.statuses.get(name)
	if !ok {
		return &Problem{Why: AgentSilent, Text: "no agent of Hexapod has reported from this node yet"}
	}
	ready, said := report.Status.Condition(v1alpha1.ConditionReady)
	switch {
	case !said:
		return &Problem{Why: AgentNotReady, Text: "the agent has not said yet whether it serves"}
	case ready.Status != v1alpha1.ConditionTrue:
		return &Problem{Why: AgentNotReady, Text: ready.Reason + ": " + ready.Message}
	}
	return nil
}

// writeConditions writes the conditions that are not there as they should be, and returns the node as it is then.
func (t *term) writeConditions(ctx context.Context, node *objects.Node, want ...objects.NodeCondition) (*objects.Node, error) {
	now := v1alpha1.TimeFrom(time.Now())
	var changed []objects.NodeCondition
	for _, w := range want {
		i := slices.IndexFunc(node.Status.Conditions, func(c objects.NodeCondition) bool { return c.Type == w.Type })
		w.LastHeartbeatTime, w.LastTransitionTime = &now, &now
		if i >= 0 {
			have := node.Status.Conditions[i]
			if have.Status == w.Status && have.Reason == w.Reason && have.Message == w.Message {
				continue
			}
			if have.Status == w.Status && have.LastTransitionTime != nil {
				w.LastTransitionTime = have.LastTransitionTime
			}
		}
		changed = append(changed, w)
	}
	if len(changed) == 0 {
		return node, nil
	}
	patch := map[string]any{"metadata": map[string]any{"uid": node.Metadata.UID}, "status": map[string]any{"conditions": changed}}
	got, err := objects.In(t.c.o.Client, objects.Nodes()).PatchLists(ctx, node.ObjectName(), "status", patch)
	if err != nil {
		return nil, err
	}
	t.c.nodes.store.Wrote(got)
	return got, nil
}

// writeTaint adds or removes the taint. The list of taints is written as a whole, so it must still be the one that was read.
func (t *term) writeTaint(ctx context.Context, node *objects.Node, want bool) error {
	taints, changed := taintsOf(node, want)
	if !changed {
		return nil
	}
	patch := map[string]any{"metadata": map[string]any{"uid": node.Metadata.UID, "resourceVersion": node.Metadata.ResourceVersion}, "spec": map[string]any{"taints": taints}}
	got, err := objects.In(t.c.o.Client, objects.Nodes()).Patch(ctx, node.ObjectName(), "", patch)
	if err == nil {
		t.c.nodes.store.Wrote(got)
	}
	return err
}

// taintsOf returns the taints of a node with ours, or without it, and whether that is a change.
func taintsOf(node *objects.Node, want bool) (taints []objects.Taint, changed bool) {
	ours := func(x objects.Taint) bool { return x.Key == notReadyTaint }
	changed = slices.ContainsFunc(node.Spec.Taints, ours) != want
	taints = slices.DeleteFunc(slices.Clone(node.Spec.Taints), ours)
	if want {
		taints = append(taints, objects.Taint{Key: notReadyTaint, Effect: "NoSchedule"})
	}
	return taints, changed
}
