//go:build cluster

package prove

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// closed keeps every pod of the namespace that has the label to itself.
const closed = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: NAME, namespace: default}
spec:
  podSelector: {matchLabels: {LABEL: "yes"}}
  policyTypes: [Ingress, Egress]
`

// talker is a pod that sends from its first moment, a packet every millisecond.
const talker = `
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: default, labels: {talker: NAME, LABEL: "yes"}}
spec:
  nodeName: w1
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - {name: a, image: "IMAGE", imagePullPolicy: IfNotPresent, command: [ping, "-i0.001", "-c3000", "SERVER"]}
`

// A new pod sends nothing that its policies forbid, from its first packet on: what arrives at the other node is counted there. Of one
// that no policy selects all arrives, so that the counter is known to count.
func TestNewPodUnderPolicy(t *testing.T) {
	b := open(t)
	_, addrs := b.pods("listener")
	server := addrs["w2"][0]
	b.apply(strings.NewReplacer("NAME", "start-closed", "LABEL", "closed").Replace(closed))
	const table = "hexapod-prove-policy"
	for _, c := range []struct {
		name, label string
		passes      bool
	}{{"talker-free", "free", true}, {"talker-closed", "closed", false}} {
		b.on("w2", "nft", "add table inet "+table+" { counter echo {}; chain in { type filter hook prerouting priority -300; iifname eth0 ip6 daddr "+server+" icmpv6 type echo-request counter name echo; }; }")
		b.apply(strings.NewReplacer("NAME", c.name, "LABEL", c.label, "IMAGE", b.image, "SERVER", server).Replace(talker))
		b.until(c.name+" has ended", func() error {
			phase := b.kubectl("get", "pod", c.name, "-o", "jsonpath={.status.phase}")
			if phase != "Succeeded" && phase != "Failed" { // a ping without answers fails
				return fmt.Errorf("it is %s", phase)
			}
			return nil
		})
		words := strings.Fields(b.on("w2", "nft", "list", "counter", "inet", table, "echo"))
		b.on("w2", "nft", "delete table inet "+table)
		n := -1
		for i, w := range words {
			if w == "packets" {
				n, _ = strconv.Atoi(words[i+1])
			}
		}
		if n < 0 || (n > 0) != c.passes {
			t.Errorf("%s: %d packets arrived, want any: %v", c.name, n, c.passes)
		}
		t.Logf("%s: %d packets arrived", c.name, n)
	}
}

// While the API server is away policies stay in force, also when the agent was killed and begins without it.
func TestPolicyWithoutAPIServer(t *testing.T) {
	b := open(t)
	names, addrs := b.pods("alone")
	b.kubectl("label", "pod", names["w1"], "alone=yes")
	b.apply(strings.NewReplacer("NAME", "alone", "LABEL", "alone").Replace(closed))
	pid := sandbox(b, "w1", names["w1"])
	reach := func() error {
		_, err := b.try("w1", "nsenter", "-t", pid, "-n", "ping", "-c1", "-W2", addrs["w2"][0])
		return err
	}
	b.until("the policy is in force", func() error {
		if reach() == nil {
			return fmt.Errorf("%s reaches %s", names["w1"], addrs["w2"][0])
		}
		return nil
	})
	const table = "hexapod-prove-alone"
	b.on("w1", "nft", "add table inet "+table+" { chain out { type filter hook output priority 300; tcp dport 6443 drop; }; }")
	t.Cleanup(func() { b.on("w1", "nft", "delete table inet "+table) })
	before, err := b.agent("w1")
	if err != nil {
		t.Fatal(err)
	}
	b.on("w1", "kill", "-9", before)
	b.until("the agent of w1 serves again", func() error {
		next, err := b.agent("w1")
		if err == nil && next == before {
			err = fmt.Errorf("%s is still there", before)
		}
		if err == nil {
			_, err = b.try("w1", "nsenter", "-t", next, "-m", "/usr/bin/hexapod", "ipam", "status")
		}
		if reach() == nil {
			t.Error("the policy is not in force")
		}
		return err
	})
	if reach() == nil {
		t.Error("the policy is not in force after the agent came back")
	}
	pid = sandbox(b, "w2", names["w2"])
	if out, err := b.try("w2", "nsenter", "-t", pid, "-n", "ping", "-c1", "-W5", addrs["cp"][0]); err != nil {
		t.Errorf("a pod that no policy selects: %v %s", err, out)
	}
}
