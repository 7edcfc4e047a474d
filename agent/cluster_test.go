package agent_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/agent"
	"hexapod.dev/agent/local"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube"
	"hexapod.dev/edge/objects"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
)

// podCluster is a cluster that knows one pod, and keeps what its owner is told.
type podCluster struct {
	tellingCluster
	pod     kube.Pod
	refused chan string
}

func (c podCluster) Pod(_ context.Context, namespace, name, _ string) (kube.Pod, bool) {
	return c.pod, namespace == c.pod.Namespace && name == c.pod.Name
}

func (c podCluster) Refused(namespace, name, uid, why string) {
	c.refused <- strings.Join([]string{namespace, name, uid, why}, " ")
}

// newPodHost makes a host in a cluster that knows pod.
func newPodHost(t *testing.T, pod kube.Pod) (*host, podCluster) {
	h := newHost(t)
	c := podCluster{tellingCluster{agent.Folder(h.conf()), make(chan kube.ServiceSink, 1)}, pod, make(chan string, 8)}
	h.cluster = c
	return h, c
}

// The bounds that annotations of a pod give are on its link, in both directions, beside the programs, and come back when somebody takes them off.
func TestBoundsOfAPod(t *testing.T) {
	t.Parallel()
	h, _ := newPodHost(t, kube.Pod{Namespace: "shop", Name: "web", Bandwidth: desired.Bandwidth{Ingress: desired.Rate{Bits: 8_000_000}, Egress: desired.Rate{Bits: 16_000_000}}})
	a := h.start()
	r := h.endpoint("web")
	r.Namespace, r.Name = "shop", "web"
	got, err := a.Add(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := netns.Open(r.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	outer := func() string { return netnstest.Run(t, h.ns, "tc qdisc show dev "+got.HostName) }
	if out := outer(); !strings.Contains(out, "rate 8Mbit") || !strings.Contains(out, "clsact") {
		t.Errorf("towards the pod: %s", out)
	}
	if out := netnstest.Run(t, ns, "tc qdisc show dev eth0"); !strings.Contains(out, "rate 16Mbit") {
		t.Errorf("from the pod: %s", out)
	}
	h.reaches(got.Addrs[0].String())
	netnstest.Run(t, h.ns, "tc qdisc del dev "+got.HostName+" root")
	netnstest.Run(t, h.ns, "ip link set "+got.HostName+" down") // what the agent hears of
	until(t, "the bound is back", func() bool { return strings.Contains(outer(), "rate 8Mbit") })
}

// The owner of a pod that gets no address is told why.
func TestOwnerOfAPodWithoutAddressIsTold(t *testing.T) {
	t.Parallel()
	h, c := newPodHost(t, kube.Pod{Namespace: "shop", Name: "other", UID: "u1"})
	a := h.start()
	r := h.endpoint("other")
	r.Namespace, r.Name, r.UID, r.Fixed = "shop", "other", "u1", []netip.Addr{fixedAddr}
	_, err := a.Add(t.Context(), r)
	if err == nil {
		t.Fatal("a pod got the address that another has claimed")
	}
	if told := <-c.refused; told != "shop other u1 "+err.Error() || !strings.Contains(told, fixedAddr.String()+" is claimed by shop/web") {
		t.Errorf("its owner is told %q, the runtime %q", told, err)
	}
}

// askingCluster tells what the test wants it to, and hands out the report of its host.
type askingCluster struct {
	tellingCluster
	sets   chan objects.Set
	report chan func() v1alpha1.HostReport
}

func (c askingCluster) Run(ctx context.Context, report func() v1alpha1.HostReport, _ func()) error {
	c.report <- report
	<-ctx.Done()
	return nil
}

func (c askingCluster) Watch(ctx context.Context, tell func(objects.Set, error)) error {
	tell(c.Load(ctx))
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-c.sets:
			tell(s, nil)
		}
	}
}

// A store that was put back gives this host another prefix, or has forgotten it: that is refused, and the controller's question what the host
// holds is answered all the same.
func TestRefusedHostAnswers(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := askingCluster{tellingCluster{agent.Folder(h.conf()), make(chan kube.ServiceSink, 1)}, make(chan objects.Set), make(chan func() v1alpha1.HostReport, 1)}
	h.cluster = c
	h.start()
	report := <-c.report
	for i, text := range []string{
		strings.Replace(plan, "number: 1, clock", "number: 9, clock", 1),
		strings.Replace(plan, "metadata: {name: h1}", "metadata: {name: h3}", 1),
		plan,
	} {
		round := int64(i + 1)
		h.configure(text)
		set, err := c.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		set.Objects.Plan.Status.Round = round
		c.sets <- set
		until(t, "the question is answered", func() bool { return report().Round == round })
		if p := report().Prefixes; len(p) != 1 || p[0].Prefix != hostPrefix {
			t.Errorf("the host says that it holds %v, want %s", p, hostPrefix)
		}
		if refused := h.object("config", c.Name()).State == local.Failed; refused != (text != plan) {
			t.Errorf("question %d: refused %t", round, refused)
		}
	}
}
