//go:build cluster

package controller

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/kubetest"
	"hexapod.dev/edge/kube/objects"
)

// The size of the largest cluster Kubernetes promises to bear, and how different its pods are.
const (
	scaleNodes = 5000
	scalePods  = 100_000
	scaleSets  = 2000
)

// BenchmarkPrefixes numbers 5,000 nodes that are there when the controller starts: seconds until all prefixes are written, until all nodes
// and all Hosts have them, and until every node is told that its agent is silent. No agents answer, so the whole grace of 10 s is among them.
// Beside it a bare client that knows everything writes the same objects: what is left is the API server's.
func BenchmarkPrefixes(b *testing.B) {
	b.Run("controller", func(b *testing.B) {
		for b.Loop() {
			f := newScaled(b)
			f.number(b).stop()
		}
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			newScaled(b).bare(b)
		}
	})
}

// bare writes what a controller writes.
func (f scaled) bare(b *testing.B) {
	before, begun := f.Cost(), time.Now()
	many(b, scaleNodes, func(i int) error {
		name, p := fmt.Sprint("h", i), pfx(fmt.Sprintf("2001:db8:a010:%x::/64", 0x1000+i))
		if _, err := objects.In(f.c, objects.HostPrefixes()).Create(b.Context(), v1alpha1.NewHostPrefix(v1alpha1.HostPrefixSpec{Prefix: p, Host: name})); err != nil {
			return err
		}
		spec := map[string]any{"podCIDR": p.String(), "podCIDRs": []string{p.String()}, "taints": []objects.Taint{{Key: notReadyTaint, Effect: "NoSchedule"}}}
		if _, err := objects.In(f.c, objects.Nodes()).Patch(b.Context(), name, "", map[string]any{"spec": spec}); err != nil {
			return err
		}
		_, err := objects.In(f.c, objects.Hosts()).Create(b.Context(), v1alpha1.NewHost(name, v1alpha1.HostSpec{Prefix: p}))
		return err
	})
	b.ReportMetric(time.Since(begun).Seconds(), "s/5000hosts")
	f.cost(b, before)
}

// cost reports what the API server and its store did for each node.
func (f scaled) cost(b *testing.B, before kubetest.Cost) {
	b.Helper()
	c := f.Cost().Less(before)
	b.ReportMetric(float64(c.Writes)/scaleNodes, "writes/node")
	b.ReportMetric(c.API.Seconds(), "cpu-s-apiserver")
	b.ReportMetric(c.Store.Seconds(), "cpu-s-etcd")
	b.ReportMetric(load(b), "load")
}

// BenchmarkScale goes on from there: it starts the controller again beside 100,000 pods of 2,000 sets of labels: seconds until the
// restarted one numbers a new node, and the memory of its process. Then some nodes get a real agent with real endpoints, and 1 % of the
// pods and all heartbeats of a while come: the agents' memory, what they hear of other hosts, and what they write.
func BenchmarkScale(b *testing.B) {
	for b.Loop() {
		f := newScaled(b)
		f.scale(b, f.number(b))
	}
}

// scaled is a large cluster.
type scaled struct {
	*cluster
	program string
	nodes   *objects.Store[objects.Node]
}

// newScaled makes the cluster and its nodes.
func newScaled(b *testing.B) scaled {
	f := scaled{cluster: newCluster(b, labPlan()), program: filepath.Join(b.TempDir(), "hexapod")}
	build := exec.Command("go", "build", "-o", f.program, "hexapod.dev/cmd/hexapod")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		b.Fatal(err)
	}
	many(b, scaleNodes, func(i int) error {
		n := &objects.Node{Header: v1alpha1.Header{Metadata: v1alpha1.Metadata{Name: v1alpha1.Name(fmt.Sprint("h", i)), Labels: map[string]string{rackLabel: fmt.Sprint(1 + i/1000)}}}}
		n.Status.Addresses = []objects.NodeAddress{{Type: "InternalIP", Address: fmt.Sprintf("3fff:f::%x", i+1)}}
		_, err := objects.In(f.c, objects.Nodes()).Create(b.Context(), n)
		return err
	})
	f.nodes = follow(f.cluster, objects.Nodes())
	return f
}

// nodesAre reports whether all nodes are so.
func (f scaled) nodesAre(so func(*objects.Node) bool) bool {
	for _, n := range f.nodes.All() {
		if !so(n) {
			return false
		}
	}
	return true
}

