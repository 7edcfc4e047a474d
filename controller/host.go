package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// ensureHost makes true what one node wants: prefixes, and the Host that others know it by. What the node itself is told is a task of its
// own, so that it comes after the prefixes of all others. Of a node that is gone the prefixes begin to rest, and the Host is removed.
func (t *term) ensureHost(ctx context.Context, name string) error {
	node, ok := t.c.nodes.get(name)
	if !ok || node.Metadata.DeletionTimestamp != nil {
		if ok {
			return nil // it is still there, and its end asks for this task again
		}
		t.found(name, nil)
		return t.retireHost(ctx, name)
	}
	plan, err := t.c.plan()
	var g given
	if err == nil {
		g, err = t.prefixesFor(ctx, plan, node)
	}
	if err == nil {
		err = t.writeHost(ctx, node, g)
	}
	var problem *Problem
	if err != nil && !errors.As(err, &problem) {
		return err
	}
	if problem != nil && problem.Why == WaitingForHosts {
		return err // for some seconds: nothing is known yet that a node could be told
	}
	if problem != nil && problem.Why != WaitingForCIDR {
		t.c.events.warn(ctx, aboutNode(name), problem.Why, problem.Text)
	}
	t.found(name, problem)
	t.queue.add(task{taskNode, name})
	return err
}

// given are the prefixes of a host.
type given struct {
	ipv6, ipv4 *v1alpha1.HostPrefix // ipv4 may be nil
}

// prefixesFor finds or makes the objects of a node's prefixes.
func (t *term) prefixesFor(ctx context.Context, plan *v1alpha1.AddressPlan, node *objects.Node) (given, error) {
	mode, err := t.mode(plan)
	switch {
	case err != nil:
		return given{}, err
	case mode == v1alpha1.HostPrefixesAdopt:
		return t.adopt(ctx, node)
	}
	return t.give(ctx, plan, node)
}

// mode says who numbers hosts: what the plan says, or what was found out in the beginning. It is found out once, and not before things
// are given out: beside nodes of now, prefixes of a moment before look like somebody else's.
func (t *term) mode(plan *v1alpha1.AddressPlan) (v1alpha1.HostPrefixes, error) {
	mode := cmp.Or(plan.Spec.HostPrefixes, plan.Status.HostPrefixes, t.c.foundMode(plan, ""))
	if mode == "" {
		if _, err := t.whole(); err != nil {
			return "", err
		}
		mode = t.findMode()
	}
	return t.c.foundMode(plan, mode), nil
}

// findMode finds out who numbers hosts.
func (t *term) findMode() v1alpha1.HostPrefixes {
	// Nodes that have prefixes of somebody else's have them from somebody who will go on giving them.
	for _, n := range t.c.nodes.store.All() {
		for _, p := range cidrs(n) {
			if o := t.c.ledger.owner(p); o == nil || o.Spec.Adopted {
				return v1alpha1.HostPrefixesAdopt
			}
		}
	}
	return v1alpha1.HostPrefixesPlan
}

// give finds or makes the prefixes of a node by the plan, and writes them into the node.
func (t *term) give(ctx context.Context, plan *v1alpha1.AddressPlan, node *objects.Node) (g given, err error) {
	l := t.c.ledger.layoutNow()
	if l == nil {
		return g, &Problem{Why: NoPlan, Text: "the AddressPlan cannot be used for this cluster: see its condition Accepted"}
	}
	rack, err := l.rack(node.Metadata.Labels[rackLabel])
	if err != nil {
		return g, err
	}
	if g.ipv6, err = t.giveOne(ctx, slot{node.ObjectName(), false}, rack, node); err != nil {
		return g, err
	}
	if plan.Spec.IPv4 != nil {
		if g.ipv4, err = t.giveOne(ctx, slot{node.ObjectName(), true}, rack, node); err != nil {
			return g, err
		}
	}
	return g, t.writeCIDRs(ctx, node, g)
}

// giveOne finds the prefix that a host has, or had: then it has it again. Else a prefix that the host itself or its node says it
// has is written down for it, unless it is another's. Only then a new one is given.
func (t *term) giveOne(ctx context.Context, s slot, rack uint64, node *objects.Node) (*v1alpha1.HostPrefix, error) {
	if p := t.c.ledger.of(s.host, s.ipv4); p != nil {
		if p.Living() {
			return p, nil
		}
		if s.ipv4 || t.c.ledger.inRack(p.Spec.Prefix.Prefix, rack) {
			return t.revive(ctx, p)
		}
	}
	for _, p := range slices.Concat(cidrs(node), t.c.ledger.reportedBy(s.host)) {
		if p.Addr().Is4() != s.ipv4 {
			continue
		}
		if spec, ok := t.c.ledger.known(s, p); ok {
			o, err := t.makePrefix(ctx, decision{spec: spec})
			if !errors.Is(err, errTaken) {
				return o, err
			}
			return nil, &Problem{PrefixTaken, fmt.Sprintf("%s is in use on host %s and belongs to another by its HostPrefix: drain the host, remove its node and start it anew", p, s.host), err}
		}
	}
	whole, err := t.whole()
	if err != nil {
		return nil, err
	}
	for {
		d, err := t.c.ledger.decide(s, rack, time.Now(), whole)
		if err != nil {
			return nil, err
		}
		o, err := t.makePrefix(ctx, d)
		if !errors.Is(err, errTaken) {
			return o, err
		}
		t.c.ledger.forget(s) // another controller was faster; the next number is free, or the one after it
	}
}

