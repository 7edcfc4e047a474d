//go:build cluster

package prove

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/test/cluster"
	"hexapod.dev/test/cluster/build"
)

// TestMain serves what a cluster calls of the program that brings it up.
func TestMain(m *testing.M) {
	if handled, err := cluster.Called(context.Background(), os.Args[1:]); handled {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	tree      = "../../.."
	namespace = "hexapod-system"
)

// values are what the operator gives to the chart: the plan, and where the API server is before there are Services.
const values = `
plan:
  name: home
  spec:
    prefix: 2001:db8:8000::/37
    lab: true
    hostPrefixes: plan
    clusters: [{name: home, number: 1}]
`

// Helm installs Hexapod on a running cluster without a network, upgrades and rolls back without a packet, a Node or an endpoint lost, and
// uninstalls; every node is then as it was, and the stock network starts.
func TestHelm(t *testing.T) {
	b, helm := bare(t)
	before := b.facts()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	release := func(words ...string) {
		t.Helper()
		b.on(cluster.Router, append([]string{helm, "--namespace", namespace}, words...)...)
	}
	chart := filepath.Join(b.tree(), "deploy", "helm", "hexapod")

	begun := time.Now()
	release("install", "hexapod", chart, "--create-namespace", "--values", file)
	b.kubectl("-n", "kube-system", "wait", "--for=condition=Ready", "pod", "-l", "k8s-app=kube-dns", "--timeout="+patience.String())
	t.Logf("install: pods of the cluster are ready after %.1f s", time.Since(begun).Seconds())
	b.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout="+patience.String())

	names, addrs := b.pods("helm")
	pinged := b.watched(names["w2"], addrs["w1"][0], func() {
		release("upgrade", "hexapod", chart, "--values", file, "--set", "agent.args={--log-level=debug}", "--set", "controller.replicas=1")
		b.rolledOut()
		release("rollback", "hexapod", "1")
		b.rolledOut()
	})
	t.Logf("upgrade and rollback: %s", pinged)

	b.kubectl("delete", "daemonset", "helm", "--wait")
	b.kubectl("-n", "kube-system", "scale", "deployment/coredns", "--replicas=0")
	b.until("the pods are gone", func() error { return same(map[string][]string{}, b.living()) })
	release("uninstall", "hexapod", "--wait")
	b.kubectl("delete", "namespace", namespace)
	b.kubectl("apply", "-k", filepath.Join(b.tree(), "deploy", "kustomize", "cleanup"))
	b.kubectl("-n", "kube-system", "rollout", "status", "daemonset/hexapod-cleanup", "--timeout="+patience.String())
	b.kubectl("delete", "-k", filepath.Join(b.tree(), "deploy", "kustomize", "cleanup"), "--wait")
	b.kubectl("delete", "-k", filepath.Join(b.tree(), "deploy", "crds"), "--ignore-not-found")
	if diff := cmp.Diff(before, b.facts()); diff != "" {
		t.Errorf("not as before the installation (-before +after):\n%s", diff)
	}

	if err := b.UsePTP(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.kubectl("-n", "kube-system", "scale", "deployment/coredns", "--replicas=2")
	b.kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout="+patience.String())
}

// bare brings up a cluster without a network, for this test alone, and finds helm.
func bare(t *testing.T) (bed, string) {
	t.Helper()
	cache, err := build.Open(tree)
	if err != nil {
		t.Fatal(err)
	}
	helm, err := cache.Helm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	programs, err := filepath.Abs(filepath.Join(tree, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	o := cluster.Options{Name: fmt.Sprint("helm", os.Getpid()), Workers: 2, Family: cluster.IPv6, Network: cluster.None, Fabric: cluster.Flat,
		HostPrefixes: cluster.Plan, HostBits: 64, KubeProxy: true, Internet: cluster.NoInternet, Programs: programs}
	t.Cleanup(func() {
		if err := cluster.Down(cache, o.Name); err != nil {
			t.Error(err)
		}
	})
	c, err := cluster.Up(t.Context(), cache, o, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	names, err := cache.Names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return bed{c, t, names["agnhost"], names[build.PauseImage]}, helm
}

// tree is the source tree, as a path that holds in every folder.
func (b bed) tree() string {
	b.t.Helper()
	path, err := filepath.Abs(tree)
	if err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b bed) rolledOut() {
	b.t.Helper()
	for _, what := range []string{"daemonset/hexapod-agent", "deployment/hexapod-controller"} {
		b.kubectl("-n", namespace, "rollout", "status", what, "--timeout="+patience.String())
	}
}

// asked are the facts of a node that an installation may change, each with the words that ask for it.
var asked = map[string]string{
	"addresses": `ip -o address | sed 's/valid_lft.*//'`,
	"links":     `ip -d -o link | sed -E 's/ (state|qlen|promiscuity|allmulti|minmtu).*//; s/@if[0-9]+//'`,
	"qdiscs":    `tc qdisc show`,
	"filters":   `for l in $(ls /sys/class/net); do tc filter show dev $l ingress; tc filter show dev $l egress; done 2>/dev/null`,
	"programs":  `bpftool net 2>/dev/null; true`,
	"routes":    `ip -6 route show table all | sed 's/ expires [0-9]*sec//'; ip -4 route show table all`,
	"rules":     `ip -6 rule; ip -4 rule`,
	"neighbors": `ip neigh show nud permanent; ip neigh show proxy`,
	"nft":       `nft list tables | grep -v kube-proxy; true`,
	"bpffs":     `find /sys/fs/bpf`,
	"plugins":   `ls -R /etc/cni /opt/cni`,
	"run":       `ls -d /run/hexapod 2>/dev/null; true`,
	"settings":  `sysctl -a 2>/dev/null | grep -E '^net\.(ipv6|ipv4)\.(conf|neigh|route|ip_forward|icmp)'; true`,
}

// facts are what an uninstallation has to put back, by node, and the kinds of the cluster.
func (b bed) facts() map[string]map[string]string {
	b.t.Helper()
	all := map[string]map[string]string{"cluster": {"kinds": b.kubectl("get", "crd", "-o", "name")}}
	for _, n := range b.Nodes() {
		all[n] = map[string]string{}
		for what, words := range asked {
			all[n][what] = b.on(n, "sh", "-c", words)
		}
	}
	return all
}

// loss reads the last lines of ping -q.
var loss = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// watched pings from a pod every 10 ms, and watches nodes and endpoints, while something is done. It fails the test if a packet, the
// readiness of a node or an endpoint was lost, and returns what was sent.
func (b bed) watched(pod, addr string, do func()) string {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	var all sync.WaitGroup
	type answer struct {
		out string
		err error
	}
	pinged := make(chan answer, 1)
	go func() {
		out, err := b.feed(ctx, cluster.Router, "", "kubectl", "exec", pod, "--", "ping", "-q", "-i0.01", "-W5", addr)
		pinged <- answer{out, err}
	}()
	notReady := b.stream(ctx, &all, "get", "nodes", "-w", "-o", `jsonpath={.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}`)
	endpoints := b.stream(ctx, &all, "get", "endpointslices", "-A", "-w", "-o",
		`jsonpath={.metadata.name} {range .endpoints[*]}{.conditions.ready} {end}{"\n"}`)
	do()
	node := b.nodeOf(pod)
	b.on(node, "pkill", "-INT", "-f", "^ping -q -i0.01") // it says what it counted; a node sees its own processes alone
	told := <-pinged
	cancel()
	all.Wait()
	found := loss.FindStringSubmatch(told.out)
	if found == nil { // it ends with an error when packets were lost
		b.t.Fatalf("ping: %v\n%s", told.err, told.out)
	}
	if sent, _ := strconv.Atoi(found[1]); found[1] != found[2] || sent < 500 {
		b.t.Errorf("ping: %s", found[0])
	}
	for line := range strings.Lines(notReady.String()) {
		if words := strings.Fields(line); len(words) != 2 || words[1] != "True" {
			b.t.Errorf("a node was not ready: %q", line)
		}
	}
	for line := range strings.Lines(endpoints.String()) {
		if words := strings.Fields(line); strings.Contains(line, "false") || len(words) < 2 {
			b.t.Errorf("an endpoint was removed: %q", line)
		}
	}
	return found[0]
}

// stream follows a list until ctx ends.
func (b bed) stream(ctx context.Context, all *sync.WaitGroup, words ...string) *strings.Builder {
	var out strings.Builder
	all.Go(func() {
		cmd := b.Command(ctx, append([]string{"kubectl"}, words...)...)
		cmd.Stdout = &out
		_ = b.Run(cluster.Router, cmd) // it ends with ctx
	})
	return &out
}

// nodeOf is where a pod runs.
func (b bed) nodeOf(pod string) string {
	b.t.Helper()
	return b.kubectl("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")
}
