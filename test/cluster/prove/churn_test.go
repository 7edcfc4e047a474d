//go:build cluster

package prove

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/agent/journal"
	"hexapod.dev/model/ipam"
	"hexapod.dev/test/cluster"
)

// How many pods come and go: HEXAPOD_CHURN says another number of all.
const (
	churnPods  = 120
	churnBatch = 20 // made and deleted together
	churnAlive = 4  // batches at a time; a kubelet takes 110 pods
)

// Times of what is killed meanwhile.
const (
	killAgent     = 5 * time.Second
	killLeader    = 20 * time.Second
	churnPatience = 10 * time.Minute // for a batch, beside whatever else the machine does
)

// Pods are made and deleted as fast as the cluster takes while each 5 seconds an agent is killed, those of all nodes in turn, and each 20
// the leading controller: every pod gets ready and goes, no address is given twice, and nothing of them stays.
func TestChurn(t *testing.T) {
	b := open(t)
	total := churnPods
	if v := os.Getenv("HEXAPOD_CHURN"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("HEXAPOD_CHURN=%q: want a number of pods", v)
		}
		total = n
	}
	before := b.living()
	ctx, cancel := context.WithCancel(t.Context())
	var killers sync.WaitGroup
	var agents, controllers int
	killers.Go(func() { agents = b.every(ctx, killAgent, b.killAgent) })
	killers.Go(func() { controllers = b.every(ctx, killLeader, b.killLeader) })
	begun := time.Now()
	err := b.churn(ctx, total)
	took := time.Since(begun)
	cancel()
	killers.Wait()
	if err != nil {
		t.Error(err)
	}
	b.until("nothing is left of the pods", func() error { return same(before, b.living()) })
	for _, n := range b.Nodes() {
		b.until("journal and kernel of "+n+" agree with its pods", func() error { return b.asKernel(n) })
	}
	given := b.givenOnce()
	t.Logf("%d pods in %.0f s; killed: %d agents, %d controllers; %d addresses in the journals, none twice", total, took.Seconds(), agents, controllers, given)
	if given < total {
		t.Errorf("%d pods, and %d addresses in the journals", total, given)
	}
}

// churn makes and deletes pods, some batches at a time.
func (b bed) churn(ctx context.Context, total int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(churnAlive)
	for first := 0; first < total; first += churnBatch {
		g.Go(func() error { return b.batch(ctx, first, min(churnBatch, total-first)) })
	}
	return g.Wait()
}

// batch makes n pods of eight sets of labels, waits until all are ready, and deletes them until they are gone.
func (b bed) batch(ctx context.Context, first, n int) error {
	var text strings.Builder
	label := fmt.Sprintf("churn=b%d", first)
	for i := range n {
		fmt.Fprintf(&text, `---
apiVersion: v1
kind: Pod
metadata: {name: churn-%d, namespace: default, labels: {churn: b%d, app: churn%d}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: %q, imagePullPolicy: IfNotPresent}]
`, first+i, first, i%8, b.pause)
	}
	patience := "--timeout=" + churnPatience.String()
	for _, words := range [][]string{
		{"create", "-f", "-"},
		{"wait", "--for=condition=Ready", "pod", "-l", label, patience},
		{"delete", "pod", "-l", label, "--wait=false"},
		{"wait", "--for=delete", "pod", "-l", label, patience},
	} {
		if out, err := b.feed(ctx, cluster.Router, text.String(), append([]string{"kubectl"}, words...)...); err != nil {
			pods, _ := b.try(cluster.Router, "kubectl", "get", "pods", "-l", label, "-o", "wide", "--no-headers")
			return fmt.Errorf("pods %d to %d: %w\n%s\n%s", first, first+n-1, err, out, pods)
		}
	}
	return nil
}

// every does something until ctx ends and returns how often it could.
func (b bed) every(ctx context.Context, pause time.Duration, do func(turn int) bool) (count int) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return count
		case <-tick.C:
			if do(turn) {
				count++
			}
		}
	}
}

// killAgent kills the agent of one node, the next one each turn. It may not be back from the last time.
func (b bed) killAgent(turn int) bool {
	node := b.Nodes()[turn%len(b.Nodes())]
	pid, err := b.agent(node)
	if err == nil {
		_, err = b.try(node, "kill", "-9", pid)
	}
	return err == nil
}

