//go:build cluster

package prove

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hexapod.dev/test/cluster"
)

// flow is a ping that goes on in a pod.
type flow struct {
	lines chan line
	stop  func()
}

// line is what ping said, and when.
type line struct {
	text string
	at   time.Time
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

// begin pings an address from the network of a pod, as often as the interval says.
func (b bed) begin(node, pid, to, interval string) flow {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := b.Command(ctx, "nsenter", "-t", pid, "-n", "ping", "-i"+interval, "-O", to)
	lines := make(chan line, 1_000_000)
	cmd.Stdout = writer(func(p []byte) {
		now := time.Now()
		for _, l := range strings.Split(strings.TrimSpace(string(p)), "\n") {
			lines <- line{l, now}
		}
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Run(node, cmd) // it ends with ctx
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		<-ended
		close(lines)
	})
	b.t.Cleanup(stop)
	return flow{lines, stop}
}

// until waits for a line of a flow that was said after a time.
func (f flow) until(t *testing.T, what string, after time.Time) time.Time {
	t.Helper()
	end := time.After(patience)
	for {
		select {
		case l := <-f.lines:
			if strings.Contains(l.text, what) && l.at.After(after) {
				return l.at
			}
		case <-end:
			t.Fatalf("the ping never said %q", what)
		}
	}
}

// api asks the API server by a proxy that is there already, so that no start of a program is in a time that is measured.
func (b bed) api() func(method, path, body string) (begun time.Time) {
	b.t.Helper()
	socket := filepath.Join(b.Logs(), "prove.sock")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Run(cluster.Router, b.Command(ctx, "kubectl", "proxy", "--unix-socket="+socket)) // it ends with ctx
	}()
	b.t.Cleanup(func() { cancel(); <-ended })
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	ask := func(method, path, body string) error {
		ctx, enough := context.WithTimeout(context.Background(), patience)
		defer enough()
		req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		got, err := client.Do(req)
		if err != nil {
			return err
		}
		defer got.Body.Close()
		text, err := io.ReadAll(got.Body)
		if err == nil && got.StatusCode >= 300 {
			err = fmt.Errorf("%s: %s", got.Status, text)
		}
		return err
	}
	b.until("the proxy answers", func() error { return ask(http.MethodGet, "/version", "") })
	return func(method, path, body string) time.Time {
		b.t.Helper()
		begun := time.Now()
		if err := ask(method, path, body); err != nil {
			b.t.Fatalf("%s %s: %v", method, path, err)
		}
		return begun
	}
}

// lockdown closes all pods of the DaemonSet living, in both directions.
const lockdown = `{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"tight","namespace":"default"},
	"spec":{"podSelector":{"matchLabels":{"app":"living"}},"policyTypes":["Ingress","Egress"]}}`

const policiesPath = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"

// A policy that is tightened cuts living flows on all hosts, one that is loosened breaks none and lets the cut ones go on; beside them
// another flow loses nothing. How long it takes, from the request to the API server to the first packet without an answer, is logged.
func TestLivingFlows(t *testing.T) {
	b := open(t)
	names, addrs := b.pods("living")
	others, otherAddrs := b.pods("free")
	next := map[string]string{"w1": "w2", "w2": "cp", "cp": "w1"}
	cut := map[string]flow{}
	for from, to := range next {
		pid := sandbox(b, from, names[from])
		for _, addr := range addrs[to] { // of both families, where there are two
			flow := from + " to " + addr
			cut[flow] = b.begin(from, pid, addr, "0.01")
			cut[flow].until(t, "bytes from", time.Time{})
		}
	}
	free := b.begin("w2", sandbox(b, "w2", others["w2"]), otherAddrs["cp"][0], "0.1")
	free.until(t, "bytes from", time.Time{})
	api := b.api()
	for range 5 {
		begun := api(http.MethodPost, policiesPath, lockdown)
		var times []string
		for from, f := range cut {
			times = append(times, fmt.Sprintf("%s %d ms", from, f.until(t, "no answer yet", begun).Sub(begun).Milliseconds()))
		}
		deleted := api(http.MethodDelete, policiesPath+"/tight", "")
		for from, f := range cut {
			times = append(times, fmt.Sprintf("%s %d ms", from, f.until(t, "bytes from", deleted).Sub(deleted).Milliseconds()))
		}
		t.Logf("from the request to the flow's cut, and to its going on: %s", strings.Join(times, ", "))
	}
	free.stop()
	for l := range free.lines {
		if strings.Contains(l.text, "no answer") {
			t.Errorf("a flow that no policy is about: %s", l.text)
		}
	}
}

// listener is a pod that does nothing.
const listener = `
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: default, labels: {LABEL: "yes"}}
spec:
  nodeName: w1
  terminationGracePeriodSeconds: 0
  containers:
  - {name: a, image: "IMAGE", imagePullPolicy: IfNotPresent, args: [netexec]}
`

