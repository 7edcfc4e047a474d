package policies

import (
	"fmt"
	"testing"

	"hexapod.dev/model/policy"
)

// However many policies there are, their counters are not more than that, and one for all others.
func TestCountersOfDenialsAreBounded(t *testing.T) {
	p := &Enforcer{}
	labels := map[string]int{}
	for i := range 3 * mostCounted {
		labels[p.counterOf(fmt.Sprintf("NetworkPolicy shop/p%d, ingress 0", i))]++
	}
	if len(labels) != mostCounted+1 || labels[otherPolicies] != 2*mostCounted {
		t.Errorf("%d labels, %d policies counted together; want %d and %d", len(labels), labels[otherPolicies], mostCounted+1, 2*mostCounted)
	}
	p = &Enforcer{}
	for rule, want := range map[string]string{
		"NetworkPolicy shop/db, ingress 0": "NetworkPolicy shop/db", "ClusterNetworkPolicy lock, deny-all": "ClusterNetworkPolicy lock",
		policy.ByIsolation: "closed", policy.ByOutside: "default", policy.ByNothing: "closed",
	} {
		if got := p.counterOf(rule); got != want {
			t.Errorf("%q is counted as %q, want %q", rule, got, want)
		}
	}
}
