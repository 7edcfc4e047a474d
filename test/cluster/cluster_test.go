package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var plain = Options{Name: "t", Workers: 2, Family: IPv6, Network: Hexapod, Fabric: Flat, HostPrefixes: Plan, HostBits: 64, KubeProxy: true, Internet: NoInternet}

func TestOptionsAreChecked(t *testing.T) {
	if err := plain.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Options){
		"NAME":                     func(o *Options) { o.Name = "a/b" },
		"NODES 1":                  func(o *Options) { o.Workers = 0 },
		"NODES 11":                 func(o *Options) { o.Workers = maxWorkers + 1 },
		"FAMILY":                   func(o *Options) { o.Family = "ipv4" },
		"NETWORK":                  func(o *Options) { o.Network = "" },
		"FABRIC":                   func(o *Options) { o.Fabric = "mesh" },
		"HOSTPREFIXES":             func(o *Options) { o.HostPrefixes = "mine" },
		"FABRIC=bgp":               func(o *Options) { o.Fabric, o.Family = BGP, Dual },
		"HOSTBITS 80":              func(o *Options) { o.HostBits = 80 },
		"HOSTBITS 72":              func(o *Options) { o.HostPrefixes, o.HostBits = Adopt, 72 },
		"HOSTPREFIXES must be ado": func(o *Options) { o.Network = PTP },
		"INTERNET \"ipv6\"":        func(o *Options) { o.Internet = "ipv6" },
		"goes with FABRIC=bgp and": func(o *Options) { o.Internet, o.Workers = IPv4Internet, 3 },
		"NODES=4 or more":          func(o *Options) { o.Internet, o.Fabric = IPv4Internet, BGP },
	} {
		o := plain
		change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want it to name %s", o, err, want)
		}
	}
}

func TestNth(t *testing.T) {
	for _, c := range []struct {
		prefix string
		n      int
		want   string
	}{
		{"2001:db8::/64", 0, "2001:db8::"},
		{"2001:db8::/64", 1, "2001:db8::1"},
		{"2001:db8::/64", 256, "2001:db8::100"},
		{"2001:db8::ff/64", 1, "2001:db8::100"},
		{"192.0.2.0/24", 17, "192.0.2.17"},
	} {
		if got := nth(netip.MustParsePrefix(c.prefix), c.n); got.String() != c.want {
			t.Errorf("%s, %d: %s, want %s", c.prefix, c.n, got, c.want)
		}
	}
}

func TestAddressesOfMachines(t *testing.T) {
	six, dual := &Cluster{Options: plain}, &Cluster{Options: plain}
	dual.Options.Family = Dual
	for machine, want := range map[string]string{Router: "2001:db8:10::1,192.0.2.1", controlPlane: "2001:db8:10::10,192.0.2.16", "w2": "2001:db8:10::12,192.0.2.18"} {
		if got := list(dual.nodeIPs(machine)); got != want {
			t.Errorf("%s: %s, want %s", machine, got, want)
		}
		first, _, _ := strings.Cut(want, ",")
		if got := list(six.nodeIPs(machine)); got != first {
			t.Errorf("%s without IPv4: %s, want %s", machine, got, first)
		}
	}
	if got := six.server(); got != "https://[2001:db8:10::10]:6443" {
		t.Errorf("server %s", got)
	}
}

// Gateways are in different racks and have legs in different networks. Nodes ask the cluster's DNS first where there is an IPv4 Internet.
func TestGateways(t *testing.T) {
	c := &Cluster{Options: plain}
	if got := c.Gateways(); got != nil || len(c.nameServers()) != 1 || c.nameServers()[0] != c.Site() {
		t.Errorf("without an IPv4 Internet: gateways %v, name servers %v", got, c.nameServers())
	}
	c.Options.Fabric, c.Options.Internet, c.Options.Workers = BGP, IPv4Internet, 3
	if err := c.Options.Check(); err != nil {
		t.Fatal(err)
	}
	g := c.Gateways()
	if len(g) != gateways || c.rack(g[0]) == c.rack(g[1]) || g[0] == controlPlane {
		t.Fatalf("gateways %v in one rack", g)
	}
	_, first := c.legs(g[0])
	above, second := c.legs(g[1])
	if first.String() != "45.64.0.2/30" || above.String() != "45.64.0.5/30" || second.String() != "45.64.0.6/30" {
		t.Errorf("legs %s, %s of %s", first, second, above)
	}
	if got := c.nameServers(); len(got) != 2 || got[0] != dnsService() {
		t.Errorf("name servers %v", got)
	}
}

