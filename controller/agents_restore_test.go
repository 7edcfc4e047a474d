//go:build cluster

package controller

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/lease"
	"hexapod.dev/edge/kube/objects"
)

// How many hosts with a real agent the test of a restored store has; with -short some. HEXAPOD_AGENTS says another number. There are
// 2.5 times as many pods with a real ADD.
const (
	realHosts = 10
	someHosts = 4
)

// patience is how long leaders of this test wait for so many hosts on a machine that may be slow: a host that is heard later than its node is
// numbered does not get its prefix again. A process that was just started always waits that long.
func patience(hosts int) time.Duration {
	return 30*time.Second + time.Duration(hosts)*800*time.Millisecond
}

// terms are the times of the leases of this test's leaders. Hundreds of agents keep a few processors so busy that nobody renews a lease of
// some seconds in time, and every new term asks all hosts anew: what two leaders do is tested here, not how often they change.
func terms(hosts int) lease.Timing {
	t := lease.Timing{Duration: 5 * time.Second, Deadline: 3 * time.Second, Retry: 100 * time.Millisecond}
	if hosts > 50 {
		t.Duration, t.Deadline = time.Minute, 45*time.Second
	}
	return t
}

// TestRestoredStoreWithAgents: after a snapshot of the store half of the nodes and of the pods come, each node with a real agent and each
// pod with a real ADD; then the store is put back, a second controller leads beside the first, and new nodes, pods and sets of labels come
// while the agents hold what the store has forgotten, one of them started anew. No prefix, number or address has two owners, and every host has its prefix again.
func TestRestoredStoreWithAgents(t *testing.T) {
	number := realHosts
	if testing.Short() {
		number = someHosts
	}
	if v := os.Getenv("HEXAPOD_AGENTS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 4 {
			t.Fatalf("HEXAPOD_AGENTS=%q: want a number of hosts from 4", v)
		}
		number = n
	}
	w := &world{cluster: newCluster(t, labPlan()), programs: buildPrograms(t)}
	w.statuses = follow(w.cluster, objects.HostStatuses())
	_, stop := w.start(Options{Identity: "starter", Timing: terms(number)}) // it does not wait for hosts, because there are none
	begun := time.Now()
	w.grow(number/2, number*5/4, "old")
	before := w.Snapshot()
	w.grow(number-number/2, number*5/2-number*5/4, "lost")
	t.Logf("%d agents and %d pods after %.0f s; an agent has used at most %.1f s of a processor and %.0f MB", len(w.hosts), w.pods,
		time.Since(begun).Seconds(), w.most((*realHost).cpu), w.most(func(h *realHost) float64 { return h.memory(t, "VmRSS") }))
	held := w.heldBy()
	stop()
	first, _ := w.start(Options{Identity: "first", Grace: patience(number), Timing: terms(number)})
	w.awaits("leaders", 1, func() int { return leaders(first) })
	// The last host's agent is started anew, and finds no Host of its name.
	restarted := w.hosts[len(w.hosts)-1]
	restarted.kill()
	w.Restore(before)
	restarted.start()
	second, _ := w.start(Options{Identity: "second", Namespace: "default", Grace: patience(number), Timing: terms(number)}) // another lease: both lead
	var names []string
	for i := range number / 2 {
		names = append(names, fmt.Sprint("new", i))
		w.nodeAt(names[i], 10_000+i)
	}
	newFleet(w.cluster, names...).run()
	w.awaits("leaders", 2, func() int { return leaders(first, second) })
	for _, h := range w.hosts[number/2:] { // kubelets register what was lost
		w.nodeAt(h.name, h.at)
	}
	for i := range 40 {
		w.pod("default", fmt.Sprint("new", i), map[string]string{"app": fmt.Sprint("new", i)}, nil)
	}
	w.awaits("nodes with a prefix", number+number/2, func() (n int) {
		for _, c := range w.cidrsOf() {
			n += min(len(c), 1)
		}
		return n
	})
	w.awaits("new sets of labels with a number", 40, func() int { return w.numbersOf("new") })
	w.awaits("agents that have the prefix again that they held", number, func() (n int) {
		now := w.cidrsOf()
		for _, h := range w.hosts {
			if slices.Equal(now[h.name], held[h.name]) {
				n++
			}
		}
		return n
	})
	w.alone()
	w.noTwoOwners()
	t.Logf("all of it took %.0f s; an agent has used at most %.1f s of a processor", time.Since(begun).Seconds(), w.most((*realHost).cpu))
}

func leaders(all ...*Controller) (n int) {
	for _, c := range all {
		if c.leads() {
			n++
		}
	}
	return n
}

// world is a cluster of hosts that have agents.
type world struct {
	*cluster
	programs programs
	statuses *objects.Store[v1alpha1.HostStatus]
	hosts    []*placedHost
	pods     int
}

type placedHost struct {
	*realHost
	at int
}

// nodeAt makes the node of a host with its address.
func (w *world) nodeAt(name string, at int) {
	w.t.Helper()
	n := &objects.Node{Header: v1alpha1.Header{Metadata: v1alpha1.Metadata{Name: v1alpha1.Name(name), Labels: map[string]string{rackLabel: "7"}}}}
	n.Status.Addresses = []objects.NodeAddress{{Type: "InternalIP", Address: hostAddress(at).String()}}
	make1(w.cluster, objects.Nodes(), n)
}

// atOnce is how many agents are started together: enough to keep some processors busy, few enough that the API server gets its turn.
const atOnce = 6

// Times of waits: an end is seen soon, progress is told now and then, and only what stands still for long has failed. Hundreds of agents
// have much to do on a few processors.
const (
	awaitLook  = 200 * time.Millisecond
	awaitTell  = 15 * time.Second
	awaitStill = 4 * time.Minute
)

