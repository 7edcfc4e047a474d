package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
	edgeobjects "hexapod.dev/edge/objects"
)

// term is one time of leading: the tasks, and the question to all hosts what they hold.
type term struct {
	c     *Controller
	queue *queue

	mu       sync.Mutex
	round    int64     // of the question; 0: not asked yet
	asked    time.Time // when
	checked  time.Time // when the answers were counted
	answers  answers
	parked   map[task]bool       // tasks that wait until things are given out
	causes   map[string]*Problem // why hosts have no prefixes, by name
	restarts chan bool           // true: the store may have been put back
}

func newTerm(c *Controller) *term {
	return &term{c: c, queue: newQueue(), parked: map[task]bool{}, causes: map[string]*Problem{}, restarts: make(chan bool, 1)}
}

// The distances of what is done without anything having changed.
const (
	everything = 5 * time.Minute  // all tasks
	sweepTime  = 10 * time.Second // numbers that return, counts of the plan, stale pods
	retryTime  = time.Second      // a task that did not succeed
	waitTime   = 250 * time.Millisecond
	settleTime = time.Second // without another list that was read anew: then all that broke were
)

// run works until ctx ends.
func (t *term) run(ctx context.Context) error {
	t.rebuild()
	if t.unasked() {
		t.askRound(ctx)
	}
	var workers sync.WaitGroup
	workers.Go(func() { t.queue.run(ctx, t.c.o.Workers, t.do) })
	t.askAll()
	tick, look := time.NewTicker(everything), time.NewTicker(waitTime)
	defer tick.Stop()
	defer look.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			t.askAll()
		case <-look.C:
			if _, err := t.whole(); err == nil {
				t.unpark()
			}
		case again := <-t.restarts:
			if again {
				t.settle(ctx)
			}
			t.rebuild()
			if again || t.unasked() {
				t.askRound(ctx)
			}
			t.askAll()
		}
	}
	workers.Wait()
	return nil
}

// restart is called when the books have to be made anew. If that is because a list was read again, the store may have been put back:
// nothing is given out until hosts have been asked again.
func (t *term) restart(again bool) {
	if again {
		t.mu.Lock()
		t.round, t.asked = 0, time.Time{}
		t.mu.Unlock()
	}
	for {
		select {
		case t.restarts <- again:
			return
		case before := <-t.restarts:
			again = again || before
		}
	}
}

// settle waits until lists of all kinds were read again: each would ask all hosts once more. Nothing is given out meanwhile.
func (t *term) settle(ctx context.Context) {
	for {
		select {
		case <-t.restarts:
		case <-time.After(settleTime):
			return
		case <-ctx.Done():
			return
		}
	}
}

// unpark asks for the tasks that waited until things are given out.
func (t *term) unpark() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.parked {
		t.queue.add(k)
	}
	clear(t.parked)
}

// planChanged is restart for the layout.
func (t *term) planChanged() { t.restart(false) }

// rebuild makes the books of what the stores hold.
func (t *term) rebuild() {
	var l *layout
	if plan, err := t.c.plan(); err == nil {
		l, err = newLayout(edgeobjects.Plan(v1alpha1.Set{Plan: plan}), t.c.o.Cluster)
		if err != nil {
			t.c.o.Log.Error("the plan cannot be used", "error", err)
		}
	}
	reports := func() []*v1alpha1.HostStatus { return values(t.c.statuses.store) }
	t.c.ledger.restart(l, func() []*v1alpha1.HostPrefix { return values(t.c.prefixes.store) }, reports)
	t.c.numbers.restart(func() []*v1alpha1.Identity { return values(t.c.identities.store) }, reports)
	t.c.reached.restart(func() []*v1alpha1.Host { return values(t.c.hosts.store) })
	t.c.slices.restart(func() []*v1alpha1.AddressSlice { return values(t.c.slicesFeed.store) }, reports)
	t.c.claims.restart(func() []*v1alpha1.Pool { return values(t.c.pools.store) }, func() []*v1alpha1.Address { return values(t.c.addresses.store) }, reports)
}

func values[T any](s *objects.Store[T]) []*T {
	all := make([]*T, 0, s.Len())
	for _, o := range s.All() {
		all = append(all, o)
	}
	return all
}

// askAll asks for every task there is.
func (t *term) askAll() {
	names := map[string]bool{}
	for k := range t.c.nodes.store.All() {
		names[k.Name] = true
	}
	for k := range t.c.hosts.store.All() {
		names[k.Name] = true
	}
	for k := range t.c.statuses.store.All() {
		names[k.Name] = true
	}
	for _, p := range t.c.prefixes.store.All() {
		if p.Living() {
			names[p.Spec.Host] = true
		}
	}
	for name := range names {
		t.queue.add(task{taskHost, name})
		t.queue.add(task{taskSlices, name})
	}
	for _, s := range t.c.slicesFeed.store.All() {
		t.queue.add(task{taskSlices, s.Spec.Host})
	}
	sets, claims := t.c.pods.all()
	for _, k := range sets {
		t.queue.add(task{taskIdentity, k})
	}
	for _, k := range claims {
		t.queue.add(task{taskClaim, k.String()})
	}
	for k := range t.c.networkPolicies.store.All() {
		t.queue.add(policyTask(k))
	}
	for k := range t.c.clusterPolicies.store.All() {
		t.queue.add(policyTask(k))
	}
	t.queue.add(task{taskCheck, ""})
	t.queue.after(task{taskSweep, ""}, sweepTime)
}