// errTaken says that a prefix has another owner.
var errTaken = errors.New("the prefix has another owner")

// makePrefix writes a decision. The object of the prefix's last life makes way for it, if it is still the one that was judged.
func (t *term) makePrefix(ctx context.Context, d decision) (*v1alpha1.HostPrefix, error) {
	all := objects.In(t.c.o.Client, objects.HostPrefixes())
	o := v1alpha1.NewHostPrefix(d.spec)
	if was := d.replace; was != nil && !was.Living() {
		o.Status.Witness = latest(was.Status.Witness, was.Spec.Retired)
		err := all.Delete(ctx, was.ObjectName(), objects.Only{UID: was.Metadata.UID, ResourceVersion: was.Metadata.ResourceVersion})
		if err != nil && !errors.Is(err, objects.ErrNotFound) {
			return nil, err
		}
	}
	witness := o.Status
	got, err := all.Create(ctx, o)
	if errors.Is(err, objects.ErrExists) {
		if got, err = all.Get(ctx, o.ObjectName()); err != nil {
			return nil, err
		}
		t.c.ledger.wrote(got)
		t.c.prefixes.store.Wrote(got)
		if got.Spec.Host != d.spec.Host {
			return nil, errTaken
		}
		return got, nil
	}
	if err != nil {
		return nil, err
	}
	if witness.Witness != nil { // the status of a new object is written apart
		got.Status = witness
		if got, err = all.UpdateStatus(ctx, got); err != nil {
			return nil, err
		}
	}
	t.c.ledger.wrote(got)
	t.c.prefixes.store.Wrote(got)
	return got, nil
}

func latest(a, b *v1alpha1.Time) *v1alpha1.Time {
	if a == nil || b != nil && b.After(a.Time) {
		return b
	}
	return a
}

// revive gives a prefix back to the host that had it last.
func (t *term) revive(ctx context.Context, p *v1alpha1.HostPrefix) (*v1alpha1.HostPrefix, error) {
	patch := map[string]any{
		"metadata": map[string]any{"resourceVersion": p.Metadata.ResourceVersion, "uid": p.Metadata.UID},
		"spec":     map[string]any{"retired": nil},
	}
	all := objects.In(t.c.o.Client, objects.HostPrefixes())
	if w := latest(p.Status.Witness, p.Spec.Retired); w != p.Status.Witness {
		if err := t.witness(ctx, p, w); err != nil {
			return nil, err
		}
		delete(patch["metadata"].(map[string]any), "resourceVersion") // that write made another
	}
	got, err := all.Patch(ctx, p.ObjectName(), "", patch)
	if err != nil {
		return nil, err
	}
	t.c.ledger.wrote(got)
	t.c.prefixes.store.Wrote(got)
	return got, nil
}

// witness writes how late the last host of a prefix may have given an address out.
func (t *term) witness(ctx context.Context, p *v1alpha1.HostPrefix, at *v1alpha1.Time) error {
	_, err := objects.In(t.c.o.Client, objects.HostPrefixes()).Patch(ctx, p.ObjectName(), "status",
		map[string]any{"metadata": map[string]any{"uid": p.Metadata.UID}, "status": map[string]any{"witness": at}})
	return err
}

// writeCIDRs writes the prefixes into the node, where kubelets and others look for them. What somebody else wrote there stays.
func (t *term) writeCIDRs(ctx context.Context, node *objects.Node, g given) error {
	want := []string{g.ipv6.Spec.Prefix.String()}
	if g.ipv4 != nil {
		want = append(want, g.ipv4.Spec.Prefix.String())
	}
	have := node.Spec.PodCIDRs
	if slices.Equal(have, want) {
		return nil
	}
	if len(have) > 0 {
		return &Problem{Why: PrefixForeign, Text: fmt.Sprintf("spec.podCIDRs is %v and the plan gives %v: Kubernetes lets nobody change it. "+
			"Start kube-controller-manager with --allocate-node-cidrs=false and make the node anew, or write hostPrefixes: adopt", have, want)}
	}
	// The taint comes with the prefix, in one write: with the prefix alone the scheduler would begin.
	meta, spec := map[string]any{"uid": node.Metadata.UID}, map[string]any{"podCIDR": want[0], "podCIDRs": want}
	if taints, changed := taintsOf(node, t.judgeAgent(node.ObjectName()) != nil); changed {
		meta["resourceVersion"], spec["taints"] = node.Metadata.ResourceVersion, taints
	}
	patch := map[string]any{"metadata": meta, "spec": spec}
	got, err := objects.In(t.c.o.Client, objects.Nodes()).Patch(ctx, node.ObjectName(), "", patch)
	if err == nil {
		t.c.nodes.store.Wrote(got)
	}
	return err
}

