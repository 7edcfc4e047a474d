package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

// TestEveryIdentityFitsInTheMaps accepts each of the 65,280 numbers of workloads but one by a rule of one endpoint, and asks what the maps
// say of the first, the last and the one that is left out.
func TestEveryIdentityFitsInTheMaps(t *testing.T) {
	const left = identity.Number(0x8000)
	w := newWorld(t, 256)
	world := &policy.World{Identities: map[identity.Number]identity.Set{}}
	for n := int(identity.FirstWorkload); n <= int(identity.LastWorkload); n++ {
		labels := map[string]string{"n": fmt.Sprint(n), "in": "yes"}
		if identity.Number(n) == left {
			labels["in"] = "no"
		}
		world.Identities[identity.Number(n)] = identity.Set{Namespace: "shop", Labels: labels}
	}
	in := policy.Selector{{Key: "in", Op: policy.In, Values: []string{"yes"}}}
	p := policy.Policy{Name: "NetworkPolicy shop/all", Tier: policy.Namespace, Subject: policy.Workloads{Namespace: "shop"}}
	p.Governs[policy.Ingress] = true
	p.Rules[policy.Ingress] = []policy.Rule{{Name: "ingress 0", Peers: []policy.Peer{{Workloads: &policy.Workloads{Namespace: "shop", Endpoints: in}}}}}
	world.Policies = []*policy.Policy{&p}
	subject := generatorEndpoints[0]
	b := policy.Believed{Trust: identity.TrustBits, Regions: map[netip.Prefix]policy.Form{worldPeer: policy.Wide}}
	c, err := policy.NewCompiler(world).CompileAll(map[netip.Addr]policy.Subject{subject: {Number: 0x100, Set: world.Identities[0x100]}}, b)
	must(t, err)
	writer, err := (&Table{maps: &Maps{byName: w.maps}}).Policies()
	must(t, err)
	_, err = writer.Reconcile(c)
	must(t, err)
	have, err := held[policyPeer, policy.Bits](w.maps["policy_peers"])
	must(t, err)
	if want := int(identity.LastWorkload-identity.FirstWorkload) + 1 - 1; len(have) != want {
		t.Errorf("%d identities in the maps, want %d", len(have), want)
	}
	d := b.Directory()
	for n, want := range map[identity.Number]policy.Action{identity.FirstWorkload: policy.Accept, identity.LastWorkload: policy.Accept, left: policy.Deny, left + 1: policy.Accept} {
		raw := worldPeer.Addr().As16()
		binary.BigEndian.PutUint16(raw[8:], uint16(n))
		a := netip.AddrFrom16(raw)
		f := policy.Flow{Direction: policy.Ingress, Other: policy.Other{Addr: a, Who: d.Who(a)}, Protocol: transport.TCP, Port: 80}
		if _, got, known, err := writer.Held(subject, f); err != nil || !known || got != want {
			t.Errorf("number %#x: the maps say %s, known %v, %v; want %s", uint16(n), got, known, err, want)
		}
	}
}

// TestPoliciesHalfInForce has no room for one of two endpoints. The other one's tables are switched all the same, so its living flows are
// judged anew; and what failed is not told of as done.
func TestPoliciesHalfInForce(t *testing.T) {
	w := newWorld(t, 256)
	writer, err := (&Table{maps: &Maps{byName: w.maps}}).Policies()
	must(t, err)
	compiled := func(allowed int, addrs ...netip.Addr) policy.Compiled {
		p := policy.Policy{Name: "NetworkPolicy shop/all", Tier: policy.Namespace, Subject: policy.Workloads{Namespace: "shop"}}
		p.Governs[policy.Ingress] = true
		for range allowed {
			p.Rules[policy.Ingress] = append(p.Rules[policy.Ingress], policy.Rule{Name: "ingress 0"})
		}
		set := identity.Set{Namespace: "shop"}
		subjects := map[netip.Addr]policy.Subject{}
		for _, a := range addrs {
			subjects[a] = policy.Subject{Number: 0x100, Set: set}
		}
		world := &policy.World{Identities: map[identity.Number]identity.Set{0x100: set}, Policies: []*policy.Policy{&p}}
		c, err := policy.NewCompiler(world).CompileAll(subjects, policy.Believed{Trust: identity.TrustBits})
		must(t, err)
		return c
	}
	one, two := generatorEndpoints[0], generatorEndpoints[1]
	full, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 16, ValueSize: 8, MaxEntries: 1})
	must(t, err)
	roomy := w.maps["policy_subjects"]
	w.maps["policy_subjects"] = full
	t.Cleanup(func() {
		w.maps["policy_subjects"] = roomy
		must(t, full.Close())
	})
	_, err = writer.Reconcile(compiled(1, one))
	must(t, err)
	before := w.generation(t)
	if _, err := writer.Reconcile(compiled(0, one, two)); err == nil {
		t.Fatal("two endpoints where there is room for one: no error")
	}
	if now := w.generation(t); now == before {
		t.Error("flows of the endpoint whose policy was tightened live on")
	}
}