// number starts a controller and waits until it has numbered all nodes.
func (f scaled) number(b *testing.B) process {
	prefixes, hosts := follow(f.cluster, objects.HostPrefixes()), follow(f.cluster, objects.Hosts())
	before, begun := f.Cost(), time.Now()
	first := f.process(f.program, "first")
	f.await(b, func() bool { return prefixes.Len() == scaleNodes })
	b.ReportMetric(time.Since(begun).Seconds(), "s/5000prefixes")
	f.await(b, func() bool { return f.nodesAre(func(n *objects.Node) bool { return len(n.Spec.PodCIDRs) > 0 }) })
	b.ReportMetric(time.Since(begun).Seconds(), "s/5000nodes")
	f.await(b, func() bool { return hosts.Len() == scaleNodes })
	b.ReportMetric(time.Since(begun).Seconds(), "s/5000hosts")
	f.cost(b, before)
	worked, err := kubetest.CPU(first.cmd.Process.Pid)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(worked.Seconds(), "cpu-s-controller")
	f.await(b, func() bool {
		return f.nodesAre(func(n *objects.Node) bool { return condition(n, networkUnavailable).Reason == string(AgentSilent) })
	})
	b.ReportMetric(time.Since(begun).Seconds(), "s/5000told")
	return first
}

// scale makes the pods, starts another controller in the place of the first, and adds agents.
func (f scaled) scale(b *testing.B, first process) {
	k, nodes, program, identities := f.cluster, f.nodes, f.program, follow(f.cluster, objects.Identities())
	begun := time.Now()
	many(b, scalePods, func(i int) error { return k.scalePod(b.Context(), fmt.Sprint("p", i), i) })
	b.ReportMetric(time.Since(begun).Seconds(), "s/100000pods-made")
	k.await(b, func() bool { return identities.Len() == scaleSets })
	b.ReportMetric(first.memory(b, "VmRSS"), "MB-first")
	first.stop()

	begun = time.Now()
	second := k.process(program, "second")
	k.node("new", "9")
	k.await(b, func() bool {
		n, ok := nodes.Get(objects.Key{Name: "new"})
		return ok && len(n.Spec.PodCIDRs) > 0
	})
	b.ReportMetric(time.Since(begun).Seconds(), "s/restart")
	k.await(b, func() bool { _, known := k.find("new"); return known })
	b.ReportMetric(second.memory(b, "VmRSS"), "MB")
	b.ReportMetric(second.memory(b, "VmHWM"), "MB-peak")
	k.alone()
	k.withAgents(b)
	second.stop()
}

// scalePod makes the i-th pod, on a node in turn.
func (k *cluster) scalePod(ctx context.Context, name string, i int) error {
	p := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": "default", "name": name,
		"labels": map[string]string{"app": fmt.Sprint("app", i%scaleSets), "pod-template-hash": fmt.Sprint(i), "app.kubernetes.io/part-of": "scale"}},
		"spec": map[string]any{"nodeName": fmt.Sprint("h", i%scaleNodes), "containers": []any{map[string]any{"name": "c", "image": "none"}}}}
	_, err := objects.In(k.c, rawPods()).Namespace("default").Create(ctx, &rawObject{Content: p})
	return err
}

func rawPods() objects.Resource[rawObject] {
	return objects.NewResource[rawObject]("v1", "Pod", "pods", true)
}

// follow reads a resource until the benchmark ends.
func follow[T any](k *cluster, r objects.Resource[T]) *objects.Store[T] {
	s := objects.NewStore(r)
	ctx, cancel := context.WithCancel(k.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = objects.In(k.c, r).Follow(ctx, slog.New(slog.DiscardHandler), s) // it ends with ctx
	}()
	k.t.Cleanup(func() { cancel(); <-ended })
	return s
}

// load is the machine's load average of the last minute: what else was going on.
func load(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// many calls do for 0 to n-1, some at a time.
func many(b testing.TB, n int, do func(int) error) {
	b.Helper()
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error { return do(i) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

// await is eventually for what takes long.
func (k *cluster) await(b *testing.B, yes func() bool) {
	b.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !yes(); {
		if time.Now().After(deadline) {
			b.Fatal("not after 10 minutes")
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// process is a controller of its own.
type process struct {
	cmd   *exec.Cmd
	ended <-chan struct{}
}

func (k *cluster) process(program, name string) process {
	k.t.Helper()
	cmd := exec.Command(program, "controller", "--kubeconfig", k.Kubeconfig("admin-token"), "--namespace", "kube-system", "--identity", name)
	cmd.Stderr = os.Stderr
	ended, err := kubetest.Begin(cmd)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, if all went well
	return process{cmd, ended}
}

func (p process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.ended
}

// memory reads a line of /proc/PID/status, in megabytes.
func (p process) memory(b testing.TB, line string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1024
		}
	}
	b.Fatalf("no %s of process %d", line, p.cmd.Process.Pid)
	return 0
}
