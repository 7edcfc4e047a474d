package controller

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

func nodeWith(internal ...string) *objects.Node {
	n := &objects.Node{}
	n.Metadata.Name = "n"
	for _, a := range internal {
		n.Status.Addresses = append(n.Status.Addresses, objects.NodeAddress{Type: "InternalIP", Address: a})
	}
	n.Status.Addresses = append(n.Status.Addresses, objects.NodeAddress{Type: "Hostname", Address: "n"})
	return n
}

func TestJudgeAddresses(t *testing.T) {
	for name, c := range map[string]struct {
		node *objects.Node
		want Why
	}{
		"IPv6 alone":      {nodeWith("3fff:f::1"), ""},
		"IPv6 first":      {nodeWith("3fff:f::1", "192.0.2.1"), ""},
		"IPv4 first":      {nodeWith("192.0.2.1", "3fff:f::1"), IPv4First},
		"IPv4 in a coat":  {nodeWith("::ffff:192.0.2.1", "3fff:f::1"), IPv4First},
		"IPv4 alone":      {nodeWith("192.0.2.1"), NoIPv6Address},
		"none yet":        {nodeWith(), NoIPv6Address},
		"no address at a": {nodeWith("not an address"), NoIPv6Address},
	} {
		got := judgeAddresses(c.node)
		if c.want == "" && got != nil || c.want != "" && (got == nil || got.Why != c.want) {
			t.Errorf("%s: %v, want %q", name, got, c.want)
		}
	}
}

func TestStalePods(t *testing.T) {
	pod := func(name, node, phase string, ips ...string) *objects.Pod {
		p := &objects.Pod{Spec: objects.PodSpec{NodeName: node, HostNetwork: true}, Status: objects.PodStatus{Phase: phase}}
		p.Metadata.Namespace, p.Metadata.Name = "kube-system", v1alpha1.Name(name)
		for _, ip := range ips {
			p.Status.PodIPs = append(p.Status.PodIPs, objects.PodIP{IP: ip})
		}
		return p
	}
	nodes := map[string]*objects.Node{"n": nodeWith("3fff:f::1", "192.0.2.1"), "empty": {}}
	got := stalePods([]*objects.Pod{
		pod("right", "n", "Running", "3fff:f::1"), pod("both", "n", "Running", "3fff:f::1", "192.0.2.1"),
		pod("written otherwise", "n", "Running", "3fff:f:0:0::1"), pod("stale", "n", "Running", "3fff:f::9"),
		pod("half", "n", "Running", "3fff:f::1", "192.0.2.9"), pod("ended", "n", "Succeeded", "3fff:f::9"),
		pod("no node", "m", "Running", "3fff:f::9"), pod("node without addresses", "empty", "Running", "3fff:f::9"), pod("no address", "n", "Running"),
	}, func(name string) (*objects.Node, bool) { n, ok := nodes[name]; return n, ok })
	want := map[string][]objects.Key{"n": {{Namespace: "kube-system", Name: "stale"}, {Namespace: "kube-system", Name: "half"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if text := staleText(got["n"]); !strings.Contains(text, "kube-system/half, kube-system/stale") {
		t.Error(text)
	}
	if text := staleText(make([]objects.Key, 12)); !strings.Contains(text, "and 2 more") {
		t.Error(text)
	}
}

// TestWantHost: others are told how a host is reached, and nothing that lies inside its own prefix or is good on one link alone.
func TestWantHost(t *testing.T) {
	number := uint32(5)
	g := given{ipv6: v1alpha1.NewHostPrefix(v1alpha1.HostPrefixSpec{Prefix: pfx("2001:db8:a010:c05::/64"), Host: "n", Cluster: "main", Rack: "east", Number: &number})}
	report := v1alpha1.NewHostStatus("n", v1alpha1.HostReport{MAC: "02:00:00:00:00:01",
		Addresses: []v1alpha1.Addr{address("3fff:f::2"), address("3fff:f::1"), address("fe80::1"), address("2001:db8:a010:c05:1::1")}})
	got := wantHost(nodeWith("3fff:f::1", "192.0.2.1"), report, g)
	want := v1alpha1.HostSpec{Cluster: "main", Rack: "east", Number: &number, Prefix: pfx("2001:db8:a010:c05::/64"), MAC: "02:00:00:00:00:01",
		Addresses: []v1alpha1.Addr{address("3fff:f::1"), address("3fff:f::2")}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b v1alpha1.Prefix) bool { return a == b }), cmp.Comparer(func(a, b v1alpha1.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if problems := v1alpha1.Validate(v1alpha1.NewHost("n", got)).Errors(); len(problems) > 0 {
		t.Error(problems)
	}
}
