//go:build cluster

package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// Agents among many hosts: how many are real, and for how long 1 % of the pods a minute come and go.
const (
	scaleAgents = 4
	scaleChurn  = 2 * time.Minute
	heartbeats  = 5 * time.Minute // until every node has written its status once
)

// withAgents measures real agents on some of the nodes.
func (k *cluster) withAgents(b *testing.B) {
	built := buildPrograms(b)
	var hosts []*realHost
	for i := range scaleAgents {
		hosts = append(hosts, k.realHost(built, fmt.Sprint("h", i), i))
	}
	statuses := follow(k, objects.HostStatuses())
	k.await(b, func() bool {
		for _, h := range hosts {
			s, ok := statuses.Get(objects.Key{Name: h.name})
			if !ok {
				return false
			}
			if c, _ := s.Status.Condition(v1alpha1.ConditionReady); c.Status != v1alpha1.ConditionTrue {
				return false
			}
		}
		return true
	})
	for i := range scalePods / scaleNodes * scaleAgents {
		n := i/scaleAgents*scaleNodes + i%scaleAgents
		if err := hosts[i%scaleAgents].add(b.Context(), fmt.Sprint("p", n), ""); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), scaleChurn)
	defer cancel()
	heard, written := k.counted(hosts)
	k.churn(ctx, b, hosts)
	b.ReportMetric(float64(heard.Load())/scaleChurn.Seconds(), "objects/s/agent")
	b.ReportMetric(float64(written.Load())/scaleChurn.Minutes()/scaleAgents, "writes/min/agent")
	var most float64
	for _, h := range hosts {
		most = max(most, h.memory(b, "VmRSS"))
	}
	b.ReportMetric(most, "MB/agent")
	b.ReportMetric(load(b), "load-at-the-end")
}

// counter counts the changes of a resource that count.
type counter[T any] struct {
	n      *atomic.Int64
	counts func(*T) bool
}

// Replace is called by Follow.
func (counter[T]) Replace(objects.Listing[T]) {}

// Apply is called by Follow.
func (c counter[T]) Apply(x objects.Change[T]) {
	if c.counts(x.Object) {
		c.n.Add(1)
	}
}

// counted counts what every agent hears, itself included, of the kinds that it follows whole, and what some agents write.
func (k *cluster) counted(hosts []*realHost) (heard, written *atomic.Int64) {
	heard, written = &atomic.Int64{}, &atomic.Int64{}
	count(k, objects.AddressPlans(), heard)
	count(k, objects.Hosts(), heard)
	count(k, objects.Pools(), heard)
	count(k, objects.Identities(), heard)
	count(k, objects.Addresses(), heard)
	count(k, objects.BGPPeers(), heard)
	ours := map[string]bool{}
	for _, h := range hosts {
		ours[h.name] = true
	}
	sink(k, objects.HostStatuses(), counter[v1alpha1.HostStatus]{written, func(s *v1alpha1.HostStatus) bool { return ours[s.ObjectName()] }})
	return heard, written
}

func count[T any](k *cluster, r objects.Resource[T], n *atomic.Int64) {
	sink(k, r, counter[T]{n, func(*T) bool { return true }})
}

// sink follows a resource until the benchmark ends.
func sink[T any](k *cluster, r objects.Resource[T], s objects.Sink[T]) {
	ctx, cancel := context.WithCancel(k.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = objects.In(k.c, r).Follow(ctx, slog.New(slog.DiscardHandler), s) // it ends with ctx
	}()
	k.t.Cleanup(func() { cancel(); <-ended })
}

// churn deletes 1 % of the pods a minute and makes others in their place, and lets nodes write their status, until ctx ends.
func (k *cluster) churn(ctx context.Context, b *testing.B, hosts []*realHost) {
	b.Helper()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return paced(ctx, time.Minute/(scalePods/100), func(n int) error {
			i := n % scalePods
			if err := objects.In(k.c, rawPods()).Namespace("default").Delete(ctx, fmt.Sprint("p", i), objects.Only{}); err != nil {
				return err
			}
			if err := k.scalePod(ctx, fmt.Sprint("again", n), i); err != nil || i%scaleNodes >= len(hosts) {
				return err
			}
			h := hosts[i%scaleNodes]
			if err := h.del(ctx, fmt.Sprint("p", i)); err != nil {
				return err
			}
			return h.add(ctx, fmt.Sprint("again", n), "")
		})
	})
	g.Go(func() error {
		return paced(ctx, heartbeats/scaleNodes, func(n int) error {
			condition := map[string]any{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": time.Now().UTC().Format(time.RFC3339)}
			_, err := objects.In(k.c, objects.Nodes()).PatchLists(ctx, fmt.Sprint("h", n%scaleNodes), "status", map[string]any{"status": map[string]any{"conditions": []any{condition}}})
			return err
		})
	})
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		b.Fatal(err)
	}
}

// paced does something at most every so often until ctx ends.
func paced(ctx context.Context, every time.Duration, do func(n int) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := do(n); err != nil && ctx.Err() == nil {
			return err
		}
	}
}
