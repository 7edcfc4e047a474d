package local

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fixed is a source with fixed answers.
type fixed struct {
	status   Status
	accepted int
	refuse   error
}

func (f *fixed) Report() Status        { return f.status }
func (f *fixed) Endpoints() []Endpoint { return []Endpoint{{Container: "c1", Interface: "eth0"}} }
func (f *fixed) Routes(context.Context) ([]Route, error) {
	return []Route{{Dst: netip.MustParsePrefix("2001:db8::/64"), Discard: true, State: Done}}, f.refuse
}
func (f *fixed) Whereis(_ context.Context, a netip.Addr, at time.Time) (any, error) {
	return map[string]string{"addr": a.String(), "at": at.UTC().Format(time.RFC3339)}, nil
}
func (f *fixed) AcceptClock(context.Context) error { f.accepted++; return f.refuse }

// serve runs the API of src in a fresh folder until the test ends.
func serve(t *testing.T, src Source) (c *Client, dir string) {
	t.Helper()
	dir = t.TempDir()
	l, err := Listen(filepath.Join(dir, Socket))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hexapod_test 1\n")) })
	go func() { ended <- Serve(ctx, l, Handler(src, metrics)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return NewClient(dir), dir
}

func TestAnswers(t *testing.T) {
	src := &fixed{status: Status{Host: "h1", Objects: []Object{{Kind: "peer", Name: "h2", State: Failed, Why: "no way"}, {Kind: "host", State: Done}}}}
	c, dir := serve(t, src)
	ctx := t.Context()

	status, err := c.Status(ctx)
	if d := cmp.Diff(src.status, status); err != nil || d != "" {
		t.Errorf("status: %v\n%s", err, d)
	}
	if left := status.NotDone(); len(left) != 1 || left[0].Name != "h2" {
		t.Errorf("not done: %v, want h2 alone", left)
	}
	if e, err := c.Endpoints(ctx); err != nil || len(e) != 1 || e[0].Container != "c1" {
		t.Errorf("endpoints: %v, %v", e, err)
	}
	if r, err := c.Routes(ctx); err != nil || len(r) != 1 || !r[0].Discard {
		t.Errorf("routes: %v, %v", r, err)
	}
	var found map[string]string
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	if err := c.Whereis(ctx, netip.MustParseAddr("2001:db8::1"), at, &found); err != nil || found["at"] != "2026-01-31T12:00:00Z" {
		t.Errorf("whereis: %v, %v", found, err)
	}
	if err := c.AcceptClock(ctx); err != nil || src.accepted != 1 {
		t.Errorf("accept-clock: %v, called %d times", err, src.accepted)
	}
	if m, err := c.Metrics(ctx); err != nil || m != "hexapod_test 1\n" {
		t.Errorf("metrics: %q, %v", m, err)
	}
	if fi, err := os.Stat(filepath.Join(dir, Socket)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v; want mode 0600", fi.Mode(), err)
	}
}

func TestRefusalsAreReadable(t *testing.T) {
	src := &fixed{refuse: errors.New("the clock runs back")}
	c, _ := serve(t, src)
	if err := c.AcceptClock(t.Context()); err == nil || err.Error() != "the clock runs back" {
		t.Errorf("accept-clock: %v, want the agent's own words", err)
	}
	if _, err := c.fetch(t.Context(), http.MethodGet, "/v1/whereis?addr=nonsense"); err == nil || !strings.Contains(err.Error(), "addr") {
		t.Errorf("whereis of nonsense: %v, want an error about addr", err)
	}
	if _, err := c.fetch(t.Context(), http.MethodGet, "/v1/accept-clock"); err == nil {
		t.Error("accept-clock by GET was accepted")
	}
	_, err := NewClient(t.TempDir()).Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "start `hexapod agent`") {
		t.Errorf("without an agent: %v, want what to do next", err)
	}
}

// A killed agent leaves its socket; the next one takes its place.
func TestListenReplacesDeadSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), Socket)
	for range 2 {
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if l, err := Listen(path); err == nil {
		l.Close()
		t.Error("a folder in the place of the socket was replaced")
	}
}
