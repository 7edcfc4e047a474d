package objects_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/edge/objects"
	"hexapod.dev/model/policy"
)

const translation = `
---
apiVersion: hexapod.dev/v1alpha1
kind: Translation
metadata: {name: internet}
spec: {prefixes: ["64:ff9b::/96", "64:ff9b:1::/96"], pool: [198.51.100.10/32], private: [10.1.0.0/16]}
`

const fromCluster = `
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: out, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 169.254.169.254/32]}}]}]
`

// NAT64 does not walk round a policy of the cluster: what it excepts is excepted inside every prefix that carries IPv4 addresses, too.
func TestPoliciesOfTheClusterHoldInsidePrefixes(t *testing.T) {
	s := read(t, fabric+translation)
	c := objects.ClusterPolicies{NetworkPolicies: read(t, fabric+fromCluster).NetworkPolicies}
	var memo objects.PolicyMemo
	for range 2 { // the second time nothing is carried twice
		w, _ := c.Policies(&memo, objects.Policies(s, modelOf(t, s)), policy.Believed{})
		p := netip.MustParsePrefix
		want := []policy.Block{
			{Prefix: p("0.0.0.0/0"), Except: []netip.Prefix{p("10.0.0.0/8"), p("169.254.169.254/32")}},
			{Prefix: p("64:ff9b::/96"), Except: []netip.Prefix{p("64:ff9b::a00:0/104"), p("64:ff9b::a9fe:a9fe/128")}},
			{Prefix: p("64:ff9b:1::/96"), Except: []netip.Prefix{p("64:ff9b:1::a00:0/104"), p("64:ff9b:1::a9fe:a9fe/128")}},
		}
		got := w.Policies[0].Rules[policy.Egress][0].Peers[0].Networks
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
