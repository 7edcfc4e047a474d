package addressplan

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/model/prefix"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr  { return netip.MustParseAddr(s) }

// defaultPlan is the plan of the documentation: fabric /37, one cluster and one edge cluster, racks 1 to 3.
func defaultPlan() Plan {
	return Plan{
		Name: "lab", Prefix: pfx("2001:db8:a000::/37"), Lengths: DefaultLengths(), Lab: true, Rest: DefaultRest,
		Clusters: []Cluster{
			{Name: "c0", Number: 0, Racks: []Rack{{Name: "r1", Number: 1}, {Name: "r2", Number: 2}, {Name: "r3", Number: 3}}},
			{Name: "e0", Number: 2047, Edge: true, Racks: []Rack{{Name: "r1", Number: 1}}},
		},
		Hosts: []Host{{Name: "h18", Cluster: "c0", Rack: "r3", Number: 18}},
	}
}

func TestWhere(t *testing.T) {
	p := defaultPlan()
	h, err := p.PrefixOf(p.Hosts[0])
	if err != nil || h != pfx("2001:db8:a000:c12::/64") {
		t.Fatalf("host 18 of rack 3: %s, %v", h, err)
	}
	for a, want := range map[string]struct {
		level                  Level
		cluster, rack, host    string
		clusterN, rackN, hostN uint64
		role                   Role
		edge                   bool
	}{
		"2001:db8:a000:c12:1a7:38b:8d98:3":      {LevelHost, "c0", "r3", "h18", 0, 3, 18, RoleEndpoint, false},
		"2001:db8:a000:c12::":                   {LevelHost, "c0", "r3", "h18", 0, 3, 18, RoleReserved, false},
		"2001:db8:a000:c12:1::1":                {LevelHost, "c0", "r3", "h18", 0, 3, 18, RoleRouter, false},
		"2001:db8:a000:c12:2::42":               {LevelHost, "c0", "r3", "h18", 0, 3, 18, RoleLocator, false},
		"2001:db8:a000:c12:d0::42":              {LevelHost, "c0", "r3", "h18", 0, 3, 18, RoleBridge, false},
		"2001:db8:a000:c12:fdff:ffff:ffff:ff80": {LevelHost, "c0", "r3", "h18", 0, 3, 18, RoleReserved, false},
		"2001:db8:a000:c12:200:5eff:fe00:1":     {LevelHost, "c0", "r3", "h18", 0, 3, 18, RoleReserved, false},
		"2001:db8:a000:c13::5":                  {LevelHost, "c0", "r3", "", 0, 3, 19, RoleEndpoint, false},
		"2001:db8:a000::5":                      {LevelRack, "c0", "", "", 0, 0, 0, RoleRouters, false},
		"2001:db8:a000:1::5":                    {LevelRack, "c0", "", "", 0, 0, 0, RoleServices, false},
		"2001:db8:a000:2::5":                    {LevelRack, "c0", "", "", 0, 0, 0, RoleLoadBalancer, false},
		"2001:db8:a000:3::5":                    {LevelRack, "c0", "", "", 0, 0, 0, RoleFixed, false},
		"2001:db8:a000:4::192.0.2.1":            {LevelRack, "c0", "", "", 0, 0, 0, RolePref64, false},
		"2001:db8:a000:4:0:1::":                 {LevelRack, "c0", "", "", 0, 0, 0, RoleSpare, false},
		"2001:db8:a010:400::1":                  {LevelHost, "", "", "", 1, 1, 0, RoleEndpoint, false},
		"2001:db8:a7ff:400::1":                  {LevelHost, "e0", "r1", "", 2047, 1, 0, RoleEndpoint, true},
		"2001:db8:a800::1":                      {Outside, "", "", "", 0, 0, 0, RoleNone, false},
		"10.0.0.1":                              {Outside, "", "", "", 0, 0, 0, RoleNone, false},
	} {
		l := p.Locate(addr(a))
		if l.Level != want.level || l.Cluster.Name != want.cluster || l.Rack.Name != want.rack || l.Host.Name != want.host || l.Edge != want.edge ||
			l.Cluster.Number != want.clusterN || l.Rack.Number != want.rackN || l.Host.Number != want.hostN || l.Role != want.role {
			t.Errorf("Locate(%s) = %+v, want %+v", a, l, want)
		}
	}
}

