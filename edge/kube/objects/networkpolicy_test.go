package objects

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/api/v1alpha1"
)

// rules writes what a policy holds, without what its name says.
func rules(t *testing.T, spec any) string {
	t.Helper()
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestNetworkPolicyAsItIsHeld(t *testing.T) {
	for _, c := range []struct{ name, spec, held, problem string }{
		{"host bits are masked, as Kubernetes allows them",
			`{"podSelector":{},"policyTypes":["Egress"],"egress":[{"to":[{"ipBlock":{"cidr":"2001:db8::7/32","except":["2001:db8:1::9/48"]}}]}]}`,
			`{"podSelector":{},"policyTypes":["Egress"],"egress":[{"to":[{"ipBlock":{"cidr":"2001:db8::/32","except":["2001:db8:1::/48"]}}]}]}`, ""},
		{"defaults",
			`{"podSelector":{"matchLabels":{"app":"db"}},"ingress":[{"ports":[{"port":"web"},{"port":80,"endPort":90,"protocol":"UDP"}]}]}`,
			`{"podSelector":{"matchLabels":{"app":"db"}},"policyTypes":["Ingress"],"ingress":[{"ports":[{"protocol":"TCP","port":"web"},{"protocol":"UDP","port":80,"endPort":90}]}]}`, ""},
		{"a peer that cannot be read accepts nothing, the other one goes on",
			`{"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[{"ipBlock":{"cidr":"010.0.0.0/8"}},{"podSelector":{}}]}]}`,
			`{"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[{"podSelector":{}}]}]}`, "no prefix"},
		{"a rule whose peers are all unknown accepts nobody, not everybody",
			`{"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[{"martians":{}}]}]}`,
			`{"podSelector":{},"policyTypes":["Ingress"]}`, "nobody that is known"},
		{"a rule that is none closes the endpoints of the policy",
			`{"podSelector":{"matchLabels":{"a":"b"}},"policyTypes":["Ingress"],"ingress":[{"ports":[{"port":0}]}]}`,
			`{"podSelector":{"matchLabels":{"a":"b"}},"policyTypes":["Ingress","Egress"]}`, "no rule of it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p NetworkPolicy
			if err := json.Unmarshal([]byte(`{"metadata":{"namespace":"shop","name":"a.b"},"spec":`+c.spec+`}`), &p); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.held, rules(t, p.Spec)); d != "" {
				t.Errorf("-want +held\n%s", d)
			}
			if c.problem == "" && p.Problem != "" || !strings.Contains(p.Problem, c.problem) {
				t.Errorf("problem %q, want %q", p.Problem, c.problem)
			}
		})
	}
}

// network-policy-api v0.2.0, ClusterNetworkPolicyIngressPeer: of a peer that is not known, Accept matches nothing, Deny and Pass deny all.
func TestClusterNetworkPolicyAsItIsHeld(t *testing.T) {
	const head = `"tier":"Admin","priority":3,"subject":{"namespaces":{}}`
	for _, c := range []struct{ name, spec, held, problem string }{
		{"networks are masked", `{` + head + `,"egress":[{"action":"Deny","to":[{"networks":["2001:db8::7/32"]}]}]}`,
			`{` + head + `,"egress":[{"action":"Deny","to":[{"networks":["2001:db8::/32"]}]}]}`, ""},
		{"an unknown peer of Accept matches nothing", `{` + head + `,"egress":[{"action":"Accept","to":[{"domainNames":["example.org"]}]}]}`, `{` + head + `}`, "egress[0].to[0]"},
		{"an unknown peer of Pass denies all", `{` + head + `,"egress":[{"action":"Pass","to":[{"domainNames":["example.org"]},{"namespaces":{}}],"protocols":[{"tcp":{}}]}]}`,
			`{` + head + `,"egress":[{"action":"Deny","to":[{"namespaces":{}},{"networks":["::/0","0.0.0.0/0"]}]}]}`, "egress[0].to[0]"},
		{"what is no policy selects nobody", `{"tier":"Middle","priority":3,"subject":{"namespaces":{}}}`,
			`{"tier":"Admin","priority":0,"subject":{"namespaces":{"matchExpressions":[{"key":"hexapod.dev/nobody","operator":"Exists"}]}}}`, "the policy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p ClusterNetworkPolicy
			if err := json.Unmarshal([]byte(`{"metadata":{"name":"a"},"spec":`+c.spec+`}`), &p); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.held, rules(t, p.Spec)); d != "" {
				t.Errorf("-want +held\n%s", d)
			}
			if c.problem == "" && p.Problem != "" || !strings.Contains(p.Problem, c.problem) {
				t.Errorf("problem %q, want %q", p.Problem, c.problem)
			}
		})
	}
}

// No object that the API server may send ends the watch.
func FuzzPolicies(f *testing.F) {
	f.Add([]byte(`{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"::/0"}}]}]}`))
	f.Add([]byte(`{"ingress":[7,{"from":[null,{"networks":"x"}]}],"egress":{"to":1}}`))
	f.Fuzz(func(t *testing.T, spec []byte) {
		var any map[string]any
		if json.Unmarshal(spec, &any) != nil {
			return
		}
		text := append(append([]byte(`{"metadata":{"namespace":"a","name":"b"},"spec":`), spec...), '}')
		var n NetworkPolicy
		if err := json.Unmarshal(text, &n); err != nil {
			t.Fatal(err)
		}
		if err := valid(&v1alpha1.NetworkPolicy{Header: n.Header, Spec: n.Spec}); err != nil {
			t.Errorf("held, and not valid: %v", err)
		}
		var c ClusterNetworkPolicy
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		if err := valid(&v1alpha1.ClusterNetworkPolicy{Header: c.Header, Spec: c.Spec}); err != nil {
			t.Errorf("held, and not valid: %v", err)
		}
	})
}
