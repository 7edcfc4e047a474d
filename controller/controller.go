// Package controller is the cluster's one writer: it gives prefixes to hosts, numbers to sets of labels and fixed addresses to pods.
//
// Each is given as an object that is named after it.
//
// Of several controllers one leads. It works on tasks, each the objects of one thing: what is wanted follows from nodes, pods, the
// plan and what agents report; what is there comes from watches; the difference is written. A task may be done again at any time,
// and all are at the beginning of a term and every few minutes. That two writers do not give one thing to two owners is not a matter
// of who leads: a thing is given by making the object of its name, which succeeds once.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/lease"
	"hexapod.dev/edge/kube/objects"
	"hexapod.dev/model/identity"
)

// Options of a controller.
type Options struct {
	Client    *objects.Client
	Namespace string // of the lease, and of events of objects that have none
	Identity  string // of this process, different from all others'
	Cluster   string // of the plan that this Kubernetes cluster is; "": the only one
	Timing    lease.Timing
	Listen    string        // where /metrics and /healthz are served; "": nowhere
	Grace     time.Duration // how long a new leader waits for hosts that are silent
	Workers   int           // how many writes are under way at a time
	Log       *slog.Logger
}

// Defaults of Options.
const (
	DefaultGrace   = 10 * time.Second
	DefaultWorkers = 32
)

// leaseName is the Lease that controllers compete for.
const leaseName = "hexapod-controller"

// Controller is one candidate and, when it is elected, the writer.
type Controller struct {
	o       Options
	events  *recorder
	metrics *metrics

	plans      *feed[v1alpha1.AddressPlan]
	hosts      *feed[v1alpha1.Host]
	statuses   *feed[v1alpha1.HostStatus]
	prefixes   *feed[v1alpha1.HostPrefix]
	identities *feed[v1alpha1.Identity]
	pools      *feed[v1alpha1.Pool]
	addresses  *feed[v1alpha1.Address]
	slicesFeed *feed[v1alpha1.AddressSlice]
	peers      *feed[v1alpha1.BGPPeer]
	nat64      *feed[v1alpha1.Translation]
	nodes      *feed[objects.Node]
	pods       *podFeed

	networkPolicies *feed[objects.NetworkPolicy]
	clusterPolicies *feed[objects.ClusterNetworkPolicy]

	// What was given out, kept for all terms of this process: a store that was put back does not lower their marks.
	ledger  *ledger
	numbers *numberBook
	claims  *claimBook
	slices  *sliceBook
	missed  missing
	reached *reachedBook
	stale   staleList

	mu       sync.Mutex // guards all following fields
	term     *term      // while leading
	followed time.Time  // since when whole lists are known; zero: not yet
	mode     foundMode
}

// foundMode is who numbers the nodes of a plan that does not say it.
type foundMode struct {
	plan string // its UID
	mode v1alpha1.HostPrefixes
}

