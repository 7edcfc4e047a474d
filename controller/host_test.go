package controller

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/kubetest"
	"hexapod.dev/edge/kube/lease"
	"hexapod.dev/edge/kube/objects"
)

func pfx(s string) v1alpha1.Prefix { return v1alpha1.PrefixFrom(netip.MustParsePrefix(s)) }

// cluster is an API server with a plan, and what a test asks of it.
type cluster struct {
	*kubetest.Server
	t *testing.T
	c *objects.Client
}

func newCluster(t *testing.T, spec v1alpha1.AddressPlanSpec) *cluster {
	t.Helper()
	s := kubetest.Start(t)
	s.InstallKinds()
	k := &cluster{s, t, s.Client()}
	if spec.Prefix.IsValid() {
		make1(k, objects.AddressPlans(), v1alpha1.NewAddressPlan("lab", spec))
	}
	return k
}

// labPlan has racks of 1,024 hosts.
func labPlan() v1alpha1.AddressPlanSpec {
	return v1alpha1.AddressPlanSpec{Prefix: pfx("2001:db8:a000::/37"), Lab: true,
		Clusters: []v1alpha1.Cluster{{Name: "main", Number: 1, Racks: []v1alpha1.Rack{{Name: "east", Number: 3}}}}}
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
	o.Client, o.Namespace = k.c, "kube-system"
	if o.Identity == "" {
		o.Identity = "test"
	}
	if o.Grace == 0 {
		o.Grace = 200 * time.Millisecond
	}
	if o.Timing == (lease.Timing{}) {
		o.Timing = lease.Timing{Duration: 2 * time.Second, Deadline: time.Second, Retry: 100 * time.Millisecond}
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

// eventually asks again until what is true; the time is far beyond what anything takes.
func (k *cluster) eventually(what string, yes func() bool) {
	k.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !yes(); {
		if time.Now().After(deadline) {
			k.t.Fatalf("not after 90 s: %s", what)
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

// TestPlan: nodes get prefixes of their racks, written into nodes, HostPrefixes and Hosts; a node that is gone leaves a prefix
// that rests and that it gets back; a node that serves loses its taint.
func TestPlan(t *testing.T) {
	spec := labPlan()
	spec.IPv4 = &v1alpha1.IPv4Plan{Prefix: pfx("10.0.0.0/12")}
	k := newCluster(t, spec)
	k.node("a", "east")
	k.node("b", "3")
	k.node("c", "7")
	k.node("d", "")
	k.node("e", "nowhere")
	k.start(Options{})
	k.eventually("four nodes have prefixes", func() bool {
		n := 0
		for _, c := range k.cidrsOf() {
			if len(c) == 2 {
				n++
			}
		}
		return n == 4
	})
	k.alone()
	got := k.cidrsOf()
	for name, outer := range map[string]string{"a": "2001:db8:a010:c00::/54", "b": "2001:db8:a010:c00::/54", "c": "2001:db8:a010:1c00::/54", "d": "2001:db8:a01f:fc00::/54"} {
		p := netip.MustParsePrefix(got[name][0])
		if !netip.MustParsePrefix(outer).Contains(p.Addr()) || p.Bits() != 64 {
			t.Errorf("node %s has %v, want one of %s", name, got[name], outer)
		}
	}
	k.eventually("hosts are known", func() bool { return len(list(k, objects.Hosts())) == 4 })
	k.eventually("the unknown rack is said", func() bool {
		n, err := objects.In(k.c, objects.Nodes()).Get(t.Context(), "e")
		return err == nil && condition(n, networkUnavailable).Reason == string(UnknownRack) && tainted(n)
	})

	// The agent of a reports that it serves.
	report := v1alpha1.NewHostStatus("a", v1alpha1.HostReport{Prefixes: []v1alpha1.Prefix{pfx(got["a"][0])}, MAC: "02:00:00:00:00:0a",
		Status: v1alpha1.Status{Conditions: []v1alpha1.Condition{{Type: v1alpha1.ConditionReady, Status: v1alpha1.ConditionTrue, Reason: "Ready", LastTransitionTime: v1alpha1.TimeFrom(time.Now())}}}})
	at := v1alpha1.TimeFrom(time.Now().Add(time.Hour))
	report.Status.Witness = &at
	make1(k, objects.HostStatuses(), report)
	k.eventually("node a serves", func() bool {
		n, err := objects.In(k.c, objects.Nodes()).Get(t.Context(), "a")
		return err == nil && !tainted(n) && condition(n, networkUnavailable).Status == v1alpha1.ConditionFalse
	})
	k.eventually("others know its Ethernet address", func() bool {
		h, err := objects.In(k.c, objects.Hosts()).Get(t.Context(), "a")
		return err == nil && h.Spec.MAC == "02:00:00:00:00:0a"
	})

	// It goes, its prefix rests, and it comes back to it.
	if err := objects.In(k.c, objects.Nodes()).Delete(t.Context(), "a", objects.Only{}); err != nil {
		t.Fatal(err)
	}
	k.eventually("its prefix rests and nobody knows the host", func() bool {
		p, err := objects.In(k.c, objects.HostPrefixes()).Get(t.Context(), v1alpha1.PrefixName(netip.MustParsePrefix(got["a"][0])))
		_, known := k.find("a")
		return err == nil && !p.Living() && !known && p.Status.Witness != nil && p.Status.Witness.Equal(at.Time)
	})
	k.node("a", "east")
	k.eventually("it has its prefix again", func() bool { return fmt.Sprint(k.cidrsOf()["a"]) == fmt.Sprint(got["a"]) })
	k.eventually("and knows since when its addresses must be", func() bool {
		h, known := k.find("a")
		return known && h.Spec.BornAfter != nil && h.Spec.BornAfter.Equal(at.Time)
	})
}

func (k *cluster) find(host string) (*v1alpha1.Host, bool) {
	h, err := objects.In(k.c, objects.Hosts()).Get(k.t.Context(), host)
	return h, err == nil
}
