package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/lab"
	"hexapod.dev/lab/labtest"
	"hexapod.dev/lab/topology"
)

// Who talks, who answers, and who is closed to everybody by a policy.
const (
	talker, besideTalker = "r1h1-web", "r1h1-beside"
	answerer, closedOne  = "r1h2-api", "r1h2-db"
)

const closedByPolicy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: back}
spec: {podSelector: {matchLabels: {app: db}}}
`

// TestAgentsRestartUnderLoad kills and upgrades agents, whole processes, while their endpoints talk and somebody tries every millisecond what is
// forbidden: no packet of a known flow is lost, and nothing forbidden comes through. With HEXAPOD_SOAK it does so five times on two hosts, to and
// from a next release whose maps have another layout, kills agents while they start, and takes away by hand what they hold in the kernel.
func TestAgentsRestartUnderLoad(t *testing.T) {
	t.Parallel()
	soak := os.Getenv("HEXAPOD_SOAK") != ""
	f := fabric{t, up(t, lab.Options{Name: testName("again"), Open: true, Size: topology.Size{Racks: 1, Hosts: 2}})}
	this := filepath.Join(labtest.Programs(t), "hexapod")
	rounds, next, hosts := 1, this, []string{"r1h2"}
	if soak {
		rounds, next, hosts = 5, nextRelease(t), []string{"r1h1", "r1h2"}
	}
	for _, e := range []lab.Endpoint{
		{Name: talker, Host: "r1h1", Namespace: "front", Labels: map[string]string{"app": "web"}},
		{Name: besideTalker, Host: "r1h1", Namespace: "back", Labels: map[string]string{"app": "api", "tier": "1"}},
		{Name: answerer, Host: "r1h2", Namespace: "back", Labels: map[string]string{"app": "api", "tier": "1"}},
		{Name: closedOne, Host: "r1h2", Namespace: "back", Labels: map[string]string{"app": "db", "tier": "2"}},
	} {
		if _, err := f.AddEndpoint(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Configure("policy.yaml", []byte(closedByPolicy)); err != nil {
		t.Fatal(err)
	}
	f.eventually("the policy is in force", func() bool {
		var said strings.Builder
		_ = f.Exec("r1h2", []string{"hexapod", "policy", "show", f.Addr(closedOne).String()}, lab.Streams{Out: &said, Err: &said})
		return strings.Contains(said.String(), "closed: policies select")
	})
	p, l := f.tryForbidden(), f.startLoad(soak)
	dice := rand.New(rand.NewPCG(1, 17))
	for range rounds {
		for _, host := range hosts {
			for _, step := range []struct {
				what  string
				do    func() error
				next  bool // the next release runs then
				quick bool
			}{
				{"killed", func() error { return f.killed(host) }, false, true},
				{"upgraded", func() error { return f.ReplaceAgent(t.Context(), host, next) }, true, true},
				{"killed while it starts", func() error { return f.killedWhileItStarts(host, dice) }, true, false},
				{"rolled back", func() error { return f.ReplaceAgent(t.Context(), host, this) }, false, false},
			} {
				if !soak && !step.quick {
					continue
				}
				if err := step.do(); err != nil {
					t.Fatalf("%s %s: %v", host, step.what, err)
				}
				p.check(host + " " + step.what)
				if status, err := local.NewClient(f.folder(host, "run/hexapod")).Status(t.Context()); err != nil || soak && (status.Version == nextVersion) != step.next {
					t.Errorf("%s %s runs version %s: %v", host, step.what, status.Version, err)
				}
			}
			l.check(host)
		}
		if t.Failed() {
			break
		}
	}
	l.stop()
	if soak { // flows end while a link has no programs: what is not judged does not pass
		f.tampered(p)
	}
	p.stop()
	t.Log(l, p)
}

// killed ends an agent and starts the next when it has been missing for a while.
func (f fabric) killed(host string) error {
	if err := f.KillAgent(host); err != nil {
		return err
	}
	return f.StartAgent(f.Context(), host)
}

// killedWhileItStarts kills an agent at some moment of its start, and lets the next one live.
func (f fabric) killedWhileItStarts(host string, dice *rand.Rand) error {
	if err := f.KillAgent(host); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- f.StartAgent(f.Context(), host) }()
	f.eventually("the agent of "+host+" starts", func() bool {
		runs, err := f.AgentRuns(host)
		return err == nil && runs
	})
	<-time.After(time.Duration(dice.Int64N(int64(time.Second))))
	if err := f.KillAgent(host); err != nil {
		return err
	}
	<-ended // "ended: signal: killed", or nothing where it was ready before
	return f.StartAgent(f.Context(), host)
}

// tampered takes by hand what holds the programs of a host, and then what guards it without them; its agent puts either back.
func (f fabric) tampered(p *forbidden) {
	f.Helper()
	client := local.NewClient(f.folder("r1h2", "run/hexapod"))
	list, err := client.Endpoints(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range list {
		f.exec("r1h2", "tc", "qdisc", "del", "dev", e.Link, "clsact")
	}
	p.check("qdiscs of r1h2 deleted by hand")
	back := func(what, in string, words ...string) {
		f.Helper()
		f.eventually(what+" back", func() bool {
			var said strings.Builder
			_ = f.Exec("r1h2", words, lab.Streams{Out: &said, Err: &said})
			return strings.Contains(said.String(), in)
		})
	}
	for _, e := range list {
		back("the program for what "+e.Link+" sends", "direct-action", "tc", "filter", "show", "dev", e.Link, "ingress")
		back("the program for what "+e.Link+" gets", "direct-action", "tc", "filter", "show", "dev", e.Link, "egress")
	}
	f.exec("r1h2", "nft", "flush", "ruleset")
	p.check("guard of r1h2 flushed by hand")
	back("the guard", "chain", "nft", "list", "table", "inet", "hexapod")
	p.check("repaired")
}

// nextVersion is what the next release calls itself.
const nextVersion = "v9.9.9-next"

// nextRelease builds the program as the release after this one is: of another version, with another layout of the maps.
func nextRelease(t *testing.T) string {
	t.Helper()
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	source := filepath.Join(run("list", "-f", "{{.Dir}}", "hexapod.dev/linux/datapath/pin"), "pin.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	var layout int
	_, rest, found := strings.Cut(string(text), "\nconst Layout = ")
	if _, err := fmt.Sscan(rest, &layout); err != nil || !found {
		t.Fatalf("%s says no layout: %v", source, err)
	}
	dir := t.TempDir()
	other, overlay, program := filepath.Join(dir, "pin.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "hexapod")
	changed := strings.Replace(string(text), fmt.Sprintf("\nconst Layout = %d", layout), fmt.Sprintf("\nconst Layout = %d", layout+1), 1)
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{source: other}})
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string][]byte{other: []byte(changed), overlay: replaced} {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("build", "-overlay", overlay, "-ldflags", "-X main.version="+nextVersion, "-o", program, "hexapod.dev/cmd/hexapod")
	return program
}

// inside runs a loop on a thread in the namespace of a name until stop says that it ended.
func (f fabric) inside(ctx context.Context, name string, loop func(ctx context.Context) error) <-chan error {
	f.Helper()
	in, err := f.Inside(name)
	if err != nil {
		f.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- in(func() error { return loop(ctx) }) }()
	return ended
}
