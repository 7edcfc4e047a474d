//go:build cluster

package prove

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"hexapod.dev/lab/probe"
	"hexapod.dev/model/xlat"
	"hexapod.dev/test/cluster"
	"hexapod.dev/test/cluster/internet"
)

// translation is what an operator applies, as docs/nat64.md has it.
const translation = `
apiVersion: hexapod.dev/v1alpha1
kind: Translation
metadata: {name: internet}
spec:
  hosts: [%s]
  pool: [%s]
  announce: true
`

// musl is a pod on every node whose image the runtime has to fetch from the IPv4-only registry.
const musl = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: musl, namespace: default}
spec:
  selector: {matchLabels: {app: musl}}
  template:
    metadata: {labels: {app: musl}}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations: [{operator: Exists}]
      containers:
      - {name: a, image: "IMAGE", imagePullPolicy: Always}
`

// web is what leads to the web server of the IPv4 Internet.
var web = xlat.WellKnown.Embed(cluster.InternetAddr).String()

// connect opens the IPv4 Internet for a cluster: gateways translate, and every node answers lookups. It is undone at the end of the test.
func (b bed) connect() {
	b.t.Helper()
	b.apply(fmt.Sprintf(translation, strings.Join(b.Gateways(), ", "), cluster.InternetPool))
	b.lookups(`{}`)
	b.t.Cleanup(func() { b.lookups(`null`) })
	for _, n := range b.Nodes() {
		b.until(n+" reaches a server by name", func() error { return b.fetched(b.try(n, "curl", "-sf", "-m", "5", "http://"+internet.Web+"/")) })
	}
}

// lookups says what the nodes do about names.
func (b bed) lookups(spec string) {
	b.t.Helper()
	b.kubectl("patch", "addressplan", "home", "--type=merge", "-p", `{"spec":{"dns":`+spec+`}}`)
}

// fetched looks whether a page came from the web server of the IPv4 Internet, and whether that saw a gateway.
func (b bed) fetched(page string, err error) error {
	if err != nil {
		return err
	}
	var a probe.Answer
	if at := strings.Index(page, "{"); at > 0 { // behind headers
		page = page[at:]
	}
	if err := json.Unmarshal([]byte(page), &a); err != nil {
		return fmt.Errorf("%q: %w", page, err)
	}
	if a.Name != internet.PartFour || !cluster.InternetPool.Contains(a.Client) && !cluster.InternetLegs.Contains(a.Client) {
		return fmt.Errorf("%s answers, and saw %s", a.Name, a.Client)
	}
	return nil
}

// in runs a command in a pod.
func (b bed) in(pod string, words ...string) (string, error) {
	return b.try(cluster.Router, append([]string{"kubectl", "exec", pod, "--"}, words...)...)
}

// Pods with glibc and with musl, and processes of nodes, reach servers that have IPv4 alone: by name, with the search domains that Kubernetes
// gives them, and by literal. The runtime fetches images from such a server. No node or pod has an IPv4 address but the gateways' legs.
func TestInternetIsReached(t *testing.T) {
	b := open(t)
	b.connect()
	names, _ := b.pods("glibc")
	api := b.kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
	b.apply(strings.ReplaceAll(musl, "IMAGE", cluster.MuslImage))
	b.kubectl("rollout", "status", "daemonset/musl", "--timeout="+patience.String())

	for _, node := range b.Nodes() {
		pod := names[node]
		for _, name := range []string{internet.Web, internet.Alias, internet.Web + "."} {
			if err := b.fetched(b.in(pod, "curl", "-sf", "-m", "20", "http://"+name+"/")); err != nil {
				t.Errorf("curl %s in a pod on %s: %v", name, node, err)
			}
		}
		if err := b.fetched(b.in(pod, "wget", "-q", "-T", "20", "-O", "-", "http://"+internet.Web+"/")); err != nil {
			t.Errorf("wget in a pod on %s: %v", node, err)
		}
		b.resolves(pod, node, []string{"getent", "ahostsv6"}, internet.Web, web)
		b.resolves(pod, node, []string{"getent", "ahostsv6"}, internet.Both, b.Site().String())
		b.resolves(pod, node, []string{"getent", "ahostsv6"}, "kubernetes.default", api)
		if _, err := b.in(pod, "getent", "ahostsv6", "nothing."+internet.Web); err == nil {
			t.Errorf("a pod on %s finds a name that does not exist", node)
		}
		b.along("a pod", node, []string{"nsenter", "-t", sandbox(b, node, pod), "-n"})
		b.along("the node", node, nil)
	}
	for _, line := range strings.Split(b.kubectl("get", "pods", "-l", "app=musl", "-o", `jsonpath={range .items[*]}{.spec.nodeName} {.metadata.name}{"\n"}{end}`), "\n") {
		node, pod, _ := strings.Cut(line, " ")
		if err := b.fetched(b.in(pod, "/fetch", "get", internet.Web, "80", "/")); err != nil {
			t.Errorf("with musl in a pod on %s: %v", node, err)
		}
		b.resolves(pod, node, []string{"/fetch", "lookup"}, internet.Alias, web)
		b.resolves(pod, node, []string{"/fetch", "lookup"}, "kubernetes.default", api)
		if _, err := b.in(pod, "/fetch", "lookup", "nothing."+internet.Web); err == nil {
			t.Errorf("with musl a pod on %s finds a name that does not exist", node)
		}
	}
	b.pulled()
	b.says(b.Gateways()[0], "nat64", "internet", "done")
	for _, n := range b.Nodes() {
		b.says(n, "dns", "answers for the cluster's DNS", "done")
	}
	if got := b.kubectl("get", "translation", "internet", "-o", `jsonpath={.status.conditions[?(@.type=="Accepted")].status}`); got != "True" {
		t.Errorf("the Translation is accepted: %s", got)
	}
	if err := b.Check(t.Context(), func(line string) { t.Log(line) }); err != nil {
		t.Error(err)
	}
}

// resolves looks whether a name leads to one IPv6 address, and no other.
func (b bed) resolves(pod, node string, how []string, name, want string) {
	b.t.Helper()
	out, err := b.in(pod, append(how, name)...)
	var got []string
	for _, l := range strings.Split(out, "\n") {
		w := strings.Fields(l)
		if a, err := netip.ParseAddr(slices.Concat(w, []string{""})[0]); err == nil && a.Is6() && !slices.Contains(got, a.String()) {
			got = append(got, a.String())
		}
	}
	if err != nil || !slices.Equal(got, []string{want}) {
		b.t.Errorf("%s in a pod on %s leads to %v, want %s: %v\n%s", name, node, got, want, err, out)
	}
}

// along pings the server, and looks at the way there: gateways are routers on it like others, and its MTU is found.
// Probes go one by one, and others follow those that are lost: the server answers one a second, and takes all clients of an address of the pool for one.
func (b bed) along(who, node string, inside []string) {
	b.t.Helper()
	for what, words := range map[string][]string{
		" 3 received":                  {"ping", "-6", "-n", "-c3", "-i0.2", "-W20", web},
		web:                            {"traceroute", "-6", "-n", "-N1", "-q1", "-w3", "-m20", web},
		"Resume: pmtu 1500":            {"tracepath", "-6", "-n", web},
		`"name":"four"`:                {"curl", "-sf", "-m20", "http://[" + web + "]/"},
		"subject: CN=registry.four.te": {"curl", "-skv", "-m20", "--connect-to", "::[" + web + "]:443", "https://" + internet.Registry + "/v2/"},
	} {
		out, err := b.both(node, append(slices.Clone(inside), words...)...)
		out = strings.ReplaceAll(out, "Resume: pmtu 1460", "Resume: pmtu 1500") // routers brought it to one gateway, and it is another's
		if err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), strings.TrimSpace(what)) {
			b.t.Errorf("%s of %s on %s says no %q: %v\n%s", words[0], who, node, what, err, out)
		}
	}
}

// both runs a command and returns what it said, errors too.
func (b bed) both(node string, words ...string) (string, error) {
	return b.try(node, append([]string{"sh", "-c", `"$@" 2>&1`, "sh"}, words...)...)
}

// pulled looks whether the image came through a gateway.
func (b bed) pulled() {
	b.t.Helper()
	text, err := os.ReadFile(b.WorldLog())
	if err != nil {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, client, _ := strings.Cut(line, "client=")
		client, _, _ = strings.Cut(client, " ")
		if from, err := netip.ParseAddrPort(client); err == nil && cluster.InternetPool.Contains(from.Addr()) && strings.Contains(line, "/clients/musl/blobs/") {
			return
		}
	}
	b.t.Errorf("no layer of the image went to an address of %s:\n%s", cluster.InternetPool, text)
}

// says looks for a line of the status of a node's agent that has all of these words.
func (b bed) says(node string, words ...string) {
	b.t.Helper()
	b.until(fmt.Sprintf("the agent of %s says %q", node, words), func() error {
		out, err := b.hexapod(node, "status")
		for line := range strings.Lines(out) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return nil
			}
		}
		return fmt.Errorf("%w\n%s", err, out)
	})
}

// hexapod runs the command line where the agent of a node runs.
func (b bed) hexapod(node string, words ...string) (string, error) {
	pid, err := b.agent(node)
	if err != nil {
		return "", err
	}
	return b.both(node, append([]string{"nsenter", "-t", pid, "-m", "/usr/bin/hexapod"}, words...)...)
}

// fetches fetches from a pod by the name of a server, again and again, until it is stopped, and returns what went wrong.
func (b bed) fetches(pod, server string) (stop func() (done int, failed []string)) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := b.Command(ctx, "kubectl", "exec", pod, "--", "sh", "-c",
		`while :; do curl -sS -o /dev/null -f -m 30 http://`+server+`/ 2>&1 && echo fetched || echo "failed: $?"; done`)
	var mu sync.Mutex
	var done int
	var failed []string
	first := make(chan struct{})
	cmd.Stdout = writer(func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		for _, l := range strings.Split(strings.TrimSpace(string(p)), "\n") {
			switch {
			case l != "fetched":
				failed = append(failed, l)
			case done == 0:
				close(first)
				fallthrough
			default:
				done++
			}
		}
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Run(cluster.Router, cmd) // it ends with ctx
	}()
	once := sync.OnceFunc(func() { cancel(); <-ended })
	b.t.Cleanup(once)
	select {
	case <-first:
	case <-ended:
		b.t.Fatalf("the fetches ended: %q", failed)
	}
	return func() (int, []string) {
		once()
		return done, failed
	}
}

