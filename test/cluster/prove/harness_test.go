//go:build cluster

package prove

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"hexapod.dev/test/cluster"
	"hexapod.dev/test/cluster/build"
)

// patience bounds every wait of these tests.
const patience = 2 * time.Minute

// bed is a cluster with one pod of ours on each node.
type bed struct {
	*cluster.Cluster
	t     *testing.T
	image string // of upstream's agnhost, under its own name
	pause string // of what does nothing
}

// open finds the cluster that NAME names, and starts the pods of a test on it.
func open(t *testing.T) bed {
	t.Helper()
	cache, err := build.Open("../../..")
	if err != nil {
		t.Fatal(err)
	}
	name := os.Getenv("NAME")
	if name == "" {
		name = cluster.DefaultName
	}
	c, err := cluster.Open(cache, name)
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
	return bed{c, t, names["agnhost"], names[build.PauseImage]}
}

// on runs a command on a machine and returns what it said.
func (b bed) on(machine string, words ...string) string {
	b.t.Helper()
	out, err := b.try(machine, words...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b bed) try(machine string, words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience) // also at the end of a test, to clean up
	defer cancel()
	return b.feed(ctx, machine, "", words...)
}

// feed runs a command that reads a text.
func (b bed) feed(ctx context.Context, machine, text string, words ...string) (string, error) {
	var out, said bytes.Buffer
	cmd := b.Command(ctx, words...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, &said
	if err := b.Run(machine, cmd); err != nil {
		return "", fmt.Errorf("%s on %s: %w: %s", strings.Join(words, " "), machine, err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// talk starts a program on a machine that ends when its standard input does. What it says comes by lines.
func (b bed) talk(machine string, words ...string) (in io.WriteCloser, said <-chan string) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := b.Command(ctx, words...)
	r, w := io.Pipe()
	lines := make(chan string, 1000)
	cmd.Stdin = r
	told := writer(func(p []byte) {
		for l := range strings.Lines(string(p)) {
			lines <- strings.TrimSpace(l)
		}
	})
	cmd.Stdout, cmd.Stderr = told, told
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Run(machine, cmd) // it ends with ctx, or said all
	}()
	b.t.Cleanup(func() { w.Close(); cancel(); <-ended })
	return w, lines
}

// awaitWord waits until a program says a line.
func (b bed) awaitWord(said <-chan string, want string) {
	b.t.Helper()
	for end := time.After(patience); ; {
		select {
		case l := <-said:
			if l == want {
				return
			}
			b.t.Logf("waits for %q: %s", want, l)
		case <-end:
			b.t.Fatalf("nobody says %q", want)
		}
	}
}

// kubectl asks the API server as its administrator.
func (b bed) kubectl(words ...string) string {
	b.t.Helper()
	return b.on(cluster.Router, append([]string{"kubectl"}, words...)...)
}

// apply makes objects of a text, and removes them at the end of the test.
func (b bed) apply(text string) {
	b.t.Helper()
	for _, verb := range []string{"apply", "delete"} {
		act := func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			words := []string{"kubectl", verb, "-f", "-"}
			if verb == "delete" {
				words = append(words, "--ignore-not-found", "--now")
			}
			if _, err := b.feed(ctx, cluster.Router, text, words...); err != nil {
				b.t.Error(err)
			}
		}
		if verb == "apply" {
			act()
		} else {
			b.t.Cleanup(act)
		}
	}
}

// until asks until the answer is good.
func (b bed) until(what string, ask func() error) {
	b.t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			b.t.Fatalf("wait until %s: %v", what, err)
		}
	}
}

// pods starts one pod named app on every node and returns their names and addresses by node.
func (b bed) pods(app string) (names map[string]string, addrs map[string][]string) {
	b.t.Helper()
	b.apply(strings.NewReplacer("APP", app, "IMAGE", b.image).Replace(everywhere))
	b.kubectl("rollout", "status", "daemonset/"+app, "--timeout="+patience.String())
	names, addrs = map[string]string{}, map[string][]string{}
	for _, line := range strings.Split(b.kubectl("get", "pods", "-l", "app="+app, "-o",
		`jsonpath={range .items[*]}{.spec.nodeName} {.metadata.name} {.status.podIPs[*].ip}{"\n"}{end}`), "\n") {
		words := strings.Fields(line)
		if len(words) < 3 {
			b.t.Fatalf("pods of %s: %q", app, line)
		}
		names[words[0]], addrs[words[0]] = words[1], words[2:]
	}
	return names, addrs
}

// everywhere is one pod on each node, that of the control plane too.
const everywhere = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: APP, namespace: default}
spec:
  selector: {matchLabels: {app: APP}}
  template:
    metadata: {labels: {app: APP}}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations: [{operator: Exists}]
      containers:
      - {name: a, image: "IMAGE", imagePullPolicy: IfNotPresent, args: [netexec]}
`

// agent returns the process of the agent of a node, as that node numbers it: the younger of two, the older one is its supervisor.
func (b bed) agent(node string) (string, error) {
	pid, err := b.try(node, "pgrep", "-nf", "^/usr/bin/hexapod agent")
	if err == nil && pid == "" {
		err = errors.New("no agent runs")
	}
	return pid, err
}
