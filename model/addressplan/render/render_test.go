package render

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"hexapod.dev/model/addressplan"
)

var update = flag.Bool("update", false, "write the golden files anew")

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// labPlan has two racks and an edge cluster, names that need quoting, a host that rests and one with an adopted prefix.
func labPlan() addressplan.Plan {
	return addressplan.Plan{
		Name: "lab", Prefix: pfx("2001:db8:a000::/37"), Lengths: addressplan.DefaultLengths(), Lab: true, Rest: addressplan.DefaultRest,
		SpineASN:  4200999999,
		RouterIDs: map[string]netip.Addr{"cloud": netip.MustParseAddr("1.0.0.1")},
		Clusters: []addressplan.Cluster{
			{Name: "c0", Racks: []addressplan.Rack{{Name: "r1", Number: 1}, {Name: "r2", Number: 2}}},
			{Name: "edge-1", Number: 2047, Edge: true, Racks: []addressplan.Rack{{Name: "r1", Number: 1}}},
		},
		Hosts: []addressplan.Host{
			{Name: "h1.example", Cluster: "c0", Rack: "r1", Number: 0},
			{Name: "h2", Cluster: "c0", Rack: "r1", Number: 1},
			{Name: "old", Cluster: "c0", Rack: "r1", Number: 2, Retired: true, RetiredAt: 0},
			{Name: "h3", Cluster: "c0", Rack: "r2", Number: 0},
			{Name: "cloud", Cluster: "c0", Rack: "r2", Adopted: true, Prefix: pfx("2001:db8:1:2:3::/80")},
			{Name: "e1", Cluster: "edge-1", Rack: "r1", Number: 7},
		},
	}
}

// dualPlan is labPlan's first cluster with an IPv4 range.
func dualPlan() addressplan.Plan {
	p := labPlan()
	p.IPv4 = addressplan.IPv4{Prefix: pfx("10.0.0.0/8"), HostLength: 24}
	p.Clusters = p.Clusters[:1]
	p.Hosts = slices.DeleteFunc(p.Hosts, func(h addressplan.Host) bool { return h.Cluster != "c0" })
	return p
}

// renderings are the goldens: what is written for whom.
func renderings() map[string]struct {
	target Target
	scope  Scope
} {
	type of = struct {
		target Target
		scope  Scope
	}
	tor, host, spine := Scope{Rack: "c0/r1"}, Scope{Host: "h2"}, Scope{Spine: 1}
	return map[string]of{
		"frr-tor": {FRR, tor}, "frr-host": {FRR, host}, "frr-spine": {FRR, spine},
		"bird-tor": {BIRD, tor}, "bird-host": {BIRD, host}, "bird-spine": {BIRD, spine},
		"filter-tor": {Filter, tor}, "filter-tor-adopted": {Filter, Scope{Rack: "c0/r2"}}, "filter-spine": {Filter, spine},
		"radvd": {Radvd, tor}, "kea": {Kea, tor}, "kubeadm": {Kubeadm, Scope{}}, "kubeadm-host": {Kubeadm, host},
		"docker": {Docker, host}, "zone": {Zone, Scope{}}, "json": {JSON, Scope{}},
	}
}

func labOptions() Options {
	return Options{Outside: []string{"swp63", "swp64"}, Uplinks: []string{"eth0", "eth1"}, Domain: "example.net", NameServer: "ns.example.net"}
}