// New makes a controller. It does nothing before Run.
func New(o Options) *Controller {
	if o.Timing == (lease.Timing{}) {
		o.Timing = lease.DefaultTiming()
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Workers == 0 {
		o.Workers = DefaultWorkers
	}
	c := &Controller{
		o: o, events: newRecorder(o.Client, o.Namespace), metrics: newMetrics(),
		plans: newFeed(o.Client, objects.AddressPlans()), hosts: newFeed(o.Client, objects.Hosts()),
		statuses: newFeed(o.Client, objects.HostStatuses()), prefixes: newFeed(o.Client, objects.HostPrefixes()),
		identities: newFeed(o.Client, objects.Identities()), pools: newFeed(o.Client, objects.Pools()),
		addresses: newFeed(o.Client, objects.Addresses()), slicesFeed: newFeed(o.Client, objects.AddressSlices()), peers: newFeed(o.Client, objects.BGPPeers()),
		nat64: newFeed(o.Client, objects.Translations()),
		nodes: newFeed(o.Client, objects.Nodes()), pods: newPodFeed(o.Client),
		networkPolicies: newFeed(o.Client, objects.NetworkPolicies()), clusterPolicies: newFeed(o.Client, objects.ClusterNetworkPolicies()),
		ledger: newLedger(), numbers: newNumberBook(), claims: newClaimBook(), slices: newSliceBook(), reached: newReachedBook(),
	}
	c.connect()
	return c
}

// connect says what each change asks for.
func (c *Controller) connect() {
	host := func(name string) { c.ask(task{taskHost, name}) }
	c.nodes.changed = func(n *objects.Node, _ bool) { host(n.ObjectName()) }
	c.hosts.changed = func(h *v1alpha1.Host, gone bool) {
		if gone {
			for _, name := range c.reached.forget(h.ObjectName()) {
				host(name)
			}
			host(h.ObjectName())
			c.ask(task{taskSlices, h.ObjectName()})
		}
	}
	c.statuses.changed = func(s *v1alpha1.HostStatus, gone bool) {
		c.heard(s, gone)
		host(s.ObjectName())
		c.ask(task{taskSlices, s.ObjectName()})
	}
	c.prefixes.changed = func(p *v1alpha1.HostPrefix, gone bool) {
		c.ledger.prefix(p, gone)
		if gone {
			host(p.Spec.Host)
		}
	}
	c.identities.changed = func(i *v1alpha1.Identity, gone bool) { c.numbers.identity(i, gone) }
	c.addresses.changed = func(a *v1alpha1.Address, gone bool) {
		c.claims.address(a, gone)
		c.ask(task{taskCheck, ""})
	}
	c.plans.changed = func(*v1alpha1.AddressPlan, bool) {
		c.plansRead()
		c.inTerm(func(t *term) { t.planChanged() })
	}
	c.pools.changed = func(*v1alpha1.Pool, bool) { c.inTerm(func(t *term) { t.planChanged() }) }
	c.slicesFeed.changed = func(s *v1alpha1.AddressSlice, gone bool) {
		c.slices.slice(s, gone)
		if gone {
			c.ask(task{taskSlices, s.Spec.Host})
		}
	}
	c.peers.changed = func(*v1alpha1.BGPPeer, bool) { c.ask(task{taskCheck, ""}) }
	c.nat64.changed = func(*v1alpha1.Translation, bool) { c.ask(task{taskCheck, ""}) }
	c.connectPolicies()
	c.pods.wanted = func(k string) { c.ask(task{taskIdentity, k}) }
	c.pods.claimed = func(key objects.Key) { c.ask(task{taskClaim, key.String()}) }

	// Another whole list says that changes were missed: everything is looked at again. The store may have been put back meanwhile, so
	// what hosts hold has to be asked again.
	c.hosts.replaced = again[v1alpha1.Host](c)
	c.statuses.replaced = again[v1alpha1.HostStatus](c)
	c.prefixes.replaced = again[v1alpha1.HostPrefix](c)
	c.identities.replaced = again[v1alpha1.Identity](c)
	c.pools.replaced = again[v1alpha1.Pool](c)
	c.addresses.replaced = again[v1alpha1.Address](c)
	c.slicesFeed.replaced = again[v1alpha1.AddressSlice](c)
	c.nodes.replaced = again[objects.Node](c)
	c.plans.replaced = func(l objects.Listing[v1alpha1.AddressPlan]) {
		c.plansRead()
		again[v1alpha1.AddressPlan](c)(l)
	}
	c.pods.replaced = func(again bool) { c.inTerm(func(t *term) { t.restart(again) }) }
}

func again[T any](c *Controller) func(objects.Listing[T]) {
	return func(l objects.Listing[T]) { c.inTerm(func(t *term) { t.restart(l.Again) }) }
}

// plansRead tells the feed of pods which labels count, which is said by the plan.
func (c *Controller) plansRead() {
	plan, problem := c.plan()
	if problem != nil {
		return
	}
	rules, err := identity.NewRules(plan.Spec.Identity.KeyVersion, plan.Spec.Identity.ExcludeLabels...)
	if err != nil {
		c.o.Log.Error("the plan's identities", "error", err)
		return
	}
	c.pods.setRules(rules)
}

// plan returns the plan in use, with its defaults.
func (c *Controller) plan() (*v1alpha1.AddressPlan, error) {
	var all []*v1alpha1.AddressPlan
	for _, p := range c.plans.store.All() {
		all = append(all, p)
	}
	if len(all) != 1 {
		return nil, &Problem{Why: NoPlan, Text: fmt.Sprintf("there are %d AddressPlans: a cluster has one", len(all))}
	}
	p := *all[0]
	if problems := v1alpha1.Validate(&p).Errors(); len(problems) > 0 {
		return nil, &Problem{Why: NoPlan, Text: "the AddressPlan is refused: " + problems[0].String(), Err: problems}
	}
	return &p, nil
}

// Run follows the cluster, and writes when it leads, until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	log := c.o.Log
	for _, follow := range []func(context.Context, *slog.Logger) error{
		c.plans.run, c.hosts.run, c.statuses.run, c.prefixes.run, c.identities.run, c.pools.run, c.addresses.run, c.slicesFeed.run, c.peers.run, c.nat64.run, c.nodes.run, c.pods.run,
		c.networkPolicies.run, c.runClusterPolicies,
	} {
		g.Go(func() error { return follow(ctx, log) })
	}
	g.Go(func() error {
		e := &lease.Election{Client: c.o.Client, Namespace: c.o.Namespace, Name: leaseName, Identity: c.o.Identity, Timing: c.o.Timing, Log: log}
		return e.Run(ctx, c.lead)
	})
	g.Go(func() error {
		if c.listed(ctx) {
			c.mu.Lock()
			c.followed = time.Now()
			c.mu.Unlock()
		}
		return nil
	})
	if c.o.Listen != "" {
		g.Go(func() error { return c.serve(ctx) })
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// lead writes until ctx ends.
func (c *Controller) lead(ctx context.Context, _ int64) error {
	t := newTerm(c)
	t.askEarly(ctx) // hosts answer while lists are still read
	if !c.listed(ctx) {
		return nil
	}
	c.mu.Lock()
	c.term = t
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.term = nil
		c.mu.Unlock()
	}()
	return t.run(ctx)
}

// follows is for how long this process has known the whole cluster, and kept the highest numbers of it.
func (c *Controller) follows() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.followed.IsZero() {
		return 0
	}
	return time.Since(c.followed)
}

