package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file/whole"
	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/edge/objects"
)

// policyStores are what policies are made of, besides the objects of Hexapod. Of a new pod whose labels are known elsewhere nothing
// comes here: its identity is an object, it is none.
type policyStores struct {
	networkPolicies *kobjects.Store[kobjects.NetworkPolicy]
	clusterPolicies *kobjects.Store[kobjects.ClusterNetworkPolicy]
	namespaces      *kobjects.Store[kobjects.Namespace]
	published       published
	news            chan struct{}
}

func newPolicyStores() policyStores {
	news := make(chan struct{}, 1)
	return policyStores{
		networkPolicies: kobjects.NewStore(kobjects.NetworkPolicies()), clusterPolicies: kobjects.NewStore(kobjects.ClusterNetworkPolicies()),
		namespaces: kobjects.NewStore(kobjects.Namespaces()), published: published{news: news}, news: news,
	}
}

// follow follows them until ctx ends.
func (p *policyStores) follow(ctx context.Context, g *errgroup.Group, s *Source) {
	follow(ctx, g, s, kobjects.NetworkPolicies(), p.networkPolicies, p.news)
	follow(ctx, g, s, kobjects.Namespaces().MetadataOnly(), p.namespaces, p.news)
	g.Go(func() error {
		all := kobjects.In(s.o.Client, kobjects.ClusterNetworkPolicies())
		return ended(all.FollowKind(ctx, s.o.Log, p.clusterPolicies, kobjects.ClusterNetworkPolicyKind))
	})
	g.Go(func() error { return passOn(ctx, p.clusterPolicies.Changed(), p.news) })
}

// listed tells whether policies and namespaces were seen whole: half a list is no list.
func (p *policyStores) listed() bool {
	for _, listed := range []func() bool{p.networkPolicies.Listed, p.clusterPolicies.Listed, p.namespaces.Listed} {
		if !listed() {
			return false
		}
	}
	return true
}

// Times of policies.
const (
	policyGather = 20 * time.Millisecond // changes that come together cost one look
	policyMost   = time.Second           // between two looks, where one takes longer
)

// FollowPolicies tells the policies of the cluster and every change of them until ctx ends; Run has to run meanwhile. Nothing is told
// before they were listed whole; where the API server does not answer at the start, it tells what lies on the disk. What Services
// open is that of the disk until they were listed.
func (s *Source) FollowPolicies(ctx context.Context, tell func(*objects.ClusterPolicies)) error {
	p := &s.policies
	kick(p.news) // what came before counts
	patience, keep := time.After(firstPatience), time.NewTicker(keepEvery)
	defer keep.Stop()
	kept := s.keptPolicies()
	var told, unkept *objects.ClusterPolicies
	rest := policyGather
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-patience:
			if !p.listed() && told == nil && kept != nil {
				told = kept
				tell(kept)
			}
			continue
		case <-keep.C:
			if unkept != nil && s.keepPolicies(unkept) {
				unkept = nil
			}
			continue
		case <-p.news:
		}
		if !pause(ctx, rest) || !p.listed() {
			continue
		}
		begun := time.Now()
		next := s.clusterPolicies(kept)
		tell(next)
		rest = min(max(time.Since(begun), policyGather), policyMost)
		if p.published.listed() {
			unkept = next
			if told == nil && s.keepPolicies(next) { // the first is kept at once
				unkept = nil
			}
		}
		told = next
	}
}

// clusterPolicies is what the stores hold. kept, if not nil, says what Services opened when it was written.
func (s *Source) clusterPolicies(kept *objects.ClusterPolicies) *objects.ClusterPolicies {
	p := &s.policies
	c := &objects.ClusterPolicies{Namespaces: make(map[string]map[string]string, p.namespaces.Len())}
	for _, o := range p.networkPolicies.All() {
		c.NetworkPolicies = append(c.NetworkPolicies, &o.NetworkPolicy)
	}
	for _, o := range p.clusterPolicies.All() {
		c.ClusterNetworkPolicies = append(c.ClusterNetworkPolicies, &o.ClusterNetworkPolicy)
	}
	for k, o := range p.namespaces.All() {
		c.Namespaces[k.Name] = o.Metadata.Labels
	}
	slices.SortFunc(c.NetworkPolicies, func(a, b *v1alpha1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Metadata.Namespace, b.Metadata.Namespace), cmp.Compare(a.ObjectName(), b.ObjectName()))
	})
	slices.SortFunc(c.ClusterNetworkPolicies, func(a, b *v1alpha1.ClusterNetworkPolicy) int { return cmp.Compare(a.ObjectName(), b.ObjectName()) })
	switch {
	case p.published.listed():
		c.Published, c.APIServers = p.published.all()
	case kept != nil:
		c.Published, c.APIServers = kept.Published, kept.APIServers
	}
	c.Published = append(slices.Clip(c.Published), hostPorts(s.ownPods())...)
	return c
}

func (s *Source) policiesPath() string { return filepath.Join(s.o.Dir, "policies.json") }

// keepPolicies writes what is known of policies to the disk, and reports whether it is there.
func (s *Source) keepPolicies(c *objects.ClusterPolicies) bool {
	lasting := *c // what pods of this host open is known by their own record
	if p := &s.policies.published; p.listed() {
		lasting.Published, _ = p.all()
	}
	data, err := json.Marshal(lasting)
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(s.policiesPath()), 0o700), whole.Write(s.policiesPath(), data, 0o600))
	}
	if err != nil {
		s.o.Log.Warn("the policies of the cluster are not kept on the disk", "error", err)
	}
	return err == nil
}

// keptPolicies reads what was known of policies last; nil: nothing.
func (s *Source) keptPolicies() *objects.ClusterPolicies {
	data, err := os.ReadFile(s.policiesPath())
	c := &objects.ClusterPolicies{}
	if err == nil {
		err = json.Unmarshal(data, c)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		s.o.Log.Warn("what is kept of policies cannot be read", "file", s.policiesPath(), "error", err)
		return nil
	}
	return c
}