// randomPlan makes a plan of random lengths that passes its own checks.
func randomPlan(r *rand.Rand) (Plan, bool) {
	fabric := 16 + r.IntN(50)
	l := Lengths{Fabric: fabric, Cluster: fabric + r.IntN(12)}
	l.EdgeCluster = l.Cluster + r.IntN(4)
	l.Rack = l.EdgeCluster + 1 + r.IntN(12)
	l.Host = l.Rack + r.IntN(20)
	raw := [16]byte{0xfd}
	for i := 1; i < 16; i++ {
		raw[i] = byte(r.Uint32())
	}
	p := Plan{Name: "random", Prefix: netip.PrefixFrom(netip.AddrFrom16(raw), fabric).Masked(), Lengths: l, Rest: DefaultRest}
	if l.Host > 126 || len(Errors(p.Check())) > 0 {
		return p, false
	}
	return p, true
}

func TestLocateIsInverseOfHostPrefix(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	done := 0
	for range 4000 {
		p, ok := randomPlan(r)
		if !ok {
			continue
		}
		c := Cluster{Number: r.Uint64N(prefix.Count(p.Prefix, p.Lengths.Cluster))}
		at, err := p.ClusterPrefix(c)
		if err != nil {
			t.Fatal(err)
		}
		rack := 1 + r.Uint64N(prefix.Count(at, p.Lengths.Rack)-1)
		rackPrefix, err := p.RackPrefix(c, rack)
		if err != nil {
			t.Fatal(err)
		}
		n := r.Uint64N(prefix.Count(rackPrefix, p.Lengths.Host))
		h, err := p.HostPrefix(c, rack, n)
		if err != nil {
			continue // a reserved number
		}
		for _, a := range []netip.Addr{h.Addr(), prefix.Last(h)} {
			l := p.Locate(a)
			if l.Level != LevelHost || l.Cluster.Number != c.Number || l.Rack.Number != rack || l.Host.Number != n || l.Host.Prefix != h {
				t.Fatalf("plan %s %+v: Locate(%s) = %+v, want cluster %d rack %d host %d", p.Prefix, p.Lengths, a, l, c.Number, rack, n)
			}
		}
		if !prefix.ContainsPrefix(rackPrefix, h) || !prefix.ContainsPrefix(at, rackPrefix) || !prefix.ContainsPrefix(p.Prefix, at) {
			t.Fatalf("plan %s: %s %s %s do not nest", p.Prefix, at, rackPrefix, h)
		}
		if again, err := p.HostPrefix(c, rack, n); err != nil || again != h {
			t.Fatalf("run again: %s, %v, want %s", again, err, h)
		}
		done++
	}
	if done < 1000 {
		t.Fatalf("only %d random plans were usable", done)
	}
}

func TestChildrenAreDisjoint(t *testing.T) {
	p := Plan{Name: "small", Prefix: pfx("fd12:3456:789a::/56"), Lengths: Lengths{56, 58, 59, 62, 64}, Rest: DefaultRest}
	var hosts []netip.Prefix
	for c := range uint64(4) {
		for r := uint64(1); r < 16; r++ {
			for h := range uint64(4) {
				q, err := p.HostPrefix(Cluster{Number: c}, r, h)
				if err != nil {
					t.Fatal(err)
				}
				hosts = append(hosts, q)
			}
		}
	}
	if pairs := prefix.Overlaps(hosts); len(pairs) > 0 {
		t.Errorf("%s and %s overlap", hosts[pairs[0][0]], hosts[pairs[0][1]])
	}
}

func TestLimitsAtEveryLevel(t *testing.T) {
	p := defaultPlan()
	c0 := p.Clusters[0]
	last := func(_ netip.Prefix, err error) error { return err }
	for _, c := range []struct {
		what string
		err  error
		ok   bool
	}{
		{"cluster 127", last(p.ClusterPrefix(Cluster{Number: 127})), true},
		{"cluster 128", last(p.ClusterPrefix(Cluster{Number: 128})), false},
		{"edge cluster 2047", last(p.ClusterPrefix(Cluster{Number: 2047, Edge: true})), true},
		{"edge cluster 2048", last(p.ClusterPrefix(Cluster{Number: 2048, Edge: true})), false},
		{"rack 1023", last(p.RackPrefix(c0, 1023)), true},
		{"rack 1024", last(p.RackPrefix(c0, 1024)), false},
		{"rack 63 of an edge cluster", last(p.RackPrefix(p.Clusters[1], 63)), true},
		{"rack 64 of an edge cluster", last(p.RackPrefix(p.Clusters[1], 64)), false},
		{"host 1023", last(p.HostPrefix(c0, 1, 1023)), true},
		{"host 1024", last(p.HostPrefix(c0, 1, 1024)), false},
		{"a host in rack 0", last(p.HostPrefix(c0, 0, 1)), false},
	} {
		if (c.err == nil) != c.ok {
			t.Errorf("%s: error %v, want ok %v", c.what, c.err, c.ok)
		}
	}
}

