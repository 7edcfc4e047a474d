// Package kube is what the agent of a host knows from the API of a Kubernetes cluster, and what it tells there.
//
// It follows the objects of Hexapod and the pods of its own host; never nodes, whose heartbeats would come to every host, and never
// what other hosts report. What it knew last lies on the disk of the host: while the API server is away, a host goes on with that,
// after a restart as well.
package kube

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/api/v1alpha1"
	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/edge/objects"
)

// Options say which host of which cluster this is.
type Options struct {
	Client  *kobjects.Client
	Host    string // name of the node, which is that of its Host
	Dir     string // folder on this host that keeps what was known last; made if missing
	Secrets string // folder of the files that objects name: keys and passwords
	Log     *slog.Logger
}

// Source is the cluster as one host sees it.
type Source struct {
	o Options

	plans      *kobjects.Store[v1alpha1.AddressPlan]
	hosts      *kobjects.Store[v1alpha1.Host]
	pools      *kobjects.Store[v1alpha1.Pool]
	identities *kobjects.Store[v1alpha1.Identity]
	addresses  *kobjects.Store[v1alpha1.Address]
	slices     *kobjects.Store[v1alpha1.AddressSlice]
	peers      *kobjects.Store[v1alpha1.BGPPeer]
	nat64      *kobjects.Store[v1alpha1.Translation]
	pods       *kobjects.Store[kobjects.Pod]
	policies   policyStores

	news    chan struct{} // objects changed
	soon    chan struct{} // a report is wanted
	refused chan refusal

	recorded sync.Once // the record on disk was read

	mu      sync.Mutex // guards all following fields
	told    bool       // a configuration was told since the start
	left    string     // what was left out last, in words
	record  map[kobjects.Key]Pod
	witness time.Time
	away    error // why the API server was not reached last; nil: it was
}

// New returns a source that has not begun: nothing is sent before Run.
func New(o Options) *Source {
	return &Source{o: o,
		plans: kobjects.NewStore(kobjects.AddressPlans()), hosts: kobjects.NewStore(kobjects.Hosts()),
		pools: kobjects.NewStore(kobjects.Pools()), identities: kobjects.NewStore(kobjects.Identities()),
		addresses: kobjects.NewStore(kobjects.Addresses()), slices: kobjects.NewStore(kobjects.AddressSlices()), peers: kobjects.NewStore(kobjects.BGPPeers()),
		nat64: kobjects.NewStore(kobjects.Translations()),
		pods:  kobjects.NewStore(kobjects.Pods()), policies: newPolicyStores(),
		news: make(chan struct{}, 1), soon: make(chan struct{}, 1), refused: make(chan refusal, 64),
	}
}

// Name is what status and log call the source.
func (s *Source) Name() string { return "the API server " + s.o.Client.Server() }

// Heard is how many changes of objects the API server told this host of, by resource.
func (s *Source) Heard() map[string]uint64 { return s.o.Client.Heard() }

// Times of the watch.
const (
	firstPatience = time.Second            // for the first whole lists; then what lies on the disk has to do
	gather        = 100 * time.Millisecond // changes that come together cost one look
	gatherMost    = 2 * time.Second        // in a large cluster, where a look takes longer
	gatherFactor  = 10                     // rest between looks, in times that the last one took, whoever was told included
	keepEvery     = time.Second            // between two writes of what is known to the disk
	keepFactor    = 50                     // rest between two writes, in times that the last one took
)