// flag finds a flag of a service and returns its value.
func flag(t *testing.T, c *Cluster, node, name, flag string) (string, bool) {
	t.Helper()
	for _, s := range c.services(node) {
		if s.Name != name {
			continue
		}
		for _, a := range s.Args {
			if k, v, _ := strings.Cut(a, "="); k == "--"+flag {
				return v, true
			}
		}
		return "", false
	}
	t.Fatalf("%s has no %s", node, name)
	return "", false
}

func TestWhoAllocatesPrefixes(t *testing.T) {
	c := &Cluster{Options: plain}
	if v, _ := flag(t, c, controlPlane, "kube-controller-manager", "allocate-node-cidrs"); v != "false" {
		t.Errorf("with a plan Kubernetes allocates too: %q", v)
	}
	c.Options.HostPrefixes, c.Options.Family = Adopt, Dual
	if v, _ := flag(t, c, controlPlane, "kube-controller-manager", "cluster-cidr"); v != "2001:db8:20::/56,198.18.0.0/16" {
		t.Errorf("ranges of pods %q", v)
	}
	if v, _ := flag(t, c, "w1", "kubelet", "node-ip"); v != "2001:db8:10::11,192.0.2.17" {
		t.Errorf("addresses of a node %q", v)
	}
	// No component may be told an IPv4 address in a cluster without IPv4.
	c.Options.Family = IPv6
	for _, n := range c.Nodes() {
		for _, s := range c.services(n) {
			for _, a := range s.Args {
				if strings.Contains(a, "0.0.0.0") || strings.Contains(a, "127.0.0.1") || strings.Contains(a, "198.1") {
					t.Errorf("%s of %s: %s", s.Name, n, a)
				}
			}
		}
	}
}

func TestEveryFileIsComplete(t *testing.T) {
	all := map[string]any{
		"Pause": "localhost/pause", "DNS": dnsService(), "Domain": domain, "Pods": "2001:db8::/56", "Node": "w1", "Image": "localhost/x", "Name": "home",
		"Fabric": fabric6, "HostPrefixes": Plan, "IPv4": "", "Racks": []int{1, 2}, "ASN": spineASN, "Prefixes": []netip.Prefix{podNet6, podNet4}, "Dual": true,
		"Site": "2001:db8::1", "Internet": true, "Registry": "registry.example", "Zone": "/zone", "Four": InternetAddr, "Six": "2001:db8::1",
		"Names": []string{"a.test"}, "Both": "b.test", "Alias": "c.test", "Web": "a.test",
		"Server": "https://[::1]", "CA": "", "Cert": "", "Key": "",
	}
	names, err := files.ReadDir("files")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range names {
		text, err := fill(f.Name(), all)
		if err != nil {
			t.Error(err)
		}
		if filepath.Ext(f.Name()) == ".json" && !json.Valid(text) {
			t.Errorf("%s is not JSON:\n%s", f.Name(), text)
		}
	}
	if _, err := fill("ptp.json", map[string]any{}); err == nil {
		t.Error("a value is missing, and no error")
	}
}

func TestMachineIDsDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a", "b", strings.Repeat("long", 5)} {
		for _, node := range []string{"cp", "w1", "w2"} {
			id := machineID(name, node)
			if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
				t.Errorf("%s of %s: %q is no machine id", node, name, id)
			}
			if other, ok := seen[id]; ok {
				t.Errorf("%s/%s has the id of %s", name, node, other)
			}
			seen[id] = name + "/" + node
		}
	}
}