// awaits waits until there are as many as wanted, however long that takes while their number changes.
func (w *world) awaits(what string, want int, have func() int) {
	w.t.Helper()
	last, moved, told := -1, time.Now(), time.Now()
	for {
		n := have()
		if n == want {
			return
		}
		if n != last {
			last, moved = n, time.Now()
		}
		if time.Since(moved) > awaitStill {
			w.t.Fatalf("%s: %d of %d, and no other number for %s", what, n, want, awaitStill)
		}
		if time.Since(told) > awaitTell {
			told = time.Now()
			w.t.Logf("%s: %d of %d", what, n, want)
		}
		time.Sleep(awaitLook) // what is asked spans several kinds of objects: there is no one watch to wait for
	}
}

// leastMemory is what has to be left before more agents are started, in MB: the machine is not to be brought down.
const leastMemory = 1500

// memoryLeft is the memory of the machine that is available, in MB (proc(5), meminfo).
func (w *world) memoryLeft() int {
	w.t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		w.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return kb / 1024
}

// most is the most of something that an agent has.
func (w *world) most(of func(*realHost) float64) (most float64) {
	for _, h := range w.hosts {
		most = max(most, of(h.realHost))
	}
	return most
}

// grow adds hosts and waits until their agents serve, and pods on all hosts there are then.
func (w *world) grow(hosts, pods int, kind string) {
	w.t.Helper()
	for end := len(w.hosts) + hosts; len(w.hosts) < end; {
		if left := w.memoryLeft(); left < leastMemory {
			w.t.Fatalf("%d MB of memory are left beside %d agents: an agent and the tables of its programs take about 90", left, len(w.hosts))
		}
		for range min(atOnce, end-len(w.hosts)) {
			at := len(w.hosts)
			name := fmt.Sprint("h", at)
			w.nodeAt(name, at)
			w.hosts = append(w.hosts, &placedHost{w.realHost(w.programs, name, at), at})
		}
		w.awaits("agents that serve", len(w.hosts), w.serving)
	}
	type placed struct {
		host        *placedHost
		name, label string
	}
	var all []placed
	for range pods {
		p := placed{w.hosts[w.pods%len(w.hosts)], fmt.Sprint("p", w.pods), fmt.Sprint(kind, w.pods%60)}
		w.podOn(p.host.name, p.name, p.label)
		all = append(all, p)
		w.pods++
	}
	w.awaits("sets of labels with a number", min(pods, 60), func() int { return w.numbersOf(kind) })
	var g errgroup.Group
	g.SetLimit(8)
	for _, p := range all {
		g.Go(func() error { return p.host.add(w.t.Context(), p.name, p.label) })
	}
	if err := g.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// serving counts the hosts whose agents say that they serve.
func (w *world) serving() (n int) {
	for _, s := range w.statuses.All() {
		if c, ok := s.Status.Condition(v1alpha1.ConditionReady); ok && c.Status == v1alpha1.ConditionTrue {
			n++
		}
	}
	return n
}

// podOn makes a pod that is scheduled already.
func (w *world) podOn(node, name, app string) {
	w.raw(objects.NewResource[rawObject]("v1", "Pod", "pods", true), "default", map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": "default", "name": name, "labels": map[string]string{"app": app}},
		"spec": map[string]any{"nodeName": node, "containers": []any{map[string]any{"name": "c", "image": "none"}}}})
}

// heldBy is the prefix of each host as its node has it.
func (w *world) heldBy() map[string][]string {
	held := w.cidrsOf()
	for _, h := range w.hosts {
		if len(held[h.name]) != 1 {
			w.t.Fatalf("node %s has prefixes %v", h.name, held[h.name])
		}
	}
	return held
}

// numbersOf counts the sets of labels of a kind that have a number. Two leaders may have given two, which is harmless.
func (w *world) numbersOf(kind string) int {
	sets := map[string]bool{}
	for _, i := range list(w.cluster, objects.Identities()) {
		if app := i.Spec.Labels["app"]; len(app) > len(kind) && app[:len(kind)] == kind {
			sets[app] = true
		}
	}
	return len(sets)
}

// noTwoOwners fails the test if an address was given twice, lies in a prefix of another node, or says a number that means another set of
// labels: to another living endpoint, or in the cluster now.
func (w *world) noTwoOwners() {
	w.t.Helper()
	owner, meaning := map[netip.Addr]string{}, map[uint32]string{}
	for _, i := range list(w.cluster, objects.Identities()) {
		meaning[i.Spec.Number] = i.Spec.Labels["app"]
	}
	nodes := w.cidrsOf()
	unknown := 0
	for _, h := range w.hosts {
		for addr, label := range h.has {
			if other, twice := owner[addr]; twice {
				w.t.Errorf("%s was given on %s and on %s", addr, other, h.name)
			}
			owner[addr] = h.name
			for node, all := range nodes {
				for _, c := range all {
					if node != h.name && netip.MustParsePrefix(c).Contains(addr) {
						w.t.Errorf("%s lives on %s, and its prefix %s was given to %s", addr, h.name, c, node)
					}
				}
			}
			b := addr.As16()
			n := uint32(binary.BigEndian.Uint16(b[8:10]))
			if n == 0 { // its number was late
				unknown++
				continue
			}
			if before, known := meaning[n]; known && before != label {
				w.t.Errorf("number %d is that of app=%s, and %s of app=%s carries it", n, before, addr, label)
			}
			meaning[n] = label
		}
	}
	w.t.Logf("%d addresses on %d hosts, %d numbers; %d addresses carry none", len(owner), len(w.hosts), len(meaning), unknown)
	if len(owner) != w.pods {
		w.t.Errorf("%d pods have %d addresses", w.pods, len(owner))
	}
}
