package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"hexapod.dev/model/identity"
)

// TestTablesAgainstJudge asks the tables and the slow twin about the same flows in random worlds: 300 worlds of 1,000 flows, and
// 10,000 in a soak.
func TestTablesAgainstJudge(t *testing.T) {
	worlds := uint64(300)
	if os.Getenv("HEXAPOD_SOAK") != "" {
		worlds = 10_000
	}
	verdicts := map[Action]int{}
	for seed := range worlds {
		r := dice{rand.New(rand.NewPCG(seed, 64))}
		w := r.world()
		c := NewCompiler(w)
		s := r.subject(w)
		var tables [2]*Table
		for d := range tables {
			var err error
			if tables[d], err = c.Compile(s, Direction(d)); err != nil {
				t.Fatal(err)
			}
		}
		for range 1000 {
			f := r.flow()
			got, want := tables[f.Direction].Lookup(f), w.Judge(s, f)
			if got != want {
				t.Fatalf("world %d: %+v at %s: the table says %v, the rules %v", seed, f, s.Set, got, want)
			}
			verdicts[got.Action]++
		}
	}
	if verdicts[Accept] == 0 || verdicts[Deny] == 0 {
		t.Errorf("the worlds are too simple: %v", verdicts)
	}
}

// Rules that accept the same ports become one row when there are too many, and no verdict changes.
func TestSqueezeKeepsActions(t *testing.T) {
	for seed := range uint64(100) {
		r := dice{rand.New(rand.NewPCG(seed, 65))}
		w := r.world()
		var many Policy
		many.Name, many.Tier, many.Governs = "many", Namespace, [2]bool{true, true}
		s := r.subject(w)
		many.Subject = Workloads{Namespace: s.Set.Namespace}
		for i := range 2 * MaxRows {
			rule := Rule{Name: fmt.Sprint(i), Ports: []Port{{Protocol: TCP, First: uint16(i % 8), Last: uint16(i % 8)}}, Peers: []Peer{{Networks: []Block{r.block()}}}}
			many.Rules[Ingress] = append(many.Rules[Ingress], rule)
		}
		w.Policies = append(w.Policies, many)
		table, err := NewCompiler(w).Compile(s, Ingress)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			f := r.flow()
			f.Direction = Ingress
			if got, want := table.Lookup(f), w.Judge(s, f); got.Action != want.Action {
				t.Fatalf("world %d: %+v: the table says %v, the rules %v", seed, f, got, want)
			}
		}
	}
}

func TestTooManyRowsIsAnError(t *testing.T) {
	p := Policy{Name: "many", Tier: Namespace, Governs: [2]bool{true, false}, Subject: Workloads{Namespace: "web"}}
	for i := range MaxRows - 1 { // and the host's row and the closing one: one too many
		p.Rules[Ingress] = append(p.Rules[Ingress], Rule{Name: fmt.Sprint(i), Ports: []Port{{Protocol: TCP, First: uint16(i), Last: uint16(i)}}})
	}
	s := &Subject{Set: identity.Set{Namespace: "web"}}
	w := &World{Policies: []Policy{p}}
	if _, err := NewCompiler(w).Compile(s, Ingress); err == nil {
		t.Error("one row more than fits: no error")
	}
	w.Policies[0].Rules[Ingress] = p.Rules[Ingress][1:]
	if _, err := NewCompiler(w).Compile(s, Ingress); err != nil {
		t.Errorf("as many rows as fit: %v", err)
	}
}

