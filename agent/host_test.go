package agent_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/agent"
	"hexapod.dev/agent/local"
	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
)

// oneRack is the plan of all tests: a cluster with one rack. Its hosts follow. It uses addresses for documentation only (RFC 3849).
const oneRack = `
apiVersion: hexapod.dev/v1alpha1
kind: AddressPlan
metadata: {name: fabric}
spec:
  prefix: 2001:db8:a000::/37
  lab: true
  clusters: [{name: c1, number: 0, racks: [{name: r1, number: 1}]}]
---`

// plan is a rack of two hosts on one segment.
const plan = oneRack + `
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h1}
spec: {cluster: c1, rack: r1, number: 1, clock: trusted, uplinks: [{name: up0, address: "fd7c:a1b2:c3d4::1", segment: s1}]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h2}
spec: {cluster: c1, rack: r1, number: 2, clock: trusted, uplinks: [{name: up0, address: "fd7c:a1b2:c3d4::2", segment: s1}]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Pool
metadata: {name: fixed}
spec: {prefix: "2001:db8:a000:1::/64", namespaces: [shop]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Address
metadata: {name: 20010db8a00000010000000000000007}
spec: {address: "2001:db8:a000:1::7", pool: fixed, namespace: shop, name: web}
---
apiVersion: hexapod.dev/v1alpha1
kind: Identity
metadata: {name: id-300}
spec: {number: 300, namespace: shop, labels: {app: web}, keyVersion: 1}
`

var (
	hostPrefix = netip.MustParsePrefix("2001:db8:a000:401::/64")
	peerPrefix = "2001:db8:a000:402::/64"
	fixedAddr  = netip.MustParseAddr("2001:db8:a000:1::7")
)

// host is a namespace with an uplink, and the folders of an agent in it.
type host struct {
	t      testing.TB
	name   string // of its Host object; empty: h1
	ns     *netns.NS
	dir    string
	log    *lines
	cgroup string       // whose processes are clients of services
	stop   func() error // ends the running agent

	reload  <-chan os.Signal
	cluster agent.Cluster // nil: the host is in none
}

// newHost makes a host without an agent. It has no IPv4 at all, not even 127.0.0.1.
func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{t: t, ns: netnstest.New(t), dir: t.TempDir(), log: &lines{}}
	for _, line := range []string{"ip link set lo up", "ip -4 addr flush dev lo", "ip link add up0 type veth peer name up1",
		"ip link set up0 addrgenmode none", "ip link set up1 addrgenmode none", "ip link set up0 up", "ip link set up1 up",
		"ip -6 addr add fd7c:a1b2:c3d4::1/64 dev up0 nodad"} {
		netnstest.Run(t, h.ns, line)
	}
	until(t, "the uplink is up on both ends", func() bool {
		return strings.Count(netnstest.Run(t, h.ns, "ip -br link show type veth"), " UP ") == 2
	})
	h.unmountAfter()
	h.configure(plan)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the agent:\n%s", h.log)
		}
	})
	return h
}

func (h *host) hostName() string { return cmp.Or(h.name, "h1") }

func (h *host) conf() string  { return filepath.Join(h.dir, "conf") }
func (h *host) run() string   { return filepath.Join(h.dir, "run") }
func (h *host) state() string { return filepath.Join(h.dir, "state") }

// unmountAfter takes the BPF file system away that an agent mounts where the machine has none.
func (h *host) unmountAfter() {
	h.t.Cleanup(func() {
		for unix.Unmount(filepath.Join(h.run(), "bpf"), unix.MNT_DETACH) == nil {
		}
	})
}

