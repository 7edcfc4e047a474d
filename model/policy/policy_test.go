package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/policy/policytest"
	"hexapod.dev/model/transport"
)

// TestTablesAgainstJudge asks the tables and the slow twin about the same flows in random worlds: 300 worlds of 1,000 flows, and
// 10,000 in a soak.
func TestTablesAgainstJudge(t *testing.T) {
	worlds := uint64(300)
	if os.Getenv("HEXAPOD_SOAK") != "" {
		worlds = 10_000
	}
	verdicts := map[policy.Action]int{}
	for seed := range worlds {
		r := policytest.Dice{Rand: rand.New(rand.NewPCG(seed, 64))}
		w := r.World()
		c := policy.NewCompiler(w)
		s := r.Subject(w)
		var tables [2]*policy.Table
		for d := range tables {
			var err error
			if tables[d], err = c.Compile(s, policy.Direction(d)); err != nil {
				t.Fatal(err)
			}
		}
		for range 1000 {
			f := r.Flow()
			got, want := tables[f.Direction].Lookup(f), w.Judge(s, f)
			if got != want {
				t.Fatalf("world %d: %+v at %s: the table says %v, the rules %v", seed, f, s.Set, got, want)
			}
			verdicts[got.Action]++
		}
	}
	if verdicts[policy.Accept] == 0 || verdicts[policy.Deny] == 0 {
		t.Errorf("the worlds are too simple: %v", verdicts)
	}
}

// Rules that accept the same ports become one row when there are too many, and no verdict changes.
func TestSqueezeKeepsActions(t *testing.T) {
	for seed := range uint64(100) {
		r := policytest.Dice{Rand: rand.New(rand.NewPCG(seed, 65))}
		w := r.World()
		var many policy.Policy
		many.Name, many.Tier, many.Governs = "many", policy.Namespace, [2]bool{true, true}
		s := r.Subject(w)
		many.Subject = policy.Workloads{Namespace: s.Set.Namespace}
		for i := range 2 * policy.MaxRows {
			rule := policy.Rule{Name: fmt.Sprint(i), Ports: []policy.Port{{Protocol: transport.TCP, First: uint16(i % 8), Last: uint16(i % 8)}}, Peers: []policy.Peer{{Networks: []policy.Block{r.Block()}}}}
			many.Rules[policy.Ingress] = append(many.Rules[policy.Ingress], rule)
		}
		w.Policies = append(w.Policies, &many)
		table, err := policy.NewCompiler(w).Compile(s, policy.Ingress)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			f := r.Flow()
			f.Direction = policy.Ingress
			if got, want := table.Lookup(f), w.Judge(s, f); got.Action != want.Action {
				t.Fatalf("world %d: %+v: the table says %v, the rules %v", seed, f, got, want)
			}
		}
	}
}

func TestTooManyRowsIsAnError(t *testing.T) {
	p := policy.Policy{Name: "many", Tier: policy.Namespace, Governs: [2]bool{true, false}, Subject: policy.Workloads{Namespace: "web"}}
	for i := range policy.MaxRows - 1 { // and the host's row and the closing one: one too many
		p.Rules[policy.Ingress] = append(p.Rules[policy.Ingress], policy.Rule{Name: fmt.Sprint(i), Ports: []policy.Port{{Protocol: transport.TCP, First: uint16(i), Last: uint16(i)}}})
	}
	s := &policy.Subject{Set: identity.Set{Namespace: "web"}}
	w := &policy.World{Policies: []*policy.Policy{&p}}
	if _, err := policy.NewCompiler(w).Compile(s, policy.Ingress); err == nil {
		t.Error("one row more than fits: no error")
	}
	w.Policies[0].Rules[policy.Ingress] = p.Rules[policy.Ingress][1:]
	if _, err := policy.NewCompiler(w).Compile(s, policy.Ingress); err != nil {
		t.Errorf("as many rows as fit: %v", err)
	}
}

