package agent

import (
	"context"
	"net/netip"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/cni"
	"hexapod.dev/edge/kube"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/desired"
)

// Cluster is what the agent of a host in a Kubernetes cluster has beside its configuration.
type Cluster interface {
	Source
	// Run follows the pods of this host and writes its HostStatus until ctx ends. report says what to write; changed is called
	// when a pod changed.
	Run(ctx context.Context, report func() v1alpha1.HostReport, changed func()) error
	// Pod tells of a pod of this host, from the API or, while that is away, from the record on disk. Not known is false.
	Pod(ctx context.Context, namespace, name, uid string) (kube.Pod, bool)
	// FollowServices tells of services and their endpoints until ctx ends.
	FollowServices(ctx context.Context, sink kube.ServiceSink) error
	// FollowPolicies tells of policies until ctx ends, each time of all there are.
	FollowPolicies(ctx context.Context, tell func(*objects.ClusterPolicies)) error
	// Heard is how many changes of objects this host was told of, by resource.
	Heard() map[string]uint64
	// ReportSoon asks for a new HostStatus.
	ReportSoon()
	// Refused tells the owner of a pod why it gets no address.
	Refused(namespace, name, uid, why string)
	// Witness is the latest moment for which this host may have given an address out, as the cluster knows it; zero: not known.
	Witness() time.Time
}

// podPatience bounds the question for a pod that the watch has not told of yet.
const podPatience = time.Second

// who finds out who the endpoint of r is: its number, and the bounds of what it may send and receive.
func (a *Agent) who(ctx context.Context, c *configuration, r cni.Request) (uint32, desired.Bandwidth) {
	if a.options.Cluster == nil {
		return c.identityOf(r.Namespace, r.Labels), desired.Bandwidth{}
	}
	if r.Namespace == "" || r.Name == "" {
		return 0, desired.Bandwidth{}
	}
	ctx, cancel := context.WithTimeout(ctx, podPatience)
	defer cancel()
	pod, ok := a.options.Cluster.Pod(ctx, r.Namespace, r.Name, r.UID)
	if !ok {
		a.log.Warn("pod not known, its address says identity 0", "namespace", r.Namespace, "name", r.Name)
		return 0, desired.Bandwidth{}
	}
	return c.identityOf(pod.Namespace, pod.Labels), pod.Bandwidth
}

// claimed returns the fixed address that an Address object of the cluster claims for a pod; the invalid address is none.
func (a *Agent) claimed(c *configuration, r cni.Request) []netip.Addr {
	if a.options.Cluster == nil || len(r.Fixed) > 0 || r.Name == "" {
		return r.Fixed
	}
	for _, o := range c.set.Objects.Addresses {
		if o.Spec.Namespace == r.Namespace && o.Spec.Name == r.Name {
			return []netip.Addr{o.Spec.Address.Addr}
		}
	}
	return nil
}

// toldOf is called when pods changed.
func (a *Agent) toldOf() {
	a.renumber()
	if a.options.Cluster != nil && a.serving.Load() { // before that, the first pass will see it
		a.kick(partPolicy) // labels and names of ports may have changed
		a.kick(partBypass)
		if a.clientsChanged(a.config.Load()) {
			a.kick(partDNS)
		}
	}
}

// renumber is called when pods or numbers changed: an endpoint that came before its number, or whose labels were changed, is known by
// its number now, although its address goes on saying another.
func (a *Agent) renumber() {
	c := a.config.Load()
	if a.options.Cluster == nil || c == nil {
		return
	}
	changed := false
	for k, e := range a.sections.Snapshot().Endpoints.All() {
		pod, ok := a.podNow(e)
		if !ok {
			continue
		}
		n := c.identityOf(pod.Namespace, pod.Labels)
		if n == 0 || n == e.Identity {
			continue
		}
		changed = a.sections.Renumber(k, n) || changed
	}
	if changed {
		a.reportSoon()
	}
}

// podNow is the pod of an endpoint as it is known already: nobody is asked.
func (a *Agent) podNow(e desired.Endpoint) (kube.Pod, bool) {
	if a.options.Cluster == nil || e.Name == "" {
		return kube.Pod{}, false
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	return a.options.Cluster.Pod(now, e.Namespace, e.Name, e.UID)
}

// reportSoon asks for a new HostStatus. Outside a cluster nobody wants one.
func (a *Agent) reportSoon() {
	if a.options.Cluster != nil {
		a.options.Cluster.ReportSoon()
	}
}
