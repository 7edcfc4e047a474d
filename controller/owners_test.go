//go:build cluster

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/kubetest"
	"hexapod.dev/edge/kube/objects"
)

// nobodyElse fails the test if a node was given what an agent holds that is not on it.
func (f *fleet) nobodyElse() {
	f.k.t.Helper()
	f.agree()
	f.mu.Lock()
	defer f.mu.Unlock()
	holder := map[netip.Prefix]string{}
	for host, all := range f.holds {
		for _, p := range all {
			holder[p] = host
		}
	}
	for _, n := range list(f.k, objects.Nodes()) {
		for _, p := range cidrs(n) {
			if host, held := holder[p]; held && host != n.ObjectName() {
				f.k.t.Errorf("node %s was given %s, which lives on %s", n.ObjectName(), p, host)
			}
		}
	}
}

// numbered reports whether every node has a prefix.
func (k *cluster) numbered() bool {
	for _, c := range k.cidrsOf() {
		if len(c) == 0 {
			return false
		}
	}
	return true
}

// setsWithNumbers counts the different sets of labels that have a number.
func (k *cluster) setsWithNumbers() int {
	sets := map[string]bool{}
	for _, i := range list(k, objects.Identities()) {
		sets[fmt.Sprint(i.Spec.Namespace, i.Spec.Labels)] = true
	}
	return len(sets)
}

func (k *cluster) pod(namespace, name string, labels, annotations map[string]string) {
	k.t.Helper()
	p := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": namespace, "name": name, "labels": labels, "annotations": annotations},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "none"}}}}
	k.raw(objects.NewResource[rawObject]("v1", "Pod", "pods", true), namespace, p)
}

// rawObject is any object, made of a map.
type rawObject struct {
	v1alpha1.Header
	Content map[string]any `json:"-"`
}

func (k *cluster) raw(r objects.Resource[rawObject], namespace string, content map[string]any) {
	k.t.Helper()
	if _, err := objects.In(k.c, r).Namespace(namespace).Create(k.t.Context(), &rawObject{Content: content}); err != nil {
		k.t.Fatal(err)
	}
}

// MarshalJSON writes the content.
func (r *rawObject) MarshalJSON() ([]byte, error) { return json.Marshal(r.Content) }

// TestTwoLeaders: two controllers that both believe to lead number 120 nodes and 60 sets of labels at the same time.
func TestTwoLeaders(t *testing.T) {
	k := newCluster(t, labPlan())
	a, _ := k.start(Options{Identity: "a"})
	b, _ := k.start(Options{Identity: "b", Namespace: "default"}) // another lease: neither hears of the other
	k.eventually("both lead", func() bool { return a.leads() && b.leads() })
	for i := range 120 {
		k.node(fmt.Sprint("h", i), []string{"", "east", "9"}[i%3])
	}
	for i := range 60 {
		k.pod("default", fmt.Sprint("p", i), map[string]string{"app": fmt.Sprint("app", i)}, nil)
	}
	k.eventually("all are numbered", k.numbered)
	k.eventually("all sets have numbers", func() bool { return k.setsWithNumbers() == 60 })
	k.alone()
}

func (c *Controller) leads() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.term != nil
}