// adopt writes down what somebody else gave to a node.
func (t *term) adopt(ctx context.Context, node *objects.Node) (g given, err error) {
	all := cidrs(node)
	if len(all) == 0 {
		return g, &Problem{Why: WaitingForCIDR, Text: "the node has no podCIDRs yet: whoever numbers nodes here writes them, or write hostPrefixes: plan"}
	}
	for _, p := range all {
		if err := fit(p); err != nil {
			return g, err
		}
		o, err := t.adoptOne(ctx, node.ObjectName(), p)
		if err != nil {
			return g, err
		}
		switch {
		case p.Addr().Is4():
			g.ipv4 = o
		case g.ipv6 == nil:
			g.ipv6 = o
		}
	}
	if g.ipv6 == nil {
		return g, &Problem{Why: PrefixUnfit, Text: fmt.Sprintf("spec.podCIDRs is %v: there is no IPv6 prefix among them", node.Spec.PodCIDRs)}
	}
	return g, nil
}

func (t *term) adoptOne(ctx context.Context, host string, p netip.Prefix) (*v1alpha1.HostPrefix, error) {
	if o := t.c.ledger.owner(p); o != nil && o.Spec.Host == host {
		if o.Living() {
			return o, nil
		}
		return t.revive(ctx, o)
	}
	d := decision{spec: v1alpha1.HostPrefixSpec{Prefix: v1alpha1.PrefixFrom(p), Host: host, Adopted: true}}
	if o := t.c.ledger.owner(p); o != nil && !o.Living() {
		// Whoever numbers nodes here has given it again. Its rest was not ours to keep, but its witness is.
		d.replace = o
	}
	if other, ok := t.c.ledger.overlapping(p, host); ok {
		return nil, &Problem{Why: PrefixTaken, Text: fmt.Sprintf("%s overlaps %s of host %s", p, other.Spec.Prefix, other.Spec.Host)}
	}
	o, err := t.makePrefix(ctx, d)
	if errors.Is(err, errTaken) {
		return nil, &Problem{PrefixTaken, fmt.Sprintf("%s stands in the podCIDRs of two nodes, and the other had it first: make this node anew", p), err}
	}
	return o, err
}

// fit judges a prefix that somebody else gave.
func fit(p netip.Prefix) error {
	if p.Addr().Is4() && p.Bits() <= 30 || p.Addr().Is6() && p.Bits() >= 48 && p.Bits() <= 120 {
		return nil
	}
	return &Problem{Why: PrefixUnfit, Text: fmt.Sprintf("%s cannot be a host prefix: want an IPv6 prefix of /48 to /120, and an IPv4 one of /30 or shorter", p)}
}

// cidrs reads podCIDRs; what is no prefix is left out, for the API server takes none.
func cidrs(n *objects.Node) (all []netip.Prefix) {
	for _, s := range n.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(s); err == nil {
			all = append(all, p.Masked())
		}
	}
	return all
}

// retireHost lets the prefixes of a host that is gone rest, and removes what others knew of it.
func (t *term) retireHost(ctx context.Context, name string) error {
	report, reported := t.c.statuses.get(name)
	for _, p := range t.c.ledger.livingOf(name) {
		if reported && report.Status.Witness != nil {
			if err := t.witness(ctx, p, report.Status.Witness); err != nil && !errors.Is(err, objects.ErrNotFound) {
				return err
			}
		}
		now := v1alpha1.TimeFrom(time.Now())
		patch := map[string]any{"metadata": map[string]any{"uid": p.Metadata.UID}, "spec": map[string]any{"retired": now}}
		got, err := objects.In(t.c.o.Client, objects.HostPrefixes()).Patch(ctx, p.ObjectName(), "", patch)
		if errors.Is(err, objects.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		t.c.ledger.wrote(got)
		t.c.prefixes.store.Wrote(got)
	}
	h, known := t.c.hosts.get(name)
	if !known {
		return nil // a report alone may come from a host whose node is yet to be registered again; it is heard
	}
	if reported {
		if err := gone(objects.In(t.c.o.Client, objects.HostStatuses()).Delete(ctx, name, objects.Only{UID: report.Metadata.UID})); err != nil {
			return err
		}
	}
	return gone(objects.In(t.c.o.Client, objects.Hosts()).Delete(ctx, name, objects.Only{UID: h.Metadata.UID}))
}

// gone is the error of a Delete, unless there was nothing to delete.
func gone(err error) error {
	if errors.Is(err, objects.ErrNotFound) {
		return nil
	}
	return err
}
