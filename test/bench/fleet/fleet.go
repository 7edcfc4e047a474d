// Package fleet makes the policies and identities of a large cluster, as one host sees it, for benchmarks.
package fleet

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
)

// The size of a large fleet.
const (
	Policies   = 10_000
	Identities = 2_000
	Endpoints  = 200

	namespaces = 100
	apps       = 40
)

// Prefix holds all of its addresses.
var Prefix = netip.MustParsePrefix("2001:db8:a000::/37")

// Fleet is what an API server tells: each policy closes one application of a namespace but for another one there, and for a third of all
// pods on a port of its own. Fifty of them select each endpoint of this host.
type Fleet struct {
	Policies []*v1alpha1.NetworkPolicy
	Sets     map[identity.Number]identity.Set
	Subjects map[netip.Addr]policy.Subject // the endpoints of one host

	names map[string]map[string]string
}

// Set is the n-th set of labels.
func Set(n int) identity.Set {
	return identity.Set{Namespace: fmt.Sprint("ns", n%namespaces), Labels: map[string]string{"app": fmt.Sprint("app", n%apps), "tier": fmt.Sprint(n % 3), "n": fmt.Sprint(n)}}
}

// New makes a fleet of so many policies.
func New(policies int) *Fleet {
	f := &Fleet{Sets: map[identity.Number]identity.Set{}, names: map[string]map[string]string{}, Subjects: map[netip.Addr]policy.Subject{}}
	for n := range namespaces {
		name := fmt.Sprint("ns", n)
		f.names[name] = map[string]string{"kubernetes.io/metadata.name": name}
	}
	for n := range Identities {
		f.Sets[identity.FirstWorkload+identity.Number(n)] = Set(n)
	}
	for n := range policies {
		f.Policies = append(f.Policies, Policy(n, n))
	}
	for n := range Endpoints {
		number := identity.FirstWorkload + identity.Number(n)
		raw := Prefix.Addr().As16()
		binary.BigEndian.PutUint16(raw[8:], uint16(number))
		raw[15] = 1
		f.Subjects[netip.AddrFrom16(raw)] = policy.Subject{Number: number, Set: f.Sets[number], Host: []netip.Addr{Prefix.Addr().Next()}}
	}
	return f
}

// Policy is the n-th policy, with a port.
func Policy(n, port int) *v1alpha1.NetworkPolicy {
	p := &v1alpha1.NetworkPolicy{}
	text := fmt.Sprintf(`{"metadata":{"namespace":"ns%d","name":"p%05d"},"spec":{"podSelector":{"matchLabels":{"app":"app%d"}},"policyTypes":["Ingress"],"ingress":[
		{"from":[{"podSelector":{"matchLabels":{"app":"app%d"}}}],"ports":[{"protocol":"TCP","port":80,"endPort":90}]},
		{"from":[{"namespaceSelector":{},"podSelector":{"matchLabels":{"tier":"%d"}}}],"ports":[{"protocol":"TCP","port":%d}]}]}}`,
		n%namespaces, n, n%apps, (n+1)%apps, n%3, 1+port)
	if err := json.Unmarshal([]byte(text), p); err != nil {
		panic(err) // the text is of this file
	}
	return p
}

// Told is what it says of policies.
func (f *Fleet) Told() *objects.ClusterPolicies {
	return &objects.ClusterPolicies{NetworkPolicies: f.Policies, Namespaces: f.names}
}

// World is what the objects of Hexapod say.
func (f *Fleet) World() *policy.World {
	w := &policy.World{Identities: make(map[identity.Number]identity.Set, len(f.Sets)), CloseOutside: true, Carried: policy.Pref64s(nil)}
	for n, set := range f.Sets {
		w.Identities[n] = set
	}
	return w
}