// do does one task, and asks for it again when it did not succeed.
func (t *term) do(ctx context.Context, k task) {
	var err error
	switch k.kind {
	case taskHost:
		err = t.ensureHost(ctx, k.name)
	case taskNode:
		err = t.ensureNode(ctx, k.name)
	case taskIdentity:
		err = t.ensureIdentity(ctx, k.name)
	case taskClaim:
		err = t.ensureClaim(ctx, k.name)
	case taskPolicy:
		err = t.checkPolicy(ctx, k.name)
	case taskSlices:
		err = t.ensureSlices(ctx, k.name)
	case taskCheck:
		err = t.check(ctx)
	case taskSweep:
		err = t.sweep(ctx)
		t.queue.after(k, sweepTime)
	}
	if err == nil || ctx.Err() != nil {
		t.c.metrics.done(k.kind, "ok")
		return
	}
	var problem *Problem
	switch {
	case errors.As(err, &problem) && problem.Why == WaitingForHosts:
		t.c.metrics.done(k.kind, "waits")
		t.mu.Lock()
		t.parked[k] = true
		t.mu.Unlock()
	case errors.As(err, &problem):
		t.c.metrics.done(k.kind, string(problem.Why))
		t.queue.after(k, 10*retryTime)
	case errors.Is(err, objects.ErrConflict) || errors.Is(err, objects.ErrExists) || errors.Is(err, objects.ErrNotFound):
		t.c.metrics.done(k.kind, "again") // the news of what somebody else wrote are on their way
		t.queue.after(k, waitTime)
	default:
		t.c.metrics.done(k.kind, "error")
		t.c.o.Log.Warn("not done, trying again", "task", k.kind, "name", printable(k), "error", err)
		t.queue.after(k, retryTime)
	}
}

// printable names a task for people: the key of a set is no text.
func printable(k task) string {
	if k.kind == taskIdentity {
		return "a set of labels"
	}
	return k.name
}

// askEarly asks all hosts what they hold as soon as the plan is known.
func (t *term) askEarly(ctx context.Context) {
	for ctx.Err() == nil {
		if t.c.plans.store.Listed() {
			t.askRound(ctx)
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (t *term) unasked() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.round == 0
}

// askRound asks all hosts what they hold, by a number in the status of the plan.
func (t *term) askRound(ctx context.Context) {
	for ctx.Err() == nil {
		plan, err := t.c.plan()
		if err != nil {
			return // without a plan nothing is given out; the plan's arrival begins anew
		}
		round := max(plan.Status.Round+1, time.Now().UnixMilli())
		patch := map[string]any{"status": map[string]any{"round": round}}
		got, err := objects.In(t.c.o.Client, objects.AddressPlans()).Patch(ctx, plan.ObjectName(), "status", patch)
		if err == nil {
			t.c.plans.store.Wrote(got)
			t.mu.Lock()
			t.round, t.asked, t.checked = round, time.Now(), time.Time{}
			t.mu.Unlock()
			t.c.o.Log.Info("asked all hosts what they hold", "round", round)
			return
		}
		t.c.o.Log.Warn("cannot ask hosts what they hold, trying again", "error", err)
		pause(ctx, retryTime)
	}
}

// answers are who has answered the question.
type answers struct {
	hosts     int // that there are
	silent    int // of them, those that have not
	newcomers int // nodes that are no hosts yet and have not: new ones, or hosts that a store which was put back has forgotten
}

// whole reports whether every host has answered. An error says that nothing may be given out yet. A process that was just started waits
// for all of the time: of a host that a store which was put back has forgotten, and whose node is still to come, it cannot know.
func (t *term) whole() (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.round == 0 {
		return false, &Problem{Why: WaitingForHosts, Text: "hosts have not been asked yet what they hold"}
	}
	if now := time.Now(); now.Sub(t.checked) > waitTime {
		t.checked, t.answers = now, t.count(t.round)
	}
	a := t.answers
	everybody := a.hosts > 0 && a.silent == 0 && a.newcomers == 0 && t.c.follows() >= t.c.o.Grace
	if time.Since(t.asked) < t.c.o.Grace && !everybody {
		return false, &Problem{Why: WaitingForHosts, Text: "a new leader gives nothing out until all hosts have said what they hold, or some seconds have passed"}
	}
	return a.silent == 0, nil
}

// count looks who has answered a round.
func (t *term) count(round int64) (a answers) {
	answered := func(k objects.Key) bool {
		s, ok := t.c.statuses.store.Get(k)
		return ok && s.Status.Round >= round // a later question was another leader's
	}
	for k := range t.c.hosts.store.All() {
		a.hosts++
		if !answered(k) {
			a.silent++
		}
	}
	for k := range t.c.nodes.store.All() {
		if _, host := t.c.hosts.store.Get(k); !host && !answered(k) {
			a.newcomers++
		}
	}
	return a
}

// heard is called for each change of a HostStatus.
func (c *Controller) heard(s *v1alpha1.HostStatus, gone bool) {
	c.ledger.report(s, gone)
	c.numbers.report(s, gone)
	c.claims.report(s, gone)
	c.slices.report(s)
}
