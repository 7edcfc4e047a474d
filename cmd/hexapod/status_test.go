package main

import (
	"context"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/agent/local"
)

// answers is an agent that always says the same.
type answers struct {
	status    local.Status
	endpoints []local.Endpoint
	routes    []local.Route
}

func (a *answers) Report() local.Status                          { return a.status }
func (a *answers) Endpoints() []local.Endpoint                   { return a.endpoints }
func (a *answers) Routes(context.Context) ([]local.Route, error) { return a.routes, nil }
func (a *answers) AcceptClock(context.Context) error             { return nil }
func (a *answers) Whereis(context.Context, netip.Addr, time.Time) (any, error) {
	return struct{}{}, nil
}

// serveAnswers returns the run folder in which a answers.
func serveAnswers(t *testing.T, a *answers) string {
	t.Helper()
	dir := t.TempDir()
	l, err := local.Listen(filepath.Join(dir, local.Socket))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- local.Serve(ctx, l, local.Handler(a, http.NotFoundHandler())) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestStatusCommand(t *testing.T) {
	a := &answers{status: local.Status{
		Host: "h1", Prefix: "2001:db8:a000:401::/64", Version: "v1", PID: 7, Started: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		Objects: []local.Object{
			{Kind: "config", Name: "/etc/hexapod", State: local.Done, Detail: "loaded 2026-01-31T12:00:00Z"},
			{Kind: "peer", Name: "h2", State: local.Failed, Why: "it has no prefix"},
		},
	}}
	dir := serveAnswers(t, a)
	out, errs, code := hexapod(t, "status", "--run", dir)
	const want = `host h1  prefix 2001:db8:a000:401::/64  agent v1  pid 7  since 2026-01-31T12:00:00Z

KIND    NAME          STATE   WHY
config  /etc/hexapod  done    loaded 2026-01-31T12:00:00Z
peer    h2            failed  it has no prefix
`
	if d := cmp.Diff(want, out); code != exitFailed || d != "" || !strings.Contains(errs, "1 of 2 objects are not done") {
		t.Errorf("exit %d, stderr %q, output -want +have:\n%s", code, errs, d)
	}
	a.status.Objects = a.status.Objects[:1]
	if out, _, code := hexapod(t, "status", "--run", dir, "-o", "json"); code != exitOK || !strings.Contains(out, `"state": "done"`) {
		t.Errorf("all done: exit %d, %s", code, out)
	}
	if _, errs, code := hexapod(t, "status", "--run", t.TempDir()); code != exitFailed || !strings.Contains(errs, "no agent answers") {
		t.Errorf("without an agent: exit %d, %s", code, errs)
	}
	if _, _, code := hexapod(t, "status", "now"); code != exitUsage {
		t.Errorf("with a word too much: exit %d, want %d", code, exitUsage)
	}
}

func TestEndpointsAndRoutesCommands(t *testing.T) {
	addr := netip.MustParseAddr("2001:db8:a000:401:12c:38c:8d98:3")
	dir := serveAnswers(t, &answers{
		endpoints: []local.Endpoint{
			{Container: "c1", Interface: "eth0", Namespace: "shop", Name: "web", Identity: 300, Addrs: []netip.Addr{addr}, Link: "hxabc", State: local.Done},
			{Container: "c2", Interface: "eth0", Addrs: []netip.Addr{addr.Next()}, Link: "hxdef", State: local.Failed, Why: "link hxdef does not exist"},
		},
		routes: []local.Route{
			{Dst: netip.MustParsePrefix("2001:db8:a000:401::/64"), Discard: true, For: "own prefix", State: local.Done},
			{Dst: netip.PrefixFrom(addr, 128), Link: "hxabc", For: "endpoint c1/eth0", State: local.Done},
			{Dst: netip.MustParsePrefix("2001:db8:a000:402::/64"), Via: "fe80::2", Link: "up0", For: "peer h2", State: local.Failed, Why: "the kernel does not hold it"},
		},
	})
	for _, c := range []struct{ command, want string }{
		{"endpoints", `ADDRESS                           ENDPOINT  IDENTITY  CONTAINER  LINK   STATE
2001:db8:a000:401:12c:38c:8d98:3  shop/web  0x012c    c1/eth0    hxabc  done
2001:db8:a000:401:12c:38c:8d98:4  -         0x0000    c2/eth0    hxdef  failed: link hxdef does not exist
`},
		{"routes", `DESTINATION                           VIA      LINK   FOR               STATE
2001:db8:a000:401::/64                discard  -      own prefix        done
2001:db8:a000:401:12c:38c:8d98:3/128  -        hxabc  endpoint c1/eth0  done
2001:db8:a000:402::/64                fe80::2  up0    peer h2           failed: the kernel does not hold it
`},
	} {
		out, errs, code := hexapod(t, c.command, "--run", dir)
		if d := cmp.Diff(c.want, out); code != exitOK || d != "" {
			t.Errorf("%s: exit %d, %s, -want +have:\n%s", c.command, code, errs, d)
		}
	}
}

func TestAgentCommandRefusesWrongCalls(t *testing.T) {
	for _, args := range [][]string{{"--force"}, {"--log-format", "xml"}, {"--log-level", "loud"}, {"word"}, {"--host", ""}} {
		if _, errs, code := hexapod(t, append([]string{"agent"}, args...)...); code != exitUsage {
			t.Errorf("agent %q: exit %d, want %d: %s", args, code, exitUsage, errs)
		}
	}
}
