package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// sweep does what comes with time: numbers and addresses that return, the counts of the plan, pods with addresses that are gone.
func (t *term) sweep(ctx context.Context) error {
	plan, err := t.c.plan()
	if err != nil {
		return nil // there is nothing to look after
	}
	errs := []error{
		t.returnNumbers(ctx, plan.Spec.Identity.Quarantine.Duration),
		t.returnClaims(ctx, plan.Spec.Identity.Quarantine.Duration),
		t.returnAdopted(ctx, plan.Spec.Rest.Duration),
		t.forgetReports(ctx, plan.Spec.Rest.Duration),
		t.writePlan(ctx, plan),
	}
	if t.c.stale.due(time.Now()) {
		errs = append(errs, t.findStale(ctx))
	}
	t.gauges()
	return errors.Join(errs...)
}

func (t *term) gauges() {
	m := t.c.metrics
	_, resting := t.c.ledger.count()
	pods, sets := t.c.pods.count()
	t.mu.Lock()
	silent := t.answers.silent
	t.mu.Unlock()
	m.set("hosts", t.c.hosts.store.Len())
	m.set("silent", silent)
	m.set("resting", resting)
	m.set("identities", t.c.identities.store.Len())
	m.set("wide", t.c.numbers.countWide())
	m.set("pods", pods)
	m.set("sets", sets)
	m.set("waiting", t.queue.length())
	m.set("leading", 1)
	_, behind := t.behind(time.Now())
	m.set("behind", behind)
}

// writePlan writes the counts of the plan, which people see in kubectl get addressplans. Every agent hears of it, so it is not done
// more often than a sweep.
func (t *term) writePlan(ctx context.Context, plan *v1alpha1.AddressPlan) error {
	living, resting := t.c.ledger.count()
	t.mu.Lock()
	round := t.round
	t.mu.Unlock()
	silent := plan.Status.Silent
	if round != 0 {
		silent = t.count(round).silent
	}
	want := plan.Status
	want.Hosts, want.Resting, want.Silent = living, resting, silent
	if mode, err := t.mode(plan); err == nil {
		want.HostPrefixes = mode
	}
	want.BehindHosts, want.Behind = t.behind(time.Now())
	if sameJSON(want, plan.Status) {
		return nil
	}
	patch := map[string]any{"hosts": want.Hosts, "resting": want.Resting, "silent": want.Silent, "hostPrefixes": want.HostPrefixes,
		"behind": want.Behind, "behindHosts": want.BehindHosts}
	got, err := objects.In(t.c.o.Client, objects.AddressPlans()).Patch(ctx, plan.ObjectName(), "status", map[string]any{"status": patch})
	if err == nil {
		t.c.plans.store.Wrote(got)
	}
	return err
}

// returnClaims takes back the addresses of pods that have been gone for long.
func (t *term) returnClaims(ctx context.Context, quarantine time.Duration) error {
	whole, waiting := t.whole()
	if waiting != nil || !whole {
		return nil
	}
	_, ours := t.c.claims.claimed()
	var errs []error
	for _, o := range ours {
		if _, there := t.c.pods.claim(podOf(o)); there {
			t.c.missed.forget(o.Metadata.UID)
			continue
		}
		if t.c.missed.since(o.Metadata.UID, time.Now()) < quarantine {
			continue
		}
		err := gone(objects.In(t.c.o.Client, objects.Addresses()).Delete(ctx, o.ObjectName(),
			objects.Only{UID: o.Metadata.UID, ResourceVersion: o.Metadata.ResourceVersion}))
		if err == nil {
			t.c.missed.forget(o.Metadata.UID)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// returnAdopted removes the objects of adopted prefixes that have rested: whoever gave them keeps the books of them.
func (t *term) returnAdopted(ctx context.Context, rest time.Duration) error {
	var errs []error
	for _, p := range values(t.c.prefixes.store) {
		if p.Spec.Adopted && !p.Living() && time.Since(p.Spec.Retired.Time) > rest {
			errs = append(errs, gone(objects.In(t.c.o.Client, objects.HostPrefixes()).Delete(ctx, p.ObjectName(),
				objects.Only{UID: p.Metadata.UID, ResourceVersion: p.Metadata.ResourceVersion})))
		}
	}
	return errors.Join(errs...)
}

// forgetReports removes what was reported from hosts that have had neither Node nor Host for long.
func (t *term) forgetReports(ctx context.Context, rest time.Duration) error {
	var errs []error
	for _, r := range values(t.c.statuses.store) {
		_, node := t.c.nodes.get(r.ObjectName())
		_, host := t.c.hosts.get(r.ObjectName())
		if node || host {
			t.c.missed.forget(r.Metadata.UID)
			continue
		}
		if t.c.missed.since(r.Metadata.UID, time.Now()) >= rest {
			err := gone(objects.In(t.c.o.Client, objects.HostStatuses()).Delete(ctx, r.ObjectName(), objects.Only{UID: r.Metadata.UID}))
			if err == nil {
				t.c.missed.forget(r.Metadata.UID)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// missing remembers since when things were missed, in this process: a new one begins to count anew, which keeps things longer.
type missing struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (m *missing) since(what string, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at == nil {
		m.at = map[string]time.Time{}
	}
	first, ok := m.at[what]
	if !ok {
		m.at[what] = now
		return 0
	}
	return now.Sub(first)
}

func (m *missing) forget(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.at, what)
}

// staleList are pods of the host network with addresses that their nodes lost, by node.
type staleList struct {
	mu     sync.Mutex
	looked time.Time
	byNode map[string][]objects.Key
}

// staleTime is the distance of looks.
const staleTime = time.Minute

func (s *staleList) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.looked) >= staleTime
}

// set keeps a new list and returns the nodes for which it says something else than the one before.
func (s *staleList) set(byNode map[string][]objects.Key, now time.Time) (changed []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, pods := range byNode {
		if len(s.byNode[name]) == 0 || staleText(s.byNode[name]) != staleText(pods) {
			changed = append(changed, name)
		}
	}
	for name := range s.byNode {
		if len(byNode[name]) == 0 {
			changed = append(changed, name)
		}
	}
	s.byNode, s.looked = byNode, now
	return changed
}

func (s *staleList) of(node string) *Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byNode[node]) == 0 {
		return nil
	}
	return &Problem{Why: StalePods, Text: staleText(s.byNode[node])}
}

// findStale looks at the pods of the host network. There are few on each node, and nothing changes them in a hurry, so they are
// listed now and then instead of watched.
func (t *term) findStale(ctx context.Context) error {
	pods, _, err := objects.In(t.c.o.Client, objects.Pods()).Where("spec.hostNetwork=true", "").List(ctx)
	if err != nil {
		return err
	}
	for _, name := range t.c.stale.set(stalePods(pods, t.c.nodes.get), time.Now()) {
		t.queue.add(task{taskHost, name})
	}
	return nil
}