func TestParts(t *testing.T) {
	for host, want := range map[string]Parts{
		"2001:db8:0:7::/64":    {addr("2001:db8:0:7:1::1"), addr("2001:db8:0:7:3::1"), pfx("2001:db8:0:7:2::/80"), pfx("2001:db8:0:7:d0::/80")},
		"2001:db8:0:8::/60":    {},
		"2001:db8::7:0:0:0/80": {addr("2001:db8::7:1:0:1"), addr("2001:db8::7:3:0:1"), pfx("2001:db8::7:2:0:0/96"), pfx("2001:db8::7:d0:0:0/96")},
		"2001:db8::5:0:0/96":   {Router: addr("2001:db8::5:0:1")},
		"2001:db8::500/120":    {Router: addr("2001:db8::501")},
	} {
		got, err := PartsOf(pfx(host).Masked())
		if host == "2001:db8:0:8::/60" {
			if err != nil || got.Router != addr("2001:db8:0:0:1::1") {
				t.Errorf("the parts of a /60 lie in its first /64: %+v, %v", got, err)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("PartsOf(%s) = %+v, %v, want %+v", host, got, err, want)
		}
	}
	for _, bad := range []string{"2001:db8::/127", "10.0.0.0/24", "2001:db8::1/64"} {
		if got, err := PartsOf(pfx(bad)); err == nil {
			t.Errorf("PartsOf(%s) = %+v, want an error", bad, got)
		}
	}
}

func TestRFC2526_RFC5453_ReservedHostNumbers(t *testing.T) {
	p := Plan{Name: "eks", Prefix: pfx("2001:db8:7:100::/56"), Lengths: Lengths{56, 56, 56, 64, 80}, Rest: DefaultRest}
	c := Cluster{Name: "c0"}
	for n, ok := range map[uint64]bool{0: false, 1: true, 0x1ff: true, 0x200: false, 0x201: true, 0xfdfe: true, 0xfdff: false, 0xfe00: true, 0xffff: true, 0x10000: false} {
		if _, err := p.HostPrefix(c, 1, n); (err == nil) != ok {
			t.Errorf("host %#x: error %v, want ok %v", n, err, ok)
		}
	}
	rack, err := p.RackPrefix(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := reservedHosts(rack, 80); got != 3 {
		t.Errorf("%d reserved numbers in a /64 of /80, want 3", got)
	}
}

// reservedHosts counts by arithmetic; the slow twin asks for each number.
func TestReservedHostsAgainstLoop(t *testing.T) {
	for _, c := range []struct {
		rack string
		bits int
	}{{"2001:db8::/64", 76}, {"2001:db8::/62", 74}, {"2001:db8::200:0:0:0/72", 84}, {"2001:db8::fdff:ffff:0:0/96", 110}, {"2001:db8:0:1::/68", 80},
		{"2001:db8::/56", 64}, {"2001:db8::200:5eff:fe00:0/104", 112}, {"2001:db8::/64", 64}, {"2001:db8::/63", 70}} {
		rack := pfx(c.rack)
		var want uint64
		for n := range prefix.Count(rack, c.bits) {
			h, err := prefix.Child(rack, c.bits, n)
			if err != nil {
				t.Fatal(err)
			}
			if _, bad := reservedHost(h); bad {
				want++
			}
		}
		if got := reservedHosts(rack, c.bits); got != want {
			t.Errorf("reservedHosts(%s, /%d) = %d, loop says %d", rack, c.bits, got, want)
		}
	}
}

func TestRFC6052_2_2_Pref64HasZeroOctet(t *testing.T) {
	for host := 56; host <= 97; host++ {
		p := Plan{Name: "p", Prefix: pfx("2001:db8:7::/48"), Lengths: Lengths{48, 48, 48, 54, host}, Rest: DefaultRest}
		q, err := p.RolePrefix(Cluster{Name: "c0"}, RolePref64)
		if host == 56 || host > 96 {
			if err == nil || host > 96 && !strings.Contains(err.Error(), "64:ff9b::/96") {
				t.Errorf("hosts of /%d: %s, %v, want an error", host, q, err)
			}
			continue
		}
		if err != nil || q.Bits() != 96 || q.Addr().As16()[8] != 0 {
			t.Errorf("hosts of /%d: %s, %v, want a /96 with octet 8 zero", host, q, err)
		}
	}
}
