package objects_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/edge/objects"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

const policies = `
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: front, namespace: shop}
spec:
  podSelector: {matchLabels: {b: "2", a: "1"}, matchExpressions: [{key: c, operator: NotIn, values: [x, y]}]}
  ingress:
  - from:
    - {podSelector: {}}
    - {namespaceSelector: {matchLabels: {team: ops}}}
    - ipBlock: {cidr: "2001:db8::/32", except: ["2001:db8:1::/48"]}
    ports: [{port: 80, endPort: 90}, {port: https}, {protocol: UDP}, {protocol: SCTP, port: 7}]
  - {}
  egress: [{to: [{podSelector: {matchLabels: {app: db}}, namespaceSelector: {}}]}]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: ops}
spec:
  tier: Baseline
  priority: 7
  subject: {namespaces: {}}
  egress:
  - {name: hosts, action: Deny, to: [{nodes: {matchLabels: {disk: ssd}}}, {networks: ["2001:db8::/32", 192.0.2.0/24]}], protocols: [{udp: {destinationPort: {range: {start: 1, end: 9}}}}, {destinationNamedPort: dns}]}
  - {action: Pass, to: [{pods: {namespaceSelector: {}, podSelector: {}}}], protocols: [{tcp: {destinationPort: {number: 53}}}, {sctp: {}}]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Publication
metadata: {name: front}
spec: {namespace: shop, ports: [{port: 443}]}
`

func TestPolicies(t *testing.T) {
	s := read(t, fabric+policies)
	w := objects.Policies(s, modelOf(t, s))
	label := func(key, value string) policy.Requirement {
		return policy.Requirement{Key: key, Op: policy.In, Values: []string{value}}
	}
	p := netip.MustParsePrefix
	everything, ops, ssd := policy.Selector{}, policy.Selector{label("team", "ops")}, policy.Selector{label("disk", "ssd")}
	front := policy.Policy{
		Name: "NetworkPolicy shop/front", Tier: policy.Namespace, Governs: [2]bool{true, true},
		Subject: policy.Workloads{Namespace: "shop", Endpoints: policy.Selector{label("a", "1"), label("b", "2"), {Key: "c", Op: policy.NotIn, Values: []string{"x", "y"}}}},
	}
	front.Rules[policy.Ingress] = []policy.Rule{
		{
			Name: "ingress 0",
			Peers: []policy.Peer{
				{Workloads: &policy.Workloads{Namespace: "shop", Endpoints: everything}},
				{Workloads: &policy.Workloads{Namespace: "shop", Namespaces: &ops}},
				{Networks: []policy.Block{{Prefix: p("2001:db8::/32"), Except: []netip.Prefix{p("2001:db8:1::/48")}}}},
			},
			Ports: []policy.Port{
				{Protocol: transport.TCP, First: 80, Last: 90}, {Protocol: transport.TCP, Name: "https"}, {Protocol: transport.UDP, Last: 65535},
				{Protocol: transport.SCTP, First: 7, Last: 7},
			},
		},
		{Name: "ingress 1"},
	}
	front.Rules[policy.Egress] = []policy.Rule{{Name: "egress 0", Peers: []policy.Peer{
		{Workloads: &policy.Workloads{Namespace: "shop", Namespaces: &everything, Endpoints: policy.Selector{label("app", "db")}}},
	}}}
	hosts := policy.Policy{
		Name: "ClusterNetworkPolicy ops", Tier: policy.Baseline, Priority: 7, Governs: [2]bool{policy.Egress: true},
		Subject: policy.Workloads{Namespaces: &everything},
	}
	hosts.Rules[policy.Egress] = []policy.Rule{
		{
			Name: "hosts", Action: policy.Deny,
			Peers: []policy.Peer{{Hosts: &ssd}, {Networks: []policy.Block{{Prefix: p("2001:db8::/32")}, {Prefix: p("192.0.2.0/24")}, {Prefix: p("64:ff9b::c000:200/120")}}}},
			Ports: []policy.Port{{Protocol: transport.UDP, First: 1, Last: 9}, {Protocol: transport.TCP, Name: "dns"}, {Protocol: transport.UDP, Name: "dns"}, {Protocol: transport.SCTP, Name: "dns"}},
		},
		{
			Name: "egress 1", Action: policy.Pass, Peers: []policy.Peer{{Workloads: &policy.Workloads{Namespaces: &everything, Endpoints: everything}}},
			Ports: []policy.Port{{Protocol: transport.TCP, First: 53, Last: 53}, {Protocol: transport.SCTP, Last: 65535}},
		},
	}
	if diff := cmp.Diff([]*policy.Policy{&front, &hosts}, w.Policies, opaque); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	published := []policy.Publication{{
		Name: "Publication front", Subject: policy.Workloads{Namespace: "shop", Endpoints: everything}, Ports: []policy.Port{{Protocol: transport.TCP, First: 443, Last: 443}},
	}}
	if diff := cmp.Diff(published, w.Published, opaque); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if !w.CloseOutside || w.Identities[423].Labels["app"] != "web" || len(w.Hosts) != 3 {
		t.Errorf("%+v", w)
	}
	if at := objects.Written(s)["ClusterNetworkPolicy ops"]; !strings.HasPrefix(at, "f.yaml:") {
		t.Errorf("written at %q", at)
	}
}

// A selector by a label that no identity has selects nobody; whoever wrote it is told.
func TestPolicyByExcludedLabelWarns(t *testing.T) {
	s := read(t, fabric+strings.Replace(policies, "{app: db}", "{job-name: db}", 1))
	_, problems := objects.For(s)
	if !strings.Contains(problems.Error(), "warning: NetworkPolicy front: spec: selects by label job-name, which is no part of an identity") {
		t.Error(problems)
	}
}
