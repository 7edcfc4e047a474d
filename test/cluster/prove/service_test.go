//go:build cluster

package prove

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"hexapod.dev/test/cluster"
)

// front is the service of the DaemonSet APP.
const front = `
apiVersion: v1
kind: Service
metadata: {name: APP, namespace: default}
spec:
  selector: {app: APP}
  ports: [{port: 80, targetPort: 8080}]
`

// service starts a backend on each node and a service in front of them, and returns its address and the backends' names by node.
func (b bed) service(app string) (vip string, backends map[string]string) {
	b.t.Helper()
	backends, _ = b.pods(app)
	b.apply(strings.ReplaceAll(front, "APP", app))
	b.until("the service has its backends", func() error { return b.ready(app, len(backends)) })
	return b.kubectl("get", "service", app, "-o", "jsonpath={.spec.clusterIP}"), backends
}

// ready is nil when a service leads to so many backends.
func (b bed) ready(app string, n int) error {
	out, err := b.try(cluster.Router, "kubectl", "get", "endpointslices", "-l", "kubernetes.io/service-name="+app, "-o",
		`jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}{.addresses[0]}{"\n"}{end}`)
	if got := len(strings.Fields(out)); err == nil && got != n {
		err = fmt.Errorf("%d backends are ready, want %d: %q", got, n, out)
	}
	return err
}

// Connections of a pod to a service by its name are spread over the backends evenly.
func TestServiceBalance(t *testing.T) {
	const rounds, each, off = 6, 5_000, 0.05
	b := open(t)
	_, backends := b.service("balance")
	askers, _ := b.pods("asker")
	count := map[string]int{}
	for range rounds {
		out, err := b.in(askers["w1"], "bash", "-c",
			fmt.Sprintf(`curl -sS -f -H 'Connection: close' -w '\n' 'http://balance/hostname?n=[1-%d]' | sort | uniq -c`, each))
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(out) {
			words := strings.Fields(l)
			n, err := strconv.Atoi(words[0])
			if err != nil || len(words) != 2 {
				t.Fatalf("%q", l)
			}
			count[words[1]] += n
		}
	}
	all := 0
	for node, pod := range backends {
		all += count[pod]
		if share := float64(count[pod]*len(backends)) / (rounds * each); share < 1-off || share > 1+off {
			t.Errorf("the backend on %s had %d of %d connections", node, count[pod], rounds*each)
		}
	}
	t.Logf("connections by backend: %v", count)
	if all != rounds*each {
		t.Errorf("backends answered %d of %d connections", all, rounds*each)
	}
}

// openFlows opens so many connections to an address, and whenever it reads a line asks on each who is behind it. It says "opened", and for
// each question a line of a connection and who answers on it, or that nobody does, and then "asked".
const openFlows = `
trap '' PIPE
ask() {
	printf 'GET /hostname HTTP/1.1\r\nHost: x\r\n\r\n' >&$1 || return
	length=0
	while IFS= read -r -t 10 -u $1 line; do
		line=${line%%$'\r'}
		case $line in '') break ;; Content-Length:*) length=${line#*: } ;; esac
	done
	[ "$length" -gt 0 ] && IFS= read -r -t 10 -u $1 -N "$length" name
}
for n in $(seq %d); do exec {c}<>/dev/tcp/%s/80 && open="$open $c"; done
echo opened
while read -r; do
	for c in $open; do
		case " $broken " in
		*" $c "*) echo $c nobody ;;
		*) if ask $c 2>/dev/null; then echo $c $name; else echo $c nobody && broken="$broken $c"; fi ;;
		esac
	done
	echo asked
done
`

// A backend that dies under load takes its own connections along and no others; one that comes breaks none.
func TestServiceBackends(t *testing.T) {
	const flows = 60
	b := open(t)
	vip, backends := b.service("backends")
	askers, _ := b.pods("asker")
	in, said := b.talk(cluster.Router, "kubectl", "exec", "-i", askers["w1"], "--", "bash", "-c", fmt.Sprintf(openFlows, flows, vip))
	b.awaitWord(said, "opened")
	before := b.asked(in, said)
	dies := backends["w2"]
	theirs := 0
	for _, who := range before {
		if who == dies {
			theirs++
		}
	}
	if len(before) != flows || theirs == 0 || theirs == flows {
		t.Fatalf("%d connections are open, %d of them to %s: %v", len(before), theirs, dies, before)
	}
	load := b.fetches(askers["cp"], "backends")
	b.kubectl("delete", "pod", dies, "--grace-period=0", "--force", "--wait=false")
	b.until("another backend came", func() error {
		if _, err := b.try(cluster.Router, "kubectl", "get", "pod", dies); err == nil {
			return fmt.Errorf("%s is there", dies)
		}
		return b.ready("backends", len(backends))
	})
	after := b.asked(in, said)
	done, failed := load()
	broken := 0
	for c, who := range before {
		switch now := after[c]; {
		case who == dies && now == "nobody":
			broken++
		case now != who:
			t.Errorf("a connection to %s is answered by %s now", who, now)
		}
	}
	t.Logf("of %d connections %d were to the backend that died: %d broke; of %d that began meanwhile %d failed", flows, theirs, broken, done+len(failed), len(failed))
	calm := b.fetches(askers["cp"], "backends")
	again := b.asked(in, said)
	if done, failed := calm(); len(failed) > 0 {
		t.Errorf("with all backends there, of %d connections failed: %q", done+len(failed), failed)
	}
	for c, who := range after {
		if who != "nobody" && again[c] != who {
			t.Errorf("a connection to %s is answered by %s after a backend came", who, again[c])
		}
	}
}

// asked asks on every connection of openFlows who is behind it.
func (b bed) asked(in io.Writer, said <-chan string) map[string]string {
	b.t.Helper()
	if _, err := io.WriteString(in, "ask\n"); err != nil {
		b.t.Fatal(err)
	}
	who := map[string]string{}
	for end := time.After(patience); ; {
		select {
		case l := <-said:
			if l == "asked" {
				return who
			}
			words := strings.Fields(l)
			if len(words) != 2 {
				b.t.Fatalf("the connections' program says %q", l)
			}
			who[words[0]] = words[1]
		case <-end:
			b.t.Fatalf("after %d answers no other comes", len(who))
		}
	}
}