// While agents are killed, those of gateways and that of the client's own node, not one fetch by name fails.
func TestInternetWhileAgentsAreKilled(t *testing.T) {
	b := open(t)
	b.connect()
	names, _ := b.pods("glibc")
	client := b.Nodes()[len(b.Nodes())-1] // no gateway
	stop := b.fetches(names[client], internet.Web)
	for _, node := range append(b.Gateways(), client) {
		pid, err := b.agent(node)
		if err != nil {
			t.Fatal(err)
		}
		b.on(node, "kill", "-9", pid)
		b.until("the agent of "+node+" is back", func() error {
			next, err := b.agent(node)
			if err == nil && next == pid {
				err = fmt.Errorf("%s is still there", pid)
			}
			if err == nil {
				_, err = b.hexapod(node, "ipam", "status")
			}
			return err
		})
		b.says(node, "dns", "done")
	}
	done, failed := stop()
	if len(failed) > 0 {
		t.Errorf("of %d fetches failed: %q", done+len(failed), failed)
	}
	t.Logf("%d fetches, %d failed", done, len(failed))
}

// A pod that says by its annotation that it has IPv4 by a way of its own gets no addresses made, from then on and as long as it says so; others do.
func TestInternetPodWithIPv4OfItsOwn(t *testing.T) {
	b := open(t)
	b.connect()
	names, _ := b.pods("glibc")
	node, other := b.Nodes()[len(b.Nodes())-1], b.Nodes()[len(b.Nodes())-2]
	pod := names[node]
	made := func(want bool) {
		t.Helper()
		b.until(fmt.Sprintf("whether an address is made: %v", want), func() error {
			out, err := b.in(pod, "getent", "ahostsv6", internet.Web)
			if found := err == nil && strings.Contains(out, web); found != want {
				return errors.Join(fmt.Errorf("the name leads to %q", out), err)
			}
			return nil
		})
	}
	made(true)
	b.kubectl("annotate", "pod", pod, "hexapod.dev/dns64=off")
	made(false)
	addr := b.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}")
	if out, err := b.hexapod(node, "dns", "lookup", "--client", addr, internet.Web); err != nil || !strings.Contains(out, "the client has IPv4 of its own") {
		t.Errorf("the agent says %v\n%s", err, out)
	}
	b.resolves(names[other], other, []string{"getent", "ahostsv6"}, internet.Web, web)
	if err := b.fetched(b.try(node, "curl", "-sf", "-m", "20", "http://"+internet.Web+"/")); err != nil {
		t.Errorf("curl on the pod's node: %v", err)
	}
	b.kubectl("annotate", "pod", pod, "hexapod.dev/dns64-")
	made(true)
}