// configure writes the configuration folder.
func (h *host) configure(text string) {
	h.t.Helper()
	if err := os.MkdirAll(h.conf(), 0o755); err != nil {
		h.t.Fatal(err)
	}
	draft := filepath.Join(h.dir, "draft")
	if err := os.WriteFile(draft, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(draft, filepath.Join(h.conf(), "fabric.yaml")); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) options() agent.Options {
	source := agent.Source(agent.Folder(h.conf()))
	if h.cluster != nil {
		source = h.cluster
	}
	return agent.Options{
		Source: source, Host: h.hostName(), StateDir: h.state(), RunDir: h.run(), Version: "test", Cgroup: h.cgroup, BPF: filepath.Join(h.dir, "no-bpf"),
		NS: h.ns, Reload: h.reload, Cluster: h.cluster, Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// start runs an agent until stop is called or the test ends, and returns when it serves.
func (h *host) start() *agent.Agent {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	o := h.options()
	o.Ready = func() { close(ready) }
	a := agent.New(o)
	go func() { ended <- a.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		h.t.Fatalf("the agent ended before it served: %v", err)
	}
	stopped := false
	h.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	stop := h.stop
	h.t.Cleanup(func() {
		if err := stop(); err != nil {
			h.t.Errorf("the agent ended with: %v", err)
		}
	})
	return a
}

// endpoint makes the namespace of an endpoint and the request that attaches it.
func (h *host) endpoint(name string) cni.Request {
	h.t.Helper()
	path := filepath.Join(h.dir, "ns-"+name)
	ns, err := netns.New(path)
	if err != nil {
		h.t.Fatal(err)
	}
	ns.Close()
	h.t.Cleanup(func() {
		if err := netns.Delete(path); err != nil {
			h.t.Error(err)
		}
	})
	return cni.Request{
		Key: desired.EndpointKey{Container: name, Interface: "eth0"}, Network: "net1", NetNS: path,
		Namespace: "shop", Name: name, Labels: map[string]string{"app": "web"},
	}
}

// ip is what ip(8) shows on the host of everything an endpoint could leave behind.
func (h *host) ip() string {
	h.t.Helper()
	var b strings.Builder
	for _, line := range []string{"ip -br link", "ip -6 route", "ip -6 neigh show nud permanent", "ip -6 -br addr", "ip -4 route"} {
		fmt.Fprintf(&b, "# %s\n%s", line, netnstest.Run(h.t, h.ns, line))
	}
	return b.String()
}

// whole waits for what an ADD leaves for later.
func (h *host) whole(k desired.EndpointKey) {
	h.t.Helper()
	link := desired.LinkName(k)
	until(h.t, link+" has no route to groups any more", func() bool {
		return netnstest.Run(h.t, h.ns, "ip -6 route show ff00::/8 dev "+link+" table local") == ""
	})
	if out := netnstest.Run(h.t, h.ns, "ip -6 addr show dev "+link); out != "" {
		h.t.Errorf("%s has an address, though the programs answer for the gateway:\n%s", link, out)
	}
}

// files lists what lies in the folders, the journal's segments left out: they stay for ever.
func (h *host) files() (list []string) {
	h.t.Helper()
	for _, dir := range []string{h.state(), h.run()} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "bpf" {
				return filepath.SkipDir // what is pinned stays
			}
			if err == nil && !d.IsDir() && filepath.Base(filepath.Dir(path)) != "journal" {
				list = append(list, path)
			}
			return err
		})
		if err != nil {
			h.t.Fatal(err)
		}
	}
	return list
}

// client asks the running agent.
func (h *host) client() *local.Client { return local.NewClient(h.run()) }

// object returns one object of the status.
func (h *host) object(kind, name string) local.Object {
	h.t.Helper()
	s, err := h.client().Status(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, o := range s.Objects {
		if o.Kind == kind && (o.Name == name || name == "") {
			return o
		}
	}
	h.t.Fatalf("status has no %s %s", kind, name)
	return local.Object{}
}

// reaches pings an address once from the host: an endpoint answers from the first packet on.
func (h *host) reaches(addr string) {
	h.t.Helper()
	if out, err := netnstest.Try(h.ns, "ping -6 -n -c 1 -W 30 "+addr); err != nil {
		h.t.Errorf("the first ping to %s is lost:\n%s", addr, out)
	}
}

// until waits for what another program does to the kernel or to a file, where nobody tells of it.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	untilIn(t, 60, what, is)
}

// untilIn is until with more patience, in seconds.
func untilIn(t testing.TB, seconds int, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Duration(seconds) * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never came true: %s", what)
		}
	}
}

// endpoints asks the running agent who lives.
func (h *host) endpoints() []local.Endpoint {
	h.t.Helper()
	list, err := h.client().Endpoints(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}