// TestVerdicts holds what users know of both APIs, one small world each.
func TestVerdicts(t *testing.T) {
	web, db := identity.Set{Namespace: "shop", Labels: map[string]string{"app": "web"}}, identity.Set{Namespace: "shop", Labels: map[string]string{"app": "db"}}
	in := func(set identity.Set) Workloads {
		return Workloads{Namespace: set.Namespace, Endpoints: Selector{{Key: "app", Op: In, Values: []string{set.Labels["app"]}}}}
	}
	fromWeb := in(web)
	networkPolicy := func(rules ...Rule) Policy {
		return Policy{Name: "NetworkPolicy shop/db", Tier: Namespace, Subject: in(db), Governs: [2]bool{Ingress: true}, Rules: [2][]Rule{Ingress: rules}}
	}
	cluster := func(t Tier, a Action) Policy {
		return Policy{Name: "ClusterNetworkPolicy all", Tier: t, Subject: Workloads{Namespaces: &Selector{}}, Governs: [2]bool{true, true},
			Rules: [2][]Rule{Ingress: {{Name: "one", Action: a}}}}
	}
	postgres := Rule{Name: "postgres", Peers: []Peer{{Workloads: &fromWeb}}, Ports: []Port{{Protocol: TCP, First: 5432, Last: 5432}}}
	host := netip.MustParseAddr("2001:db8::1:0:0:1")
	for _, c := range []struct {
		name     string
		policies []Policy
		close    bool
		from     string // web, db, outside, host
		port     uint16
		want     Verdict
	}{
		{"nothing selects it", nil, false, "outside", 5432, Verdict{Accept, ByDefault}},
		{"outside is closed", nil, true, "outside", 5432, Verdict{Deny, ByOutside}},
		{"inside is not", nil, true, "web", 5432, Verdict{Accept, ByDefault}},
		{"published", nil, true, "outside", 443, Verdict{Accept, "Service shop/db"}},
		{"default deny", []Policy{networkPolicy()}, false, "web", 5432, Verdict{Deny, ByIsolation}},
		{"the host probes", []Policy{networkPolicy()}, false, "host", 5432, Verdict{Accept, ByHost}},
		{"allowed peer and port", []Policy{networkPolicy(postgres)}, false, "web", 5432, Verdict{Accept, "NetworkPolicy shop/db, postgres"}},
		{"another port", []Policy{networkPolicy(postgres)}, false, "web", 5433, Verdict{Deny, ByIsolation}},
		{"another peer", []Policy{networkPolicy(postgres)}, false, "db", 5432, Verdict{Deny, ByIsolation}},
		{"anybody means outside too", []Policy{networkPolicy(Rule{Name: "all"})}, true, "outside", 5432, Verdict{Accept, "NetworkPolicy shop/db, all"}},
		{"admin denies first", []Policy{networkPolicy(postgres), cluster(Admin, Deny)}, false, "web", 5432, Verdict{Deny, "ClusterNetworkPolicy all, one"}},
		{"admin passes", []Policy{networkPolicy(postgres), cluster(Admin, Pass)}, false, "web", 5432, Verdict{Accept, "NetworkPolicy shop/db, postgres"}},
		{"baseline where nothing else selects", []Policy{cluster(Baseline, Deny)}, false, "web", 5432, Verdict{Deny, "ClusterNetworkPolicy all, one"}},
		{"baseline is not asked behind a NetworkPolicy", []Policy{networkPolicy(postgres), cluster(Baseline, Deny)}, false, "web", 5432, Verdict{Accept, "NetworkPolicy shop/db, postgres"}},
		{"a host's number is nobody's labels", []Policy{cluster(Admin, Deny)}, false, "host", 5432, Verdict{Accept, ByHost}},
	} {
		w := &World{
			Policies: c.policies, CloseOutside: c.close,
			Identities: map[identity.Number]identity.Set{0x100: web, 0x101: db},
			Published:  []Publication{{Name: "Service shop/db", Subject: in(db), Ports: []Port{{Protocol: TCP, First: 443, Last: 443}}}},
		}
		others := map[string]Other{
			"web":     {netip.MustParseAddr("2001:db8::100:0:0:1"), identity.Answer{Number: 0x100, By: identity.ByBits}},
			"db":      {netip.MustParseAddr("2001:db8::101:0:0:1"), identity.Answer{Number: 0x101, By: identity.ByBits}},
			"outside": {netip.MustParseAddr("3fff::1"), identity.Answer{By: identity.Outside}},
			"host":    {host, identity.Answer{Number: identity.Host, By: identity.ByBits}},
		}
		s := &Subject{Number: 0x101, Set: db, Host: []netip.Addr{host}}
		f := Flow{Ingress, others[c.from], TCP, c.port}
		if got := w.Judge(s, f); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// BenchmarkCompile makes all tables of a host: 10,000 policies, 2,000 identities, 200 endpoints.
func BenchmarkCompile(b *testing.B) {
	w := &World{Identities: map[identity.Number]identity.Set{}}
	for n := range 2000 {
		w.Identities[identity.Number(0x100+n)] = identity.Set{Namespace: fmt.Sprint("ns", n%100), Labels: map[string]string{"app": fmt.Sprint("app", n%40), "tier": fmt.Sprint(n % 3)}}
	}
	for i := range 10_000 {
		app := func(n int) Workloads {
			return Workloads{Namespace: fmt.Sprint("ns", n%100), Endpoints: Selector{{Key: "app", Op: In, Values: []string{fmt.Sprint("app", n%40)}}}}
		}
		from, everywhere := app(i+1), Workloads{Namespaces: &Selector{}, Endpoints: Selector{{Key: "tier", Op: In, Values: []string{fmt.Sprint(i % 3)}}}}
		w.Policies = append(w.Policies, Policy{Name: fmt.Sprint(i), Tier: Namespace, Subject: app(i), Governs: [2]bool{true, false}, Rules: [2][]Rule{{
			{Name: "0", Peers: []Peer{{Workloads: &from}}, Ports: []Port{{Protocol: TCP, First: 80, Last: 90}}},
			{Name: "1", Peers: []Peer{{Workloads: &everywhere}}, Ports: []Port{{Protocol: TCP, First: uint16(i), Last: uint16(i)}}},
		}}})
	}
	b.ReportAllocs()
	for b.Loop() {
		c := NewCompiler(w)
		for n := range 200 {
			number := identity.Number(0x100 + n)
			s := &Subject{Number: number, Set: w.Identities[number]}
			for _, d := range []Direction{Ingress, Egress} {
				if _, err := c.Compile(s, d); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	r := dice{rand.New(rand.NewPCG(1, 66))}
	w := r.world()
	table, err := NewCompiler(w).Compile(r.subject(w), Ingress)
	if err != nil {
		b.Fatal(err)
	}
	f := r.flow()
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(f)
	}
}