// A Translation that is taken away leaves nothing behind: names lead nowhere, and no node translates.
func TestInternetIsTakenAway(t *testing.T) {
	b := open(t)
	b.connect()
	names, _ := b.pods("glibc")
	client := b.Nodes()[len(b.Nodes())-1]
	b.kubectl("delete", "translation", "internet")
	b.until("names lead nowhere", func() error {
		if out, err := b.in(names[client], "curl", "-sf", "-m", "5", "http://"+internet.Web+"/"); err == nil {
			return fmt.Errorf("a page came: %s", out)
		}
		return nil
	})
	for _, g := range b.Gateways() {
		b.until("nothing translates on "+g, func() error {
			if out, err := b.both(g, "ip", "link", "show", "pref64"); err == nil {
				return fmt.Errorf("there is %s", out)
			}
			if out := b.on(g, "nft", "list", "tables"); strings.Contains(out, "hexapod-nat64") {
				return fmt.Errorf("there are %s", out)
			}
			return nil
		})
	}
	b.lookups(`null`)
	b.until("names of the IPv4 Internet have no IPv6 address", func() error {
		if out, err := b.in(names[client], "getent", "ahostsv6", internet.Web); err == nil && strings.Contains(out, "64:ff9b::") {
			return fmt.Errorf("they have %s", out)
		}
		return nil
	})
}