// TestRestoredStore: 30 nodes are numbered after a snapshot, the store is put back to it, and 30 new nodes come before the 30 are
// registered again. Whether or not a controller lived through it, and whether or not versions tell of it, nobody is given what an agent holds.
func TestRestoredStore(t *testing.T) {
	for name, c := range map[string]struct{ lives, beyond bool }{"the same controller": {lives: true}, "the same controller, and others have written since": {lives: true, beyond: true}, "another controller": {}} {
		if testing.Short() && c.lives && !c.beyond {
			continue // what is beyond is harder to notice
		}
		t.Run(name, func(t *testing.T) {
			k := newCluster(t, labPlan())
			_, stop := k.start(Options{Grace: 2 * time.Second})
			var names []string
			for i := range 35 {
				names = append(names, fmt.Sprint("h", i))
			}
			for _, n := range names[:5] {
				k.node(n, "7")
			}
			f := newFleet(k, names...)
			f.run()
			k.eventually("five are numbered", k.numbered)
			before := k.Snapshot()
			for _, n := range names[5:] {
				k.node(n, "7")
			}
			k.eventually("35 are numbered", k.numbered)
			k.eventually("35 agents hold prefixes", func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return len(f.holds) == 35
			})
			held := k.cidrsOf()
			if !c.lives {
				stop()
			}
			then := k.version()
			k.Restore(before)
			for i := 0; c.beyond && k.version() <= then; i++ {
				k.raw(objects.NewResource[rawObject]("v1", "ConfigMap", "configmaps", true), "default",
					map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": fmt.Sprint("write", i)}})
			}
			if !c.lives {
				k.start(Options{Identity: "second", Grace: 2 * time.Second})
			}
			for i := range 30 {
				k.node(fmt.Sprint("new", i), "7")
			}
			for _, n := range names[5:] {
				k.node(n, "7")
			}
			k.eventually("65 are numbered", k.numbered)
			for _, n := range names {
				if now := k.cidrsOf()[n]; fmt.Sprint(now) != fmt.Sprint(held[n]) {
					t.Errorf("node %s had %v and has %v", n, held[n], now)
				}
			}
			k.alone()
			f.nobodyElse()
		})
	}
}

// version is the version of the store.
func (k *cluster) version() uint64 {
	k.t.Helper()
	_, version, err := objects.In(k.c, objects.AddressPlans()).List(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	n, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		k.t.Fatal(err)
	}
	return n
}

// TestKilled: a controller is killed at random moments while nodes come and go; what it leaves is taken up by the next.
func TestKilled(t *testing.T) {
	k := newCluster(t, labPlan())
	program := filepath.Join(t.TempDir(), "hexapod")
	build := exec.Command("go", "build", "-o", program, "hexapod.dev/cmd/hexapod")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		t.Fatal(err)
	}
	config := k.Kubeconfig("admin-token")
	r := rand.New(rand.NewPCG(4, 4))
	rounds, nodes := 8, 0
	if testing.Short() {
		rounds = 3
	}
	var names []string
	for i := range rounds * 25 {
		names = append(names, fmt.Sprint("h", i))
	}
	newFleet(k, names...).run()
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, program, "controller", "--kubeconfig", config, "--namespace", "kube-system", "--identity", fmt.Sprint("c", round))
		cmd.Stderr = os.Stderr
		ended, err := kubetest.Begin(cmd)
		if err != nil {
			cancel()
			t.Fatal(err)
		}
		for range 25 {
			k.node(fmt.Sprint("h", nodes), []string{"", "east", "9"}[nodes%3])
			nodes++
		}
		have := len(list(k, objects.HostPrefixes()))
		want := have + r.IntN(25)
		k.eventually(fmt.Sprintf("more than %d prefixes are given", want), func() bool {
			return len(list(k, objects.HostPrefixes())) > want || k.numbered()
		})
		cancel() // kills it
		<-ended
		if gone := fmt.Sprint("h", r.IntN(nodes)); round%2 == 1 {
			_ = objects.In(k.c, objects.Nodes()).Delete(t.Context(), gone, objects.Only{})
		}
	}
	k.start(Options{Identity: "last"})
	k.eventually("all are numbered", k.numbered)
	k.eventually("all are hosts", func() bool { return len(list(k, objects.Hosts())) == len(list(k, objects.Nodes())) })
	k.alone()
	living := map[string]int{}
	for _, p := range list(k, objects.HostPrefixes()) {
		if p.Living() {
			living[p.Spec.Host]++
		}
	}
	for host, n := range living {
		if n != 1 {
			t.Errorf("host %s has %d prefixes", host, n)
		}
	}
}
