//go:build cluster

package prove

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
)

// Every pod reaches every other, under each of its addresses.
func TestPodsReachEachOther(t *testing.T) {
	b := open(t)
	names, addrs := b.pods("reach")
	for from, pod := range names {
		for to, list := range addrs {
			for _, a := range list {
				if _, err := b.try("router", "kubectl", "exec", pod, "--", "ping", "-c1", "-W5", a); err != nil {
					t.Errorf("from %s to %s: %v", from, to, err)
				}
			}
		}
	}
}

// capabilities that deploy/kustomize/base/agent.yaml lists, as numbers (linux/capability.h).
var capabilities = []uint{6 /* SETGID */, 7 /* SETUID */, 10 /* NET_BIND_SERVICE */, 12 /* NET_ADMIN */, 13 /* NET_RAW */, 21 /* SYS_ADMIN */}

// The agent runs with the capabilities that are listed and no other, so all other tests here do with these.
func TestRightsOfTheAgent(t *testing.T) {
	b := open(t)
	var want uint64
	for _, c := range capabilities {
		want |= 1 << c
	}
	for _, node := range b.Nodes() {
		pid, err := b.agent(node)
		if err != nil {
			t.Fatalf("%s: %v", node, err)
		}
		status := strings.Split(b.on(node, "cat", "/proc/"+pid+"/status"), "\n")
		for _, set := range []string{"CapEff", "CapPrm", "CapBnd"} {
			line := fmt.Sprintf("%s:\t%016x", set, want)
			if !slices.Contains(status, line) {
				t.Errorf("agent of %s: %q is not in its status", node, line)
			}
		}
	}
}

// An agent that is killed cuts nobody off, and comes back.
func TestAgentKilled(t *testing.T) {
	b := open(t)
	names, addrs := b.pods("killed")
	type answer struct {
		out string
		err error
	}
	pinged := make(chan answer, 1)
	go func() {
		out, err := b.try("router", "kubectl", "exec", names["w2"], "--", "ping", "-q", "-i0.01", "-c800", "-W5", addrs["w1"][0])
		pinged <- answer{out, err}
	}()
	for range 2 {
		pid, err := b.agent("w1")
		if err != nil {
			t.Fatal(err)
		}
		b.on("w1", "kill", "-9", pid)
		b.until("the agent of w1 is back", func() error {
			next, err := b.agent("w1")
			if err == nil && next == pid {
				err = fmt.Errorf("%s is still there", pid)
			}
			if err == nil {
				_, err = b.try("w1", "nsenter", "-t", next, "-m", "/usr/bin/hexapod", "ipam", "status")
			}
			return err
		})
	}
	if a := <-pinged; a.err != nil || !strings.Contains(a.out, " 0% packet loss") {
		t.Errorf("packets were lost: %v\n%s", a.err, a.out)
	}
}

// away is how long a node has been without the API server when a sandbox dies.
const away = time.Minute

// While the API server is away, also for an agent that was killed meanwhile, a pod whose sandbox dies gets its network again, as who
// it was.
func TestAPIServerAway(t *testing.T) {
	b := open(t)
	names, addrs := b.pods("away")
	pod, before := names["w1"], addrs["w1"][0]
	b.until("the agent of w1 has written down who its pod is", func() error { return b.writtenDown("w1", "away") })
	const table = "hexapod-prove-away"
	b.on("w1", "nft", "add table inet "+table+" { chain out { type filter hook output priority 300; tcp dport 6443 drop; }; }")
	cut := true
	back := func() {
		if cut {
			b.on("w1", "nft", "delete table inet "+table)
		}
		cut = false
	}
	t.Cleanup(back)
	without := time.After(away)
	pid, err := b.agent("w1")
	if err != nil {
		t.Fatal(err)
	}
	b.on("w1", "kill", "-9", pid)
	<-without
	b.on("w1", "kill", "-9", sandbox(b, "w1", pod))
	begun := time.Now()
	var after string
	b.until("the pod has an address again", func() error {
		for _, line := range strings.Split(b.on("w1", "ip", "-6", "route", "show", "proto", "206"), "\n") {
			if a := strings.Fields(line)[0]; sameIdentity(a, before) && a != before {
				after = a
				return nil
			}
		}
		return fmt.Errorf("%s had %s", pod, before)
	})
	t.Logf("%s had %s and has %s, %.1f s after its sandbox died", pod, before, after, time.Since(begun).Seconds())
	back()
	b.until("Kubernetes knows the new address", func() error {
		if now := b.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}"); now != after {
			return fmt.Errorf("it says %s", now)
		}
		return nil
	})
}

// writtenDown tells whether a node has on its disk that the pods of an app have a number.
func (b bed) writtenDown(node, app string) error {
	text, err := os.ReadFile(filepath.Join(b.Disk(node, "var/lib/hexapod/kube"), "cluster.json"))
	if err != nil {
		return err
	}
	var kept struct{ Identities []v1alpha1.Identity }
	if err := json.Unmarshal(text, &kept); err != nil {
		return err
	}
	for _, i := range kept.Identities {
		if i.Spec.Labels["app"] == app && i.Spec.Retired == nil {
			return nil
		}
	}
	return fmt.Errorf("no number of app=%s is kept on %s", app, node)
}

// sandbox returns the first process of a pod's sandbox.
func sandbox(b bed, node, pod string) string {
	b.t.Helper()
	ctr := []string{"ctr", "-n", "k8s.io"}
	is := `labels."io.kubernetes.pod.name"==` + pod + `,labels."io.cri-containerd.kind"==sandbox`
	for _, id := range strings.Fields(b.on(node, append(ctr, "containers", "ls", "-q", is)...)) {
		for _, task := range strings.Split(b.on(node, append(ctr, "tasks", "ls")...), "\n") {
			if t := strings.Fields(task); len(t) > 2 && t[0] == id {
				return t[1]
			}
		}
	}
	b.t.Fatalf("pod %s has no sandbox on %s", pod, node)
	return ""
}

// sameIdentity tells whether two readable addresses of one host say the same identity.
func sameIdentity(a, b string) bool {
	x, y := strings.Split(a, ":"), strings.Split(b, ":")
	return len(x) == len(y) && len(x) > 4 && slices.Equal(x[:len(x)-3], y[:len(y)-3])
}