func pointers(in []policy.Policy) (out []*policy.Policy) {
	for i := range in {
		out = append(out, &in[i])
	}
	return out
}

// TestVerdicts holds what users know of both APIs, one small world each.
func TestVerdicts(t *testing.T) {
	web, db := identity.Set{Namespace: "shop", Labels: map[string]string{"app": "web"}}, identity.Set{Namespace: "shop", Labels: map[string]string{"app": "db"}}
	in := func(set identity.Set) policy.Workloads {
		return policy.Workloads{Namespace: set.Namespace, Endpoints: policy.Selector{{Key: "app", Op: policy.In, Values: []string{set.Labels["app"]}}}}
	}
	fromWeb := in(web)
	networkPolicy := func(rules ...policy.Rule) policy.Policy {
		return policy.Policy{Name: "NetworkPolicy shop/db", Tier: policy.Namespace, Subject: in(db), Governs: [2]bool{policy.Ingress: true}, Rules: [2][]policy.Rule{policy.Ingress: rules}}
	}
	cluster := func(t policy.Tier, a policy.Action) policy.Policy {
		return policy.Policy{Name: "ClusterNetworkPolicy all", Tier: t, Subject: policy.Workloads{Namespaces: &policy.Selector{}}, Governs: [2]bool{true, true},
			Rules: [2][]policy.Rule{policy.Ingress: {{Name: "one", Action: a}}}}
	}
	postgres := policy.Rule{Name: "postgres", Peers: []policy.Peer{{Workloads: &fromWeb}}, Ports: []policy.Port{{Protocol: transport.TCP, First: 5432, Last: 5432}}}
	host := netip.MustParseAddr("2001:db8::1:0:0:1")
	denyWeb := cluster(policy.Admin, policy.Deny)
	denyWeb.Name = "ClusterNetworkPolicy web"
	denyWeb.Rules[policy.Ingress] = []policy.Rule{{Name: "no", Action: policy.Deny, Peers: []policy.Peer{{Workloads: &fromWeb}}}}
	for _, c := range []struct {
		name     string
		policies []policy.Policy
		close    bool
		from     string // web, db, outside, host
		port     uint16
		want     policy.Verdict
	}{
		{"nothing selects it", nil, false, "outside", 5432, policy.Verdict{policy.Accept, policy.ByDefault}},
		{"outside is closed", nil, true, "outside", 5432, policy.Verdict{policy.Deny, policy.ByOutside}},
		{"inside is not", nil, true, "web", 5432, policy.Verdict{policy.Accept, policy.ByDefault}},
		{"published", nil, true, "outside", 443, policy.Verdict{policy.Accept, "Service shop/db"}},
		{"default deny", []policy.Policy{networkPolicy()}, false, "web", 5432, policy.Verdict{policy.Deny, policy.ByIsolation}},
		{"the host probes", []policy.Policy{networkPolicy()}, false, "host", 5432, policy.Verdict{policy.Accept, policy.ByHost}},
		{"allowed peer and port", []policy.Policy{networkPolicy(postgres)}, false, "web", 5432, policy.Verdict{policy.Accept, "NetworkPolicy shop/db, postgres"}},
		{"another port", []policy.Policy{networkPolicy(postgres)}, false, "web", 5433, policy.Verdict{policy.Deny, policy.ByIsolation}},
		{"another peer", []policy.Policy{networkPolicy(postgres)}, false, "db", 5432, policy.Verdict{policy.Deny, policy.ByIsolation}},
		{"anybody means outside too", []policy.Policy{networkPolicy(policy.Rule{Name: "all"})}, true, "outside", 5432, policy.Verdict{policy.Accept, "NetworkPolicy shop/db, all"}},
		{"admin denies first", []policy.Policy{networkPolicy(postgres), cluster(policy.Admin, policy.Deny)}, false, "web", 5432, policy.Verdict{policy.Deny, "ClusterNetworkPolicy all, one"}},
		{"admin passes", []policy.Policy{networkPolicy(postgres), cluster(policy.Admin, policy.Pass)}, false, "web", 5432, policy.Verdict{policy.Accept, "NetworkPolicy shop/db, postgres"}},
		{"baseline where nothing else selects", []policy.Policy{cluster(policy.Baseline, policy.Deny)}, false, "web", 5432, policy.Verdict{policy.Deny, "ClusterNetworkPolicy all, one"}},
		{"baseline is not asked behind a NetworkPolicy", []policy.Policy{networkPolicy(postgres), cluster(policy.Baseline, policy.Deny)}, false, "web", 5432, policy.Verdict{policy.Accept, "NetworkPolicy shop/db, postgres"}},
		{"a host's number is nobody's labels", []policy.Policy{cluster(policy.Admin, policy.Deny)}, false, "host", 5432, policy.Verdict{policy.Accept, policy.ByHost}},
		{"a number without labels is as outside", nil, true, "unknown", 5432, policy.Verdict{policy.Deny, policy.ByOutside}},
		{"and may reach what is published", nil, true, "unknown", 443, policy.Verdict{policy.Accept, "Service shop/db"}},
		{"no labels match it", []policy.Policy{networkPolicy(postgres)}, false, "unknown", 5432, policy.Verdict{policy.Deny, policy.ByIsolation}},
		{"but labels that are denied may be its own", []policy.Policy{networkPolicy(policy.Rule{Name: "all"}), denyWeb}, false, "unknown", 5432, policy.Verdict{policy.Deny, "ClusterNetworkPolicy web, no"}},
		{"others are not denied", []policy.Policy{networkPolicy(policy.Rule{Name: "all"}), denyWeb}, false, "db", 5432, policy.Verdict{policy.Accept, "NetworkPolicy shop/db, all"}},
		{"nor is a host", []policy.Policy{networkPolicy(policy.Rule{Name: "all"}), denyWeb}, false, "router", 5432, policy.Verdict{policy.Accept, "NetworkPolicy shop/db, all"}},
		{"nor the outside", []policy.Policy{networkPolicy(policy.Rule{Name: "all"}), denyWeb}, false, "outside", 5432, policy.Verdict{policy.Accept, "NetworkPolicy shop/db, all"}},
	} {
		w := &policy.World{
			Policies: pointers(c.policies), CloseOutside: c.close,
			Identities: map[identity.Number]identity.Set{0x100: web, 0x101: db},
			Published:  []policy.Publication{{Name: "Service shop/db", Subject: in(db), Ports: []policy.Port{{Protocol: transport.TCP, First: 443, Last: 443}}}},
		}
		others := map[string]policy.Other{
			"web":     {netip.MustParseAddr("2001:db8::100:0:0:1"), identity.Answer{Number: 0x100, By: identity.ByBits}},
			"db":      {netip.MustParseAddr("2001:db8::101:0:0:1"), identity.Answer{Number: 0x101, By: identity.ByBits}},
			"outside": {netip.MustParseAddr("3fff::1"), identity.Answer{By: identity.Outside}},
			"unknown": {netip.MustParseAddr("2001:db8::102:0:0:1"), identity.Answer{By: identity.ByBits}}, // as a directory says of 0x102
			"router":  {netip.MustParseAddr("2001:db8:1::1:0:0:1"), identity.Answer{Number: identity.Host, By: identity.ByBits}},
			"host":    {host, identity.Answer{Number: identity.Host, By: identity.ByBits}},
		}
		s := &policy.Subject{Number: 0x101, Set: db, Host: []netip.Addr{host}}
		f := policy.Flow{policy.Ingress, others[c.from], transport.TCP, c.port}
		if got := w.Judge(s, f); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if table, err := policy.NewCompiler(w).Compile(s, policy.Ingress); err != nil || table.Lookup(f) != c.want {
			t.Errorf("%s: the table says otherwise, %v", c.name, err)
		}
	}
}