// A new pod gets nothing that its policies forbid, from the first moment that its address has a route: from then on another host sends a
// packet every millisecond, and the pod's own kernel counts what comes. To one that no policy selects packets come.
func TestNewPodIsClosed(t *testing.T) {
	b := open(t)
	names, _ := b.pods("prober")
	prober := sandbox(b, "w2", names["w2"])
	b.apply(strings.NewReplacer("NAME", "first-closed", "LABEL", "closed").Replace(closed))
	for _, c := range []struct {
		name, label string
		passes      bool
	}{{"hearer-free", "free", true}, {"hearer-closed", "closed", false}} {
		ctx, cancel := context.WithCancel(context.Background())
		routes := make(chan string, 1000)
		watch := b.Command(ctx, "ip", "-6", "monitor", "route")
		watch.Stdout = writer(func(p []byte) {
			for _, l := range strings.Split(string(p), "\n") {
				if w := strings.Fields(l); len(w) > 2 && w[0] != "Deleted" && w[1] == "dev" && strings.HasPrefix(w[2], "hx") {
					routes <- w[0]
				}
			}
		})
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			_ = b.Run("w1", watch) // it ends with ctx
		}()
		b.apply(strings.NewReplacer("NAME", c.name, "LABEL", c.label, "IMAGE", b.image).Replace(listener))
		var addr string
		select {
		case addr = <-routes:
		case <-time.After(patience):
			t.Fatalf("%s got no route", c.name)
		}
		f := b.begin("w2", prober, addr, "0.001")
		b.kubectl("wait", "--for=condition=Ready", "pod/"+c.name, "--timeout="+patience.String())
		if got := b.kubectl("get", "pod", c.name, "-o", "jsonpath={.status.podIP}"); got != addr {
			t.Errorf("%s has %s, and packets went to %s", c.name, got, addr)
		}
		pid := sandbox(b, "w1", c.name)
		echoes := func() string {
			for _, l := range strings.Split(b.on("w1", "nsenter", "-t", pid, "-n", "cat", "/proc/net/snmp6"), "\n") {
				if w := strings.Fields(l); len(w) == 2 && w[0] == "Icmp6InEchos" {
					return w[1]
				}
			}
			t.Fatal("the pod's kernel counts no echoes")
			return ""
		}
		if c.passes {
			b.until("packets come to "+c.name, func() error {
				if echoes() == "0" {
					return fmt.Errorf("none so far")
				}
				return nil
			})
		}
		f.stop()
		sent := len(f.lines)
		n := echoes()
		if (n != "0") != c.passes {
			t.Errorf("%s: %s packets came, want any: %v", c.name, n, c.passes)
		}
		t.Logf("%s: about %d packets were sent since its route was there, %s came", c.name, sent, n)
		cancel()
		<-watching
	}
}

// A new pod whose labels have a number costs the other hosts nothing: the API server tells them of no object that policies are made of, their
// agents write nothing to the maps of policy, and a policy that names the labels holds for it there.
func TestNewPodOfKnownIdentity(t *testing.T) {
	b := open(t)
	names, addrs := b.pods("served")
	b.apply(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: served, namespace: default}
spec:
  podSelector: {matchLabels: {app: served}}
  ingress: [{from: [{podSelector: {matchLabels: {known: "yes"}}}]}]
`)
	pod := strings.NewReplacer("LABEL", "known", "IMAGE", b.image)
	start := func(name string) string {
		b.apply(strings.ReplaceAll(pod.Replace(listener), "NAME", name))
		b.kubectl("wait", "--for=condition=Ready", "pod/"+name, "--timeout="+patience.String())
		return sandbox(b, "w1", name)
	}
	ping := func(pid string) error {
		_, err := b.try("w1", "nsenter", "-t", pid, "-n", "ping", "-c1", "-W2", addrs["w2"][0])
		return err
	}
	first := start("known-first")
	b.until("the policy lets the first one in on w2", func() error { return ping(first) })
	if _, err := b.try("w1", "nsenter", "-t", sandbox(b, "w1", names["w1"]), "-n", "ping", "-c1", "-W2", addrs["w2"][0]); err == nil {
		t.Error("the policy is not in force: it lets everybody in")
	}
	before := b.counted("w2")
	if err := ping(start("known-second")); err != nil {
		t.Errorf("the second one is not let in: %v", err)
	}
	after := b.counted("w2")
	if len(before) == 0 {
		t.Error("the agent of w2 counts nothing")
	}
	for what, n := range after {
		if n != before[what] {
			t.Errorf("%s: %s, then %s", what, before[what], n)
		}
	}
	t.Logf("on w2, before and after: %v", after)
}

// counted are the numbers of an agent that tell what it heard of objects of policies, and what it wrote to the maps.
func (b bed) counted(node string) map[string]string {
	b.t.Helper()
	out := map[string]string{}
	for _, l := range strings.Split(b.on(node, "curl", "-s", "--unix-socket", "/run/hexapod/api.sock", "http://agent/metrics"), "\n") {
		name, n, ok := strings.Cut(l, " ")
		heard := strings.HasPrefix(name, "hexapod_agent_cluster_changes_total")
		for _, other := range []string{"pods", "services", "endpointslices"} { // its own pods, and what services are made of
			heard = heard && !strings.Contains(name, `"`+other+`"`)
		}
		if ok && (heard || strings.HasPrefix(name, "hexapod_agent_changes_total") && strings.Contains(name, `"policy"`)) {
			out[name] = n
		}
	}
	return out
}