// supervised runs services until the file of their state satisfies what is asked for, and returns the state.
func supervised(t *testing.T, logs string, enough func([]Service) bool, services ...service) []Service {
	t.Helper()
	state := filepath.Join(t.TempDir(), "services.json")
	text, err := json.Marshal(orders{Node: "w1", Services: services, Env: []string{"PATH=/usr/bin:/bin"}, Logs: logs, State: state})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- Supervise(ctx, bytes.NewReader(text)) }()
	var got []Service
	err = until(ctx, "the services", func() error {
		if got, err = readServices(state); err == nil && !enough(got) {
			err = errors.New("not yet")
		}
		return err
	})
	stop()
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSupervisorStartsAgainAndSaysWhatBecameOfIt(t *testing.T) {
	logs := t.TempDir()
	got := supervised(t, logs, func(s []Service) bool { return len(s) == 2 && s[0].Starts >= 2 && s[0].PID == 0 && s[1].PID > 0 },
		service{"broken", []string{"sh", "-c", "echo cannot find the disk; exit 7"}}, service{"good", []string{"sleep", "1000"}})
	if got[0].Ended != "exit status 7" {
		t.Errorf("it ended with %q", got[0].Ended)
	}
	if got[1].Starts != 1 || got[1].Ended != "" {
		t.Errorf("a service that runs: %+v", got[1])
	}
	if last := lastLine(logFile(logs, "w1", "broken")); last != "cannot find the disk" {
		t.Errorf("last line %q", last)
	}
}

// An operator reads which component, where, how it ended, in which file, and what it said last.
func TestFailureNamesTheComponent(t *testing.T) {
	c := &Cluster{Options: plain, dir: t.TempDir()}
	if err := os.MkdirAll(c.Logs(), 0o755); err != nil {
		t.Fatal(err)
	}
	log := logFile(c.Logs(), "w2", "kubelet")
	if err := os.WriteFile(log, []byte("starting\nno swap, please\n\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	state := []Service{{Name: "containerd", PID: 9, Starts: 1}, {Name: "kubelet", Starts: 3, Ended: "exit status 1"}}
	text, err := json.Marshal(state)
	if err == nil {
		err = write(c.folder("w2", "services.json"), text)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := c.failed(4); err != nil {
		t.Errorf("it was started three times, four are tolerated: %v", err)
	}
	want := &FailedError{Node: "w2", Component: "kubelet", Ended: "exit status 1", Log: log, Last: "no swap, please"}
	if diff := cmp.Diff(error(want), c.failed(3)); diff != "" {
		t.Error(diff)
	}
	ctx, stop := c.watch(t.Context())
	defer stop()
	<-ctx.Done()
	for _, word := range []string{"kubelet on w2", "exit status 1", log, "no swap, please", c.Logs()} {
		if got := c.explain(context.Cause(ctx)).Error(); !strings.Contains(got, word) {
			t.Errorf("%q does not say %q", got, word)
		}
	}
}

func TestKind(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"plan":              func(*Options) {},
		"adopt":             func(o *Options) { o.HostPrefixes = Adopt },
		"adopt/112":         func(o *Options) { o.HostPrefixes, o.HostBits = Adopt, 112 },
		"plan/bgp":          func(o *Options) { o.Fabric = BGP },
		"plan/dual":         func(o *Options) { o.Family = Dual },
		"plan/own-services": func(o *Options) { o.KubeProxy = false },
		"plan/bgp/internet": func(o *Options) { o.Fabric, o.Internet, o.Workers = BGP, IPv4Internet, 3 },
		"ptp":               func(o *Options) { o.Network, o.HostPrefixes = PTP, Adopt },
	} {
		o := plain
		change(&o)
		if got := o.Kind(); got != want {
			t.Errorf("%+v: %s, want %s", o, got, want)
		}
	}
}
