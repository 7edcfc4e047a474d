//go:build cluster

package controller

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// fleet are agents as the controller sees them: each remembers the prefix of its node for ever, whatever becomes of the store, and
// answers the question what it holds.
type fleet struct {
	k     *cluster
	names []string

	mu    sync.Mutex
	holds map[string][]netip.Prefix
	seen  []netip.Prefix
}

func newFleet(k *cluster, names ...string) *fleet {
	return &fleet{k: k, names: names, holds: map[string][]netip.Prefix{}}
}

// run answers until the test ends.
func (f *fleet) run() {
	ctx, cancel := context.WithCancel(f.k.t.Context())
	var ended sync.WaitGroup
	ended.Go(func() {
		for ctx.Err() == nil {
			f.once(ctx)
			pause(ctx, 50*time.Millisecond+time.Duration(len(f.names))*5*time.Millisecond) // each look lists all there is
		}
	})
	f.k.t.Cleanup(func() { cancel(); ended.Wait() })
}

// once learns and reports; an API server that is away is asked again.
func (f *fleet) once(ctx context.Context) {
	plans, _, err := objects.In(f.k.c, objects.AddressPlans()).List(ctx)
	if err != nil || len(plans) != 1 {
		return
	}
	nodes, _, err := objects.In(f.k.c, objects.Nodes()).List(ctx)
	if err != nil {
		return
	}
	written, _, err := objects.In(f.k.c, objects.HostStatuses()).List(ctx)
	if err != nil {
		return
	}
	have := map[string]*v1alpha1.HostStatus{}
	for _, s := range written {
		have[s.ObjectName()] = s
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range nodes {
		for _, p := range cidrs(n) {
			if slices.Contains(f.names, n.ObjectName()) && !slices.Contains(f.holds[n.ObjectName()], p) {
				f.holds[n.ObjectName()] = append(f.holds[n.ObjectName()], p)
			}
			if !slices.Contains(f.seen, p) {
				f.seen = append(f.seen, p)
			}
		}
	}
	for _, name := range f.names {
		f.report(ctx, name, plans[0].Status.Round, have[name])
	}
}

func (f *fleet) report(ctx context.Context, name string, round int64, have *v1alpha1.HostStatus) {
	r := v1alpha1.HostReport{Round: round}
	for _, p := range f.holds[name] {
		r.Prefixes = append(r.Prefixes, v1alpha1.PrefixFrom(p))
	}
	for _, p := range f.seen {
		r.Seen.Prefixes = append(r.Seen.Prefixes, v1alpha1.PrefixFrom(p))
	}
	want := v1alpha1.NewHostStatus(name, r)
	all := objects.In(f.k.c, objects.HostStatuses())
	var err error
	switch {
	case have == nil:
		_, err = all.Create(ctx, want)
	case have.Status.Round != round || !slices.Equal(have.Status.Prefixes, r.Prefixes):
		want.Metadata.ResourceVersion = have.Metadata.ResourceVersion
		_, err = all.Update(ctx, want)
	}
	// What was listed may have been written, or lost with a store that was put back, in between: the next look tells.
	var refused *objects.StatusError
	if errors.As(err, &refused) && !errors.Is(err, objects.ErrConflict) && !errors.Is(err, objects.ErrExists) && !errors.Is(err, objects.ErrNotFound) {
		f.k.t.Errorf("report of %s: %v", name, err)
	}
}

// agree fails the test if two agents hold one prefix.
func (f *fleet) agree() {
	f.k.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	owner := map[netip.Prefix]string{}
	for host, all := range f.holds {
		for _, p := range all {
			if other, twice := owner[p]; twice {
				f.k.t.Errorf("%s is held by %s and %s", p, host, other)
			}
			owner[p] = host
		}
	}
}
