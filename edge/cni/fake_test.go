package cni_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"hexapod.dev/edge/cni"
	"hexapod.dev/model/desired"
	"hexapod.dev/test/cnitest"
)

// plugins is the folder of the built plugins, made once for all tests.
var plugins string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		folder, err := os.MkdirTemp("", "hx")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		plugins = folder
		for _, pkg := range []string{"hexapod.dev/cmd/hexapod-cni", "hexapod.dev/edge/cni/testdata/chained"} {
			if _, err := cnitest.Build(context.Background(), pkg, folder); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return m.Run()
	}())
}

// fake is a backend that keeps attachments in a map.
type fake struct {
	mu     sync.Mutex
	living map[desired.EndpointKey]living
	given  int
	last   cni.Request // of the last Add
	dels   []desired.EndpointKey

	add    func(ctx context.Context) error // before every Add; nil: nothing
	status error
}

type living struct {
	network string
	cni.Attachment
}

func (f *fake) Add(ctx context.Context, r cni.Request) (cni.Attachment, error) {
	if f.add != nil {
		if err := f.add(ctx); err != nil {
			return cni.Attachment{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = r
	if a, ok := f.living[r.Key]; ok {
		return a.Attachment, nil
	}
	f.given++
	addr := netip.MustParseAddr(fmt.Sprintf("2001:db8::100:%x", f.given))
	a := cni.Attachment{
		HostName: fmt.Sprintf("hx%d", f.given), HostMAC: desired.MAC{2, 0, 0, 0, 0, 1},
		Name: r.Key.Interface, MAC: desired.MAC{2, 0, 0, 0, 0, 2}, NetNS: r.NetNS,
		Addrs: append(slices.Clone(r.Fixed), addr), Gateway: netip.MustParseAddr("fe80::1"), MTU: 1492,
	}
	if f.living == nil {
		f.living = map[desired.EndpointKey]living{}
	}
	f.living[r.Key] = living{r.Network, a}
	return a, nil
}

func (f *fake) Del(_ context.Context, r cni.Request) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dels = append(f.dels, r.Key)
	delete(f.living, r.Key)
	return nil
}

func (f *fake) Check(_ context.Context, r cni.Request) (cni.Attachment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.living[r.Key]
	if !ok {
		return cni.Attachment{}, cni.Errorf(cni.CodeUnknownContainer, "endpoint %s is not there", r.Key)
	}
	return a.Attachment, nil
}

func (f *fake) GC(_ context.Context, network string, valid []desired.EndpointKey) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, a := range f.living {
		if a.network == network && !slices.Contains(valid, k) {
			delete(f.living, k)
		}
	}
	return nil
}

func (f *fake) Status(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// keys lists the living endpoints in order.
func (f *fake) keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var keys []string
	for k := range f.living {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}

// folders of one test: run, state and result cache, with paths short enough for a socket.
type folders struct{ run, state, cache string }

func newFolders(t *testing.T) folders {
	t.Helper()
	top, err := os.MkdirTemp("", "hx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	f := folders{filepath.Join(top, "run"), filepath.Join(top, "state"), filepath.Join(top, "cache")}
	for _, folder := range []string{f.run, filepath.Join(f.state, "journal")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// plugin is our entry of a conflist; more holds further keys.
func (f folders) plugin(more map[string]any) map[string]any {
	entry := map[string]any{"type": "hexapod-cni", "runDir": f.run, "stateDir": f.state, "capabilities": map[string]any{"ips": true}}
	for k, v := range more {
		entry[k] = v
	}
	return entry
}

func (f folders) driver(t *testing.T, version string, entries ...map[string]any) *cnitest.Driver {
	t.Helper()
	d, err := cnitest.New(cnitest.Conflist(version, "hexapod", entries...), f.cache, plugins)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// serve runs a server until the test ends or stop is called.
func (f folders) serve(t *testing.T, backend cni.Backend) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	server := &cni.Server{RunDir: f.run, StateDir: f.state, Backend: backend,
		Log: slog.New(slog.DiscardHandler), Ready: func() { close(ready) }}
	go func() { done <- server.Run(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("server: %v", err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("server: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// execution is one run of the plugin without libcni in between.
type execution struct {
	stdout string
	exit   int
}

func execute(t *testing.T, command, container, ifname, netns, args string, config []byte) execution {
	t.Helper()
	cmd := exec.Command(filepath.Join(plugins, "hexapod-cni"))
	cmd.Env = []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + container, "CNI_IFNAME=" + ifname, "CNI_NETNS=" + netns,
		"CNI_ARGS=" + args, "CNI_PATH=" + plugins}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		stdin.Write(config) // the plugin may stop reading what is too long
		stdin.Close()
	}()
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return execution{string(out), cmd.ProcessState.ExitCode()}
}