// BenchmarkCompile makes all tables of a host: 10,000 policies, 2,000 identities, 200 endpoints.
func BenchmarkCompile(b *testing.B) {
	w := &policy.World{Identities: map[identity.Number]identity.Set{}}
	for n := range 2000 {
		w.Identities[identity.Number(0x100+n)] = identity.Set{Namespace: fmt.Sprint("ns", n%100), Labels: map[string]string{"app": fmt.Sprint("app", n%40), "tier": fmt.Sprint(n % 3)}}
	}
	for i := range 10_000 {
		app := func(n int) policy.Workloads {
			return policy.Workloads{Namespace: fmt.Sprint("ns", n%100), Endpoints: policy.Selector{{Key: "app", Op: policy.In, Values: []string{fmt.Sprint("app", n%40)}}}}
		}
		from, everywhere := app(i+1), policy.Workloads{Namespaces: &policy.Selector{}, Endpoints: policy.Selector{{Key: "tier", Op: policy.In, Values: []string{fmt.Sprint(i % 3)}}}}
		w.Policies = append(w.Policies, &policy.Policy{Name: fmt.Sprint(i), Tier: policy.Namespace, Subject: app(i), Governs: [2]bool{true, false}, Rules: [2][]policy.Rule{{
			{Name: "0", Peers: []policy.Peer{{Workloads: &from}}, Ports: []policy.Port{{Protocol: transport.TCP, First: 80, Last: 90}}},
			{Name: "1", Peers: []policy.Peer{{Workloads: &everywhere}}, Ports: []policy.Port{{Protocol: transport.TCP, First: uint16(i), Last: uint16(i)}}},
		}}})
	}
	b.ReportAllocs()
	for b.Loop() {
		c := policy.NewCompiler(w)
		for n := range 200 {
			number := identity.Number(0x100 + n)
			s := &policy.Subject{Number: number, Set: w.Identities[number]}
			for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
				if _, err := c.Compile(s, d); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	r := policytest.Dice{Rand: rand.New(rand.NewPCG(1, 66))}
	w := r.World()
	table, err := policy.NewCompiler(w).Compile(r.Subject(w), policy.Ingress)
	if err != nil {
		b.Fatal(err)
	}
	f := r.Flow()
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(f)
	}
}

// A number that came before its labels is as good as none, by bits and by an exact entry, until its labels are there.
func TestNumbersWithoutLabelsAreUnknown(t *testing.T) {
	region, single := netip.MustParsePrefix("2001:db8::/64"), netip.MustParseAddr("192.0.2.7")
	w := &policy.World{Identities: map[identity.Number]identity.Set{0x100: {Namespace: "shop"}}}
	b := policy.Believed{Trust: identity.TrustBits, Regions: map[netip.Prefix]policy.Form{region: policy.Wide}, Exact: map[netip.Addr]identity.Number{single: 0x102}}
	for addr, want := range map[string]identity.Answer{
		"2001:db8::100:0:0:1": {Number: 0x100, By: identity.ByBits}, "2001:db8::102:0:0:1": {By: identity.ByBits}, "192.0.2.7": {By: identity.ByEntry},
		"2001:db8::1:0:0:1": {Number: identity.Host, By: identity.ByBits}, "2001:db8::2:0:0:1": {Number: identity.Locator, By: identity.ByBits}, "3fff::1": {By: identity.Outside},
	} {
		b.Known = w.Known()
		if got := b.Directory().Who(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
	}
	w.Identities[0x102] = identity.Set{Namespace: "shop"}
	b.Known = w.Known()
	for _, addr := range []string{"2001:db8::102:0:0:1", "192.0.2.7"} {
		if got := b.Directory().Who(netip.MustParseAddr(addr)); got.Number != 0x102 {
			t.Errorf("%s with labels: %+v", addr, got)
		}
	}
}