// foundMode keeps who numbers the nodes of a plan, unless mode is empty, and returns what was kept: a store that was put back may have
// forgotten it.
func (c *Controller) foundMode(plan *v1alpha1.AddressPlan, mode v1alpha1.HostPrefixes) v1alpha1.HostPrefixes {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case mode != "":
		c.mode = foundMode{plan.Metadata.UID, mode}
	case c.mode.plan != plan.Metadata.UID:
		return ""
	}
	return c.mode.mode
}

// inTerm calls fn with the term there is, if there is one.
func (c *Controller) inTerm(fn func(*term)) {
	c.mu.Lock()
	t := c.term
	c.mu.Unlock()
	if t != nil {
		fn(t)
	}
}

func (c *Controller) ask(t task) { c.inTerm(func(in *term) { in.queue.add(t) }) }

// listed waits until every store holds a whole list.
func (c *Controller) listed(ctx context.Context) bool {
	for ctx.Err() == nil {
		if c.listedAll() {
			return true
		}
		pause(ctx, 20*time.Millisecond)
	}
	return false
}

func (c *Controller) listedAll() bool {
	for _, listed := range []func() bool{
		c.plans.store.Listed, c.hosts.store.Listed, c.statuses.store.Listed, c.prefixes.store.Listed, c.identities.store.Listed,
		c.pools.store.Listed, c.addresses.store.Listed, c.slicesFeed.store.Listed, c.peers.store.Listed, c.nat64.store.Listed, c.nodes.store.Listed, c.pods.listed,
	} {
		if !listed() {
			return false
		}
	}
	return true
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