// Run follows the API server until ctx ends. report says what this host tells of itself; changed is called when pods changed.
func (s *Source) Run(ctx context.Context, report func() v1alpha1.HostReport, changed func()) error {
	g, ctx := errgroup.WithContext(ctx)
	follow(ctx, g, s, kobjects.AddressPlans(), s.plans, s.news)
	follow(ctx, g, s, kobjects.Hosts(), s.hosts, s.news)
	follow(ctx, g, s, kobjects.Pools(), s.pools, s.news)
	follow(ctx, g, s, kobjects.Identities(), s.identities, s.news)
	follow(ctx, g, s, kobjects.Addresses(), s.addresses, s.news)
	follow(ctx, g, s, kobjects.AddressSlices(), s.slices, s.news)
	follow(ctx, g, s, kobjects.BGPPeers(), s.peers, s.news)
	follow(ctx, g, s, kobjects.Translations(), s.nat64, s.news)
	s.policies.follow(ctx, g, s)
	g.Go(func() error {
		own := kobjects.In(s.o.Client, kobjects.Pods()).Where("spec.nodeName="+s.o.Host, "")
		return ended(own.Follow(ctx, s.o.Log, s.pods))
	})
	g.Go(func() error { return s.followPods(ctx, changed) })
	g.Go(func() error { return s.reportAll(ctx, report) })
	g.Go(func() error { return s.tellRefusals(ctx) })
	return g.Wait()
}

// follow follows one resource and passes on that something changed.
func follow[T any](ctx context.Context, g *errgroup.Group, s *Source, r kobjects.Resource[T], store *kobjects.Store[T], news chan struct{}) {
	g.Go(func() error { return ended(kobjects.In(s.o.Client, r).Follow(ctx, s.o.Log, store)) })
	g.Go(func() error { return passOn(ctx, store.Changed(), news) })
}

// passOn puts a word into a mailbox for each that comes, until ctx ends.
func passOn(ctx context.Context, from <-chan struct{}, to chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-from:
			kick(to)
		}
	}
}

// ended makes the end of a context no error.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// kick puts a word into a mailbox that has room for one.
func kick(mail chan struct{}) {
	select {
	case mail <- struct{}{}:
	default:
	}
}

// listed tells whether every resource was seen whole: half a list is no list.
func (s *Source) listed() bool {
	for _, listed := range []func() bool{
		s.plans.Listed, s.hosts.Listed, s.pools.Listed, s.identities.Listed, s.addresses.Listed, s.slices.Listed, s.peers.Listed, s.nat64.Listed,
	} {
		if !listed() {
			return false
		}
	}
	return true
}

var errNotListed = errors.New("the API server has not told everything yet")

// Load returns the configuration as it is known now.
func (s *Source) Load(context.Context) (objects.Set, error) {
	if !s.listed() {
		return objects.Set{}, errNotListed
	}
	return s.set()
}

// Watch tells every configuration from now on, until ctx ends; Run has to run meanwhile. Where the API server does not answer at the
// start, it tells what lies on the disk.
func (s *Source) Watch(ctx context.Context, tell func(objects.Set, error)) error {
	kick(s.news) // what came before counts
	patience, keep := time.After(firstPatience), time.NewTimer(keepEvery)
	defer keep.Stop()
	var kept, unkept bool
	rest := gather
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-patience:
			if !s.listed() && s.setTold() {
				tell(s.kept())
			}
			continue
		case <-keep.C:
			begun := time.Now()
			if unkept {
				unkept = !s.keep()
			}
			keep.Reset(max(keepEvery, keepFactor*time.Since(begun)))
			continue
		case <-s.news:
		}
		if !pause(ctx, rest) || !s.listed() {
			continue
		}
		begun := time.Now()
		set, err := s.set()
		tell(set, err)
		rest = min(max(gatherFactor*time.Since(begun), gather), gatherMost)
		if err == nil {
			s.setTold()
			if unkept = true; !kept { // the first is kept at once
				kept, unkept = true, !s.keep()
			}
		}
	}
}

// setTold notes that a configuration was told, and reports whether it was the first.
func (s *Source) setTold() (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, s.told = !s.told, true
	return first
}

// pause waits for d and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// configPath is the file that keeps the configuration.
func (s *Source) configPath() string { return filepath.Join(s.o.Dir, "cluster.json") }