// killLeader kills the controller that leads, if one does yet. A kubelet waits ever longer before it starts again what ended, so its
// pod goes as well: the Deployment makes another one at once.
func (b bed) killLeader(int) bool {
	ask := []string{"kubectl", "-n", namespace}
	pod, err := b.try(cluster.Router, append(ask, "get", "lease", "hexapod-controller", "-o", "jsonpath={.spec.holderIdentity}")...)
	if err != nil || pod == "" {
		return false
	}
	node, err := b.try(cluster.Router, append(ask, "get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")...)
	if err != nil {
		return false
	}
	pid, err := b.try(node, "pgrep", "-nf", "^/usr/bin/hexapod controller .*--identity="+pod)
	if err == nil {
		_, err = b.try(node, "kill", "-9", pid)
	}
	_, _ = b.try(cluster.Router, append(ask, "delete", "pod", pod, "--force", "--grace-period=0", "--wait=false")...) // it may be gone
	return err == nil
}

// living is the pods of each node that have an address of the node's prefix: those of the host network have not.
func (b bed) living() map[string][]string {
	b.t.Helper()
	all := map[string][]string{}
	for line := range strings.Lines(b.kubectl("get", "pods", "-A", "-o",
		`jsonpath={range .items[*]}{.spec.nodeName} {.spec.hostNetwork} {.metadata.namespace}/{.metadata.name}{"\n"}{end}`)) {
		words := strings.Fields(line) // without a word for the host network there are two
		if len(words) == 2 {
			all[words[0]] = append(all[words[0]], words[1])
		}
	}
	for _, list := range all {
		slices.Sort(list)
	}
	return all
}

func same(want, have map[string][]string) error {
	if maps.EqualFunc(want, have, slices.Equal[[]string]) {
		return nil
	}
	return fmt.Errorf("pods: %v, want %v", have, want)
}

// asKernel compares what the journal of a node says is living with its pods, the routes and the links in the kernel.
func (b bed) asKernel(node string) error {
	pods := len(b.living()[node])
	_, living, err := b.journal(node)
	if err != nil {
		return err
	}
	routes := 0
	for line := range strings.Lines(b.on(node, "ip", "-6", "route", "show", "proto", "206")) {
		if a, err := netip.ParseAddr(strings.Fields(line)[0]); err == nil && living[a] {
			routes++
		}
	}
	links := -1 // the uplink is a veth as well
	for range strings.Lines(b.on(node, "ip", "-br", "link", "show", "type", "veth")) {
		links++
	}
	spaces := len(strings.Fields(b.on(node, "ls", "/run/netns")))
	if len(living) != pods || routes != pods || links != pods || spaces != pods {
		return fmt.Errorf("node %s: %d pods, %d living in the journal, %d routes, %d links, %d namespaces", node, pods, len(living), routes, links, spaces)
	}
	return nil
}

// givenOnce fails the test if an address was given twice by whatever agent, and returns how many were given.
func (b bed) givenOnce() int {
	b.t.Helper()
	owner := map[netip.Addr]string{}
	for _, n := range b.Nodes() {
		given, _, err := b.journal(n)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, a := range given {
			if before, twice := owner[a]; twice {
				b.t.Errorf("%s was given by %s and by %s", a, before, n)
			}
			owner[a] = n
		}
	}
	return len(owner)
}

// journal reads every address that a node gave, in order, and those that live.
func (b bed) journal(node string) (given []netip.Addr, living map[netip.Addr]bool, err error) {
	dir := journal.Dir(b.Disk(node, "var/lib/hexapod/journal"))
	all, err := journal.Segments(dir)
	living = map[netip.Addr]bool{}
	for i := 0; err == nil && i < len(all); i++ {
		err = journal.Read(dir, all, i, func(bytes []byte) error {
			r, err := ipam.ParseRecord(bytes)
			if err != nil {
				return err
			}
			switch {
			case r.Kind == ipam.RecordRetire:
				delete(living, r.Addr)
			case r.Kind == ipam.RecordAllocate && !r.Restated:
				given = append(given, r.Addr)
				fallthrough
			case r.Kind == ipam.RecordAllocate:
				living[r.Addr] = true
			}
			return nil
		})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("journal of %s: %w", node, err)
	}
	return given, living, nil
}
