package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

// TestEveryIdentityFitsInTheMaps accepts each of the 65,280 numbers that fit into addresses but one by a rule of one endpoint, and asks what
// the maps say of the first, the last and the one that is left out. One more set of labels has a number that does not fit, and is accepted
// by its exact entry; so is the last such number there can be, and another that the rule leaves out is not.
func TestEveryIdentityFitsInTheMaps(t *testing.T) {
	const left = identity.Number(0x8000)
	w := newWorld(t, 256)
	world := &policy.World{Identities: map[identity.Number]identity.Set{}}
	put := func(n identity.Number, in string) {
		world.Identities[n] = identity.Set{Namespace: "shop", Labels: map[string]string{"n": fmt.Sprint(n), "in": in}}
	}
	for n := identity.FirstWorkload; n <= identity.LastWorkload; n++ {
		put(n, "yes")
	}
	put(left, "no")
	put(identity.FirstWide, "yes")
	put(identity.FirstWide+1, "no")
	put(identity.LastWide, "yes")
	in := policy.Selector{{Key: "in", Op: policy.In, Values: []string{"yes"}}}
	p := policy.Policy{Name: "NetworkPolicy shop/all", Tier: policy.Namespace, Subject: policy.Workloads{Namespace: "shop"}}
	p.Governs[policy.Ingress] = true
	p.Rules[policy.Ingress] = []policy.Rule{{Name: "ingress 0", Peers: []policy.Peer{{Workloads: &policy.Workloads{Namespace: "shop", Endpoints: in}}}}}
	world.Policies = []*policy.Policy{&p}
	subject := generatorEndpoints[0]
	b := policy.Believed{Trust: identity.TrustBits, Regions: map[netip.Prefix]policy.Form{worldPeer: policy.Wide}, Exact: map[netip.Addr]identity.Number{}}
	for i, n := range []identity.Number{identity.FirstWide, identity.FirstWide + 1, identity.LastWide} {
		b.Exact[withoutBits(i)] = n
	}
	c, err := policy.NewCompiler(world).CompileAll(map[netip.Addr]policy.Subject{subject: {Number: 0x100, Set: world.Identities[0x100]}}, b)
	must(t, err)
	writer, err := (&Table{maps: &Maps{byName: w.maps}}).Policies()
	must(t, err)
	_, err = writer.Reconcile(c)
	must(t, err)
	have, err := held[policyPeer, policy.Bits](w.maps["policy_peers"])
	must(t, err)
	if want := int(identity.LastWorkload-identity.FirstWorkload) + 1 - 1 + 2; len(have) != want {
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
	w.state.Policy = &datapath.Policy{Compiled: c, Who: c.Believed.Directory()}
	w.state.Settings.Generation = w.generation(t)
	for i, want := range []datapath.Why{datapath.Local, datapath.Denied, datapath.Local, datapath.Denied} { // the last has no entry
		w.arrives(t, withoutBits(i), subject, want)
	}
}

// withoutBits are addresses of another host that say no number.
func withoutBits(i int) netip.Addr {
	raw := worldPeer.Addr().As16()
	raw[15] = byte(1 + i)
	return netip.AddrFrom16(raw)
}

// arrives sends a packet that begins a flow over the uplink, through the program and its twin.
func (w *world) arrives(t *testing.T, from, to netip.Addr, want datapath.Why) {
	t.Helper()
	p := datapath.Packet{Place: datapath.FromUplink, Link: w.links["up0"], Came: w.links["up0"], Now: w.now}
	p.Frame = (&generator{w: w}).plain(tuple{src: from, dst: to, srcPort: 999, dstPort: 80, proto: 17}, p.Link)
	copy(p.Frame[6:12], worldPeerMAC[:])
	twin := w.state.Judge(p)
	var got datapath.Outcome
	netnstest.Do(t, w.ns, func() (err error) {
		got, err = run(w.judge, p)
		return err
	})
	if got.Why != want || twin.Why != want {
		t.Errorf("%s to %s: want %s, the program says %s, its twin %s", from, to, want, got.Why, twin.Why)
	}
}

// TestWideNumbersComeAndGo: an exact entry says a number that does not fit into addresses while its labels are known, also to the next
// process; before and after that, nobody's. What stands in the map is nobody's for a program that reads 16 bits.
func TestWideNumbersComeAndGo(t *testing.T) {
	const n = identity.FirstWide + 7
	w := newWorld(t, 256)
	table := &Table{maps: &Maps{byName: w.maps}}
	writer, err := table.Policies()
	must(t, err)
	subject, other := generatorEndpoints[0], withoutBits(0)
	db, web := identity.Set{Namespace: "shop", Labels: map[string]string{"app": "db"}}, identity.Set{Namespace: "shop", Labels: map[string]string{"app": "web"}}
	p := &policy.Policy{Name: "NetworkPolicy shop/db", Tier: policy.Namespace, Subject: policy.Workloads{Namespace: "shop"}, Governs: [2]bool{policy.Ingress: true}}
	p.Rules[policy.Ingress] = []policy.Rule{{Name: "web", Peers: []policy.Peer{{Workloads: &policy.Workloads{Namespace: "shop",
		Endpoints: policy.Selector{{Key: "app", Op: policy.In, Values: []string{"web"}}}}}}}}
	compile := func(identities map[identity.Number]identity.Set) policy.Compiled {
		b := policy.Believed{Trust: identity.TrustBits, Regions: map[netip.Prefix]policy.Form{worldPeer: policy.Wide}, Exact: map[netip.Addr]identity.Number{other: n}}
		c, err := policy.NewCompiler(&policy.World{Policies: []*policy.Policy{p}, Identities: identities}).CompileAll(map[netip.Addr]policy.Subject{subject: {Set: db}}, b)
		must(t, err)
		return c
	}
	known := map[identity.Number]identity.Set{0x100: db, n: web}
	for _, step := range []struct {
		what       string
		identities map[identity.Number]identity.Set
		fresh      bool // the agent was started anew
		want       datapath.Why
	}{
		{"before its labels are known", map[identity.Number]identity.Set{0x100: db}, false, datapath.Denied},
		{"when they came", known, false, datapath.Local},
		{"after a restart", known, true, datapath.Local},
		{"when they went", map[identity.Number]identity.Set{0x100: db}, false, datapath.Denied},
		{"when they came back", known, false, datapath.Local},
		{"when they went while no agent ran", map[identity.Number]identity.Set{0x100: db}, true, datapath.Denied},
	} {
		if step.fresh {
			writer, err = table.Policies()
			must(t, err)
			must(t, writer.readKnown())
			if !writer.known.Has(n) {
				t.Errorf("%s: the maps are not read as knowing number %s", step.what, n)
			}
		}
		c := compile(step.identities)
		_, err := writer.Reconcile(c)
		must(t, err)
		if again, err := writer.Reconcile(c); err != nil || !again.Empty() {
			t.Errorf("%s, a second time: %+v, %v", step.what, again, err)
		}
		var packed uint32
		must(t, w.maps["who_exact"].Lookup(other.As16(), &packed))
		if packed&0xffff != 0 || (identity.Unpack(packed) == n) != (step.want == datapath.Local) {
			t.Errorf("%s: the entry is %#x", step.what, packed)
		}
		w.state.Policy = &datapath.Policy{Compiled: c, Who: c.Believed.Directory()}
		w.state.Settings.Generation = w.generation(t)
		must(t, w.forgetFlows())
		w.arrives(t, other, subject, step.want)
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