func mustRender(t *testing.T, p addressplan.Plan, target Target, s Scope, o Options) []File {
	t.Helper()
	files, err := Render(p, target, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func golden(t *testing.T, name string, files []File) {
	t.Helper()
	got := &txtar.Archive{}
	for _, f := range files {
		got.Files = append(got.Files, txtar.File{Name: f.Name, Data: []byte(f.Text)})
	}
	path := filepath.Join("testdata", name+".txtar")
	if *update {
		if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(txtar.Format(got))); d != "" {
		t.Errorf("%s (-want +got; go test -update writes it):\n%s", path, d)
	}
}

func TestGoldens(t *testing.T) {
	for name, r := range renderings() {
		t.Run(name, func(t *testing.T) { golden(t, name, mustRender(t, labPlan(), r.target, r.scope, labOptions())) })
	}
	translating := labOptions()
	translating.Translated = []netip.Prefix{pfx("64:ff9b::/96"), pfx("198.51.100.0/30")}
	for name, r := range map[string]struct {
		target Target
		scope  Scope
	}{"filter-spine-nat64": {Filter, Scope{Spine: 1}}, "filter-tor-nat64": {Filter, Scope{Rack: "c0/r1"}}, "frr-tor-nat64": {FRR, Scope{Rack: "c0/r1"}}} {
		t.Run(name, func(t *testing.T) { golden(t, name, mustRender(t, labPlan(), r.target, r.scope, translating)) })
	}
	t.Run("docker-dual", func(t *testing.T) {
		golden(t, "docker-dual", mustRender(t, dualPlan(), Docker, Scope{Host: "h2"}, labOptions()))
	})
	t.Run("json-dual", func(t *testing.T) { golden(t, "json-dual", mustRender(t, dualPlan(), JSON, Scope{}, labOptions())) })
	young := dualPlan()
	young.Hosts = slices.DeleteFunc(young.Hosts, func(h addressplan.Host) bool { return h.Retired })
	for name, p := range map[string]addressplan.Plan{"config": young, "config-sealed": shapes(t)["ula"]} {
		files, err := Config(p, "seal.key")
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { golden(t, name, files) })
	}
	tree, err := Tree(labPlan(), addressplan.Day)
	if err != nil {
		t.Fatal(err)
	}
	svg, err := SVG(labPlan(), addressplan.Day)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("map", func(t *testing.T) { golden(t, "map", []File{{"plan.txt", tree}, {"plan.svg", svg}}) })
}

// TestTreeShowsIPv4: the range of each living host of a dual-stack plan.
func TestTreeShowsIPv4(t *testing.T) {
	p := dualPlan()
	tree, err := Tree(p, addressplan.Day)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range p.Hosts {
		q, err := p.PrefixOf(h)
		if err != nil {
			t.Fatal(err)
		}
		v4, err := p.HostIPv4(q)
		if shown := err == nil && strings.Contains(tree, fmt.Sprintf("host %s  %s  %s", h.Name, q, v4)); shown == (h.Retired || h.Adopted) {
			t.Errorf("host %s with %s: shown is %v in\n%s", h.Name, v4, shown, tree)
		}
	}
	if !strings.Contains(tree, "\nIPv4  10.0.0.0/8, a /24 for each host\n") {
		t.Errorf("the range itself is not in\n%s", tree)
	}
}

func TestEveryTargetHasAGolden(t *testing.T) {
	for _, w := range writers() {
		for _, scope := range w.scopes {
			found := false
			for _, r := range renderings() {
				found = found || r.target == w.target && r.scope.String() == scope
			}
			if !found {
				t.Errorf("no golden for %s of %s", w.target, scope)
			}
		}
	}
}

func TestRenderIsTheSameEveryTime(t *testing.T) {
	for name, r := range renderings() {
		first := mustRender(t, labPlan(), r.target, r.scope, labOptions())
		other := labPlan()
		slices.Reverse(other.Hosts) // the order of files in a folder means nothing
		if d := cmp.Diff(first, mustRender(t, other, r.target, r.scope, labOptions())); d != "" {
			t.Errorf("%s depends on the order of hosts:\n%s", name, d)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	noSpine, broken, wide, narrow := labPlan(), labPlan(), labPlan(), labPlan()
	noSpine.SpineASN = 0
	broken.Lengths.Rack = 70
	wide.Lengths.Host, wide.Hosts, wide.RouterIDs = 80, []addressplan.Host{{Name: "h2", Cluster: "c0", Rack: "r1", Number: 1}}, nil
	wide.IPv4 = addressplan.IPv4{}
	narrow = wide
	narrow.Lengths.Host = 96
	for name, c := range map[string]struct {
		plan   addressplan.Plan
		target Target
		scope  Scope
		opts   Options
		want   string
	}{
		"unknown target":         {labPlan(), "cisco", Scope{}, Options{}, "want one of frr, bird"},
		"wrong scope":            {labPlan(), Docker, Scope{Rack: "c0/r1"}, Options{}, "written for a host, not for a rack"},
		"broken plan":            {broken, JSON, Scope{}, Options{}, "the plan has errors"},
		"no AS for the spine":    {noSpine, FRR, Scope{Rack: "c0/r1"}, Options{}, "spec.asn.spine"},
		"rack of two clusters":   {labPlan(), FRR, Scope{Rack: "r1"}, Options{}, "CLUSTER/RACK"},
		"unknown rack":           {labPlan(), FRR, Scope{Rack: "c0/r9"}, Options{}, `no rack "r9"`},
		"retired host":           {labPlan(), Docker, Scope{Host: "old"}, Options{}, `no living host "old"`},
		"edge without outside":   {labPlan(), Filter, Scope{Spine: 1}, Options{}, "--outside"},
		"port that ends a quote": {labPlan(), Filter, Scope{Spine: 1}, Options{Outside: []string{`a" accept`}}, "no name of a link"},
		"no router id":           {wide, FRR, Scope{Host: "h2"}, Options{}, "spec.routerIDs"},
		"docker in a /96":        {narrow, Docker, Scope{Host: "h2"}, Options{}, "too narrow"},
	} {
		files, err := Render(c.plan, c.target, c.scope, c.opts)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want an error with %q", name, files, err, c.want)
		}
	}
}

// Kubernetes' own allocation refuses more than 16 bits between cluster and host, and would count into rack 0 below that.
func TestKubeadmTurnsNodeAllocationOff(t *testing.T) {
	for _, host := range []int{64, 80} {
		p := labPlan()
		p.Lengths.Host, p.Hosts, p.RouterIDs, p.IPv4 = host, nil, nil, addressplan.IPv4{}
		for _, f := range mustRender(t, p, Kubeadm, Scope{}, Options{}) {
			if !strings.Contains(f.Text, "- name: allocate-node-cidrs\n      value: \"false\"") {
				t.Errorf("%s with hosts of /%d leaves the allocation of node prefixes on:\n%s", f.Name, host, f.Text)
			}
			if strings.Contains(f.Text, "node-cidr-mask") {
				t.Errorf("%s names a node mask although nothing is allocated", f.Name)
			}
		}
	}
}

func TestMachineTextIsJSONWithItsOwnSum(t *testing.T) {
	text := mustRender(t, labPlan(), JSON, Scope{}, Options{})[0].Text
	var m machinePlan
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.SHA256) != 64 || len(m.Clusters) != 2 || len(m.Clusters[0].Racks[1].Hosts) != 2 {
		t.Errorf("plan.json lost something: %s", text)
	}
	changed := labPlan()
	changed.Hosts[1].Number = 5
	if strings.Contains(mustRender(t, changed, JSON, Scope{}, Options{})[0].Text, m.SHA256) {
		t.Error("another plan has the same sum")
	}
}

func TestConfigRefusesPlansInUse(t *testing.T) {
	if files, err := Config(labPlan(), ""); err == nil || !strings.Contains(err.Error(), "host old is retired") {
		t.Errorf("%v, %v, want an error about the retired host", files, err)
	}
}

func TestSVGIsXML(t *testing.T) {
	p := labPlan()
	p.Name = `<&"lab">`
	svg, err := SVG(p, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
}
