//go:build cluster

package controller

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/kubetest"
	"hexapod.dev/edge/kube/lease"
	"hexapod.dev/edge/kube/objects"
)

// cluster is an API server with a plan, and what a test asks of it.
type cluster struct {
	*kubetest.Server
	t testing.TB
	c *objects.Client // patient: hundreds of agents may want something of the same API server
}

func newCluster(t testing.TB, spec v1alpha1.AddressPlanSpec) *cluster {
	t.Helper()
	s := kubetest.Start(t)
	s.InstallKinds()
	k := &cluster{s, t, s.PatientClient()}
	if spec.Prefix.IsValid() {
		make1(k, objects.AddressPlans(), v1alpha1.NewAddressPlan("lab", spec))
	}
	return k
}

func make1[T any](k *cluster, r objects.Resource[T], o *T) *T {
	k.t.Helper()
	got, err := objects.In(k.c, r).Create(k.t.Context(), o)
	if err != nil {
		k.t.Fatal(err)
	}
	return got
}

func list[T any](k *cluster, r objects.Resource[T]) []*T {
	k.t.Helper()
	all, _, err := objects.In(k.c, r).List(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return all
}

// node makes a node in a rack; "": without a label.
func (k *cluster) node(name, rack string, cidrs ...string) *objects.Node {
	k.t.Helper()
	n := &objects.Node{Header: v1alpha1.Header{Metadata: v1alpha1.Metadata{Name: v1alpha1.Name(name)}}}
	if rack != "" {
		n.Metadata.Labels = map[string]string{rackLabel: rack}
	}
	if len(cidrs) > 0 {
		n.Spec.PodCIDR, n.Spec.PodCIDRs = cidrs[0], cidrs
	}
	return make1(k, objects.Nodes(), n)
}

// start runs a controller until the test ends, or stop is called.
func (k *cluster) start(o Options) (c *Controller, stop func()) {
	k.t.Helper()
	if o.Client == nil {
		o.Client = k.Client()
	}
	if o.Namespace == "" {
		o.Namespace = "kube-system"
	}
	if o.Identity == "" {
		o.Identity = "test"
	}
	if o.Grace == 0 {
		o.Grace = 200 * time.Millisecond
	}
	if o.Timing == (lease.Timing{}) {
		o.Timing = lease.Timing{Duration: 5 * time.Second, Deadline: 3 * time.Second, Retry: 100 * time.Millisecond}
	}
	o.Log = slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	c = New(o)
	ctx, cancel := context.WithCancel(k.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := c.Run(ctx); err != nil {
			k.t.Errorf("controller: %v", err)
		}
	}()
	stop = func() { cancel(); <-ended }
	k.t.Cleanup(stop)
	return c, stop
}

// eventually asks again until what is true; the time is far beyond what anything takes. What is asked spans several kinds of objects, so
// there is no one watch to wait for.
func (k *cluster) eventually(what string, yes func() bool) {
	k.t.Helper()
	const patience = 6 * time.Minute
	for deadline := time.Now().Add(patience); !yes(); {
		if time.Now().After(deadline) {
			k.t.Fatalf("not after %v: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// cidrsOf returns what stands in the nodes.
func (k *cluster) cidrsOf() map[string][]string {
	all := map[string][]string{}
	for _, n := range list(k, objects.Nodes()) {
		all[n.ObjectName()] = n.Spec.PodCIDRs
	}
	return all
}

// alone fails the test if a prefix has two owners, or a host has two prefixes of one family.
func (k *cluster) alone() {
	k.t.Helper()
	owner := map[string]string{}
	for _, n := range list(k, objects.Nodes()) {
		for _, c := range n.Spec.PodCIDRs {
			if before, twice := owner[c]; twice {
				k.t.Errorf("%s stands in nodes %s and %s", c, before, n.ObjectName())
			}
			owner[c] = n.ObjectName()
		}
	}
	for _, p := range list(k, objects.HostPrefixes()) {
		if in, ok := owner[p.Spec.Prefix.String()]; ok && in != p.Spec.Host && p.Living() {
			k.t.Errorf("%s is %s's by its object and stands in node %s", p.Spec.Prefix, p.Spec.Host, in)
		}
	}
}

func condition(n *objects.Node, kind string) objects.NodeCondition {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return objects.NodeCondition{}
}

func tainted(n *objects.Node) bool {
	for _, x := range n.Spec.Taints {
		if x.Key == notReadyTaint {
			return true
		}
	}
	return false
}

func (k *cluster) find(host string) (*v1alpha1.Host, bool) {
	h, err := objects.In(k.c, objects.Hosts()).Get(k.t.Context(), host)
	return h, err == nil
}
