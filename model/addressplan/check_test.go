package addressplan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/model/ipam"
)

func netipPrefix(bits int) netip.Prefix {
	return netip.PrefixFrom(addr("fd12:3456:789a:8000::"), bits).Masked()
}

func TestCheckTellsEveryProblem(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Plan)
		want   []string // parts of the problems, in order; none: the plan is good
	}{
		"good":                     {func(*Plan) {}, nil},
		"levels do not nest":       {func(p *Plan) { p.Lengths.Rack = 40 }, []string{"levels.rack: the rack of /40 does not lie in a cluster of /44", "levels.rack: the rack of /40 does not lie in an edge cluster"}},
		"fabric of another length": {func(p *Plan) { p.Lengths.Fabric = 36 }, []string{"levels.fabric: the fabric's level is /36"}},
		"no racks":                 {func(p *Plan) { p.Lengths.EdgeCluster, p.Lengths.Rack = 44, 44 }, []string{"one rack of /44"}},
		"host bits in prefix":      {func(p *Plan) { p.Prefix = pfx("2001:db8:a000::1/37") }, []string{"bits set behind its length"}},
		"sealed /80":               {func(p *Plan) { p.Lengths.Host, p.Sealed = 80, true }, []string{"leave no 64 bits to seal"}},
		"cluster number":           {func(p *Plan) { p.Clusters[0].Number = 128 }, []string{"clusters[0].number"}},
		"edge inside a cluster":    {func(p *Plan) { p.Clusters[1].Number = 5 }, []string{"cluster e0 (2001:db8:a005::/48) lies in cluster c0"}},
		"rack 0":                   {func(p *Plan) { p.Clusters[0].Racks[0].Number = 0 }, []string{"rack 0 is kept for roles"}},
		"rack twice":               {func(p *Plan) { p.Clusters[0].Racks[1] = Rack{Name: "r1", Number: 1} }, []string{"also racks[0]", "rack number 1 is also"}},
		"asn twice":                {func(p *Plan) { p.Clusters[0].Racks[0].ASN = 4200000003 }, []string{"AS 4200000004 would belong to the hosts of rack c0/r1 and to the ToR of rack c0/r2"}},
		"asn of the spine":         {func(p *Plan) { p.SpineASN = 4200000002 }, []string{"the spine and to the ToR of rack c0/r1"}},
		"unknown rack":             {func(p *Plan) { p.Hosts[0].Rack = "r9" }, []string{`has no rack "r9"`}},
		"host number":              {func(p *Plan) { p.Hosts[0].Number = 1024 }, []string{"host h18: spec.number"}},
		"host twice":               {func(p *Plan) { p.Hosts = append(p.Hosts, Host{Name: "h19", Cluster: "0", Rack: "3", Number: 18}) }, []string{"host h19: spec.number: prefix 2001:db8:a000:c12::/64 overlaps"}},
		"host name twice":          {func(p *Plan) { p.Hosts = append(p.Hosts, Host{Name: "h18", Cluster: "c0", Rack: "3", Number: 19}) }, []string{"two hosts of this name"}},
		"retired number again": {func(p *Plan) {
			p.Hosts = append(p.Hosts, Host{Name: "h1", Cluster: "0", Rack: "3", Number: 18, Retired: true})
		}, nil},
		"prefix of another":  {func(p *Plan) { p.Hosts[0].Prefix = pfx("2001:db8:a000:c13::/64") }, []string{"is not what the plan gives to number 18"}},
		"prefix of the plan": {func(p *Plan) { p.Hosts[0].Prefix = pfx("2001:db8:a000:c12::/64") }, nil},
		"all adopted, in the fabric": {func(p *Plan) {
			p.AdoptHosts = true
			p.Hosts[0].Adopted, p.Hosts[0].Prefix = true, pfx("2001:db8:a000:c13::/64")
		}, nil},
		"adopted in the fabric": {func(p *Plan) { p.Hosts[0].Adopted, p.Hosts[0].Prefix = true, pfx("2001:db8:a000:c13::/64") }, []string{"so it is numbered there"}},
		"adopted": {func(p *Plan) {
			p.Hosts[0].Adopted, p.Hosts[0].Prefix, p.RouterIDs = true, pfx("2001:db8:1::/80"), map[string]netip.Addr{"h18": addr("0.0.0.7")}
		}, nil},
		"one link of several hosts":         {shared("h18", "h19"), nil},
		"one link, hosts of the same group": {shared("h18", "n5670069"), []string{"would end like those of host h18, in " + groupText("h18")}},
		"one link, one of them alone":       {func(p *Plan) { shared("h18", "h19")(p); p.Hosts[0].Shared = false }, []string{"host h19: spec.number: prefix 2001:db8:1:2::/64 overlaps 2001:db8:1:2::/64 of host h18"}},
		"a link in another":                 {func(p *Plan) { shared("h18", "h19")(p); p.Hosts[0].Prefix = pfx("2001:db8:1::/63") }, []string{"host h18: spec.prefix: 2001:db8:1::/63 cannot be shared"}},
		"shared by number":                  {func(p *Plan) { p.Hosts[0].Shared = true }, []string{"host h18: spec.prefix: 2001:db8:a000:c12::/64 cannot be shared"}},
		"router id zero":                    {func(p *Plan) { p.RouterIDs = map[string]netip.Addr{"h18": addr("0.0.0.0")} }, []string{"0.0.0.0 is no router id"}},
		"router id twice":                   {func(p *Plan) { p.RouterIDs = map[string]netip.Addr{"h18": addr("128.0.0.1")} }, []string{"router id 128.0.0.1 would belong"}},
		"ipv4 too small":                    {func(p *Plan) { p.IPv4 = IPv4{pfx("10.0.0.0/16"), 24} }, []string{"host number 3090 of the fabric, and 10.0.0.0/16 holds 256 ranges"}},
		"ipv4":                              {func(p *Plan) { p.IPv4 = IPv4{pfx("10.0.0.0/8"), 24} }, nil},
		"too many router ids":               {func(p *Plan) { p.Lengths.Host, p.Hosts[0].Number = 80, 1 }, []string{"router id of h18: a fabric of /37 has 2^43 hosts of /80"}},
	} {
		p := defaultPlan()
		c.change(&p)
		got := p.Check()
		ok := len(got) == len(c.want)
		for i := range min(len(got), len(c.want)) {
			ok = ok && strings.Contains(got[i].String(), c.want[i])
		}
		if !ok {
			t.Errorf("%s:", name)
			for _, g := range got {
				t.Errorf("  got  %s", g)
			}
			for _, w := range c.want {
				t.Errorf("  want %s", w)
			}
		}
	}
}

func TestASNAndRouterIDs(t *testing.T) {
	p := defaultPlan()
	tor, hosts, err := p.RackASN(p.Clusters[0], p.Clusters[0].Racks[2])
	if err != nil || tor != 4200000006 || hosts != 4200000007 {
		t.Errorf("ASN of rack 3: %d, %d, %v", tor, hosts, err)
	}
	// Rack 1 of another cluster is another rack of the fabric.
	if other, _, err := p.RackASN(p.Clusters[1], p.Clusters[1].Racks[0]); err != nil || other != 4200000000+2*(2047*64+1) {
		t.Errorf("ASN of rack 1 of the edge cluster: %d, %v", other, err)
	}
	if id, err := p.RouterIDOf(p.Hosts[0]); err != nil || id != addr("0.0.12.18") {
		t.Errorf("router id of host 18 in rack 3: %s, %v", id, err)
	}
	if id, err := p.SpineRouterID(1); err != nil || id != addr("192.0.0.1") {
		t.Errorf("router id of spine 1: %s, %v", id, err)
	}
	if _, err := p.SpineRouterID(0); err == nil {
		t.Error("spine 0 got a router id")
	}
	if a, err := p.ToRLoopback(p.Clusters[0], p.Clusters[0].Racks[2]); err != nil || a != addr("2001:db8:a000::3") {
		t.Errorf("loopback of ToR 3: %s, %v", a, err)
	}
	if a, err := p.SpineLoopback(p.Clusters[0], 1); err != nil || a != addr("2001:db8:a000::1:0:1") {
		t.Errorf("loopback of spine 1: %s, %v", a, err)
	}
	// The private range ends at 4294967294 (RFC 6996): rack 47483646 of the fabric is the last.
	wide := Plan{Name: "wide", Prefix: pfx("fd00::/16"), Lengths: Lengths{16, 16, 16, 48, 64}}
	for n, ok := range map[uint64]bool{47483646: true, 47483647: false} {
		if _, top, err := wide.RackASN(Cluster{Name: "c0"}, Rack{Name: "r", Number: n}); (err == nil) != ok {
			t.Errorf("rack %d: AS %d, %v, want ok %v", n, top, err, ok)
		}
	}
	// 31 bits of hosts are the most that make router ids.
	for fabric, ok := range map[int]bool{33: true, 32: false} {
		q := Plan{Name: "q", Prefix: netip.PrefixFrom(addr("fd00::"), fabric), Lengths: Lengths{fabric, 44, 48, 54, 64},
			Clusters: []Cluster{{Name: "c0", Racks: []Rack{{Name: "r1", Number: 1}}}}}
		if _, err := q.RouterIDOf(Host{Name: "h", Cluster: "c0", Rack: "1"}); (err == nil) != ok {
			t.Errorf("fabric of /%d: %v, want ok %v", fabric, err, ok)
		}
	}
}

func TestHostIPv4Limit(t *testing.T) {
	p := defaultPlan()
	p.IPv4 = IPv4{pfx("10.0.0.0/8"), 24}
	for n, want := range map[uint64]string{18: "10.12.18.0/24", 1023: "10.15.255.0/24"} {
		h, err := p.HostPrefix(p.Clusters[0], 3, n)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.HostIPv4(h); err != nil || got != pfx(want) {
			t.Errorf("IPv4 of host %d: %s, %v, want %s", n, got, err, want)
		}
	}
	for rack, ok := range map[uint64]bool{63: true, 64: false} {
		h, err := p.HostPrefix(p.Clusters[0], rack, 1023)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.HostIPv4(h); (err == nil) != ok {
			t.Errorf("IPv4 of the last host of rack %d: %s, %v, want ok %v", rack, got, err, ok)
		}
	}
}

func TestRenumbered(t *testing.T) {
	before := defaultPlan()
	for name, c := range map[string]struct {
		change func(*Plan)
		want   string // empty: nothing is renumbered
	}{
		"same":           {func(*Plan) {}, ""},
		"another prefix": {func(p *Plan) { p.Prefix = pfx("2001:db8:a800::/37") }, "renumbered to 2001:db8:a800:c12::/64"},
		"another rack":   {func(p *Plan) { p.Hosts[0].Rack = "r2" }, "renumbered to 2001:db8:a000:812::/64"},
		"nibble":         {func(p *Plan) { p.Lengths.Rack = 52 }, "renumbered to 2001:db8:a000:3012::/64"},
		"rack gone":      {func(p *Plan) { p.Clusters[0].Racks = nil }, "would lose it"},
		"sealed":         {func(p *Plan) { p.Sealed = true }, "chosen when the plan is made"},
		"retired":        {func(p *Plan) { p.Prefix, p.Hosts[0].Retired = pfx("2001:db8:a800::/37"), true }, ""},
	} {
		after := defaultPlan()
		c.change(&after)
		got := Renumbered(before, after)
		if (len(got) == 0) != (c.want == "") || len(got) > 0 && !strings.Contains(got[0].String(), c.want) {
			t.Errorf("%s: %v, want %q", name, got, c.want)
		}
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		shape   Shape
		want    Lengths // zero: an error
		fabric  string
		problem string
	}{
		{Shape{From: pfx("2e00:1234::/32")}, DefaultLengths(), "2e00:1234::/37", ""},
		{Shape{From: pfx("2e00:1234::/32"), Fabric: 31}, DefaultLengths(), "2e00:1234:f800::/37", ""},
		{Shape{From: pfx("2e00:1234::/32"), Fabric: 32}, Lengths{}, "", "beyond the last child"},
		{Shape{From: pfx("2e00:1234::/32"), Nibble: true}, NibbleLengths(), "2e00:1234::/36", ""},
		{Shape{From: pfx("2e00:1234:1000::/40")}, Lengths{40, 44, 48, 54, 64}, "2e00:1234:1000::/40", ""},
		{Shape{From: pfx("2e00:1234:1::/48")}, Lengths{48, 48, 48, 56, 64}, "2e00:1234:1::/48", ""},
		{Shape{From: pfx("2e00:1234:1:100::/56")}, Lengths{56, 56, 56, 60, 64}, "2e00:1234:1:100::/56", ""},
		{Shape{From: pfx("2e00:1234:1:100::/56"), EKS: true}, Lengths{56, 56, 56, 64, 80}, "2e00:1234:1:100::/56", ""},
		{Shape{From: pfx("2e00:1234:1:100::/60")}, Lengths{}, "", "give the lengths"},
		{Shape{From: pfx("2e00:1234:1:100::/60"), Lengths: Lengths{Rack: 64, Host: 80}}, Lengths{60, 60, 60, 64, 80}, "2e00:1234:1:100::/60", ""},
		{Shape{From: pfx("2e00:1234::/32"), Lengths: Lengths{Fabric: 30}}, Lengths{}, "", "larger than"},
		{Shape{From: pfx("2001:db8::/32")}, Lengths{}, "", "no real network may use"},
		{Shape{From: pfx("2001:db8::/32"), Lab: true}, DefaultLengths(), "2001:db8::/37", ""},
		{Shape{From: pfx("fec0::/48")}, Lengths{}, "", "site-local"},
		{Shape{From: pfx("10.0.0.0/8")}, Lengths{}, "", "IPv4"},
		{Shape{From: pfx("2e00:1234:1:100::/56"), Racks: 15, Hosts: 16}, Lengths{56, 56, 56, 60, 64}, "2e00:1234:1:100::/56", ""},
		{Shape{From: pfx("2e00:1234:1:100::/56"), Racks: 16, Hosts: 1}, Lengths{}, "", "beyond the last child"},
		{Shape{From: pfx("2e00:1234:1:100::/56"), Racks: 1, Hosts: 17}, Lengths{}, "", "all 16 host numbers are taken"},
		{Shape{From: pfx("2e00:1234:1:100::/56"), EKS: true, Racks: 2, Hosts: 2}, Lengths{56, 56, 56, 64, 80}, "2e00:1234:1:100::/56", ""},
	} {
		c.shape.Name = "p"
		p, err := New(c.shape)
		if c.problem != "" {
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("New(%s) = %v, want %q", c.shape.From, err, c.problem)
			}
			continue
		}
		if err != nil || p.Lengths != c.want || p.Prefix != pfx(c.fabric) {
			t.Errorf("New(%s) = %s %+v, %v, want %s %+v", c.shape.From, p.Prefix, p.Lengths, err, c.fabric, c.want)
		}
	}
}

func TestRFC4193_3_2_ULA(t *testing.T) {
	if p, err := ULA([5]byte{0x12, 0x34, 0x56, 0x78, 0x9a}); err != nil || p != pfx("fd12:3456:789a::/48") {
		t.Errorf("ULA = %s, %v", p, err)
	}
	for _, b := range []byte{0, 1, 0xff} {
		if p, err := ULA([5]byte{b, b, b, b, b}); err == nil {
			t.Errorf("ULA of the byte %#x five times = %s, want an error", b, p)
		}
	}
}

// shared makes hosts of a plan that share the prefix of one link.
func shared(names ...string) func(*Plan) {
	return func(p *Plan) {
		p.Hosts, p.RouterIDs = nil, map[string]netip.Addr{}
		for i, name := range names {
			p.Hosts = append(p.Hosts, Host{Name: name, Prefix: pfx("2001:db8:1:2::/64"), Adopted: true, Shared: true})
			p.RouterIDs[name] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
		}
	}
}

func groupText(name string) string { return fmt.Sprintf("%06x", ipam.GroupOf(name)) }

// On a shared link an address belongs to the host whose group it ends in; one of nobody's group to nobody of the plan.
func TestLocateOnASharedLink(t *testing.T) {
	p := defaultPlan()
	shared("h18", "h19")(&p)
	for _, h := range p.Hosts {
		l, err := p.LayoutOf(h, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.Encode(ipam.Fields{Born: 59_000_000, Sequence: 7})
		if err != nil {
			t.Fatal(err)
		}
		if at := p.Locate(a); at.Host.Name != h.Name || at.Role != RoleEndpoint || !at.Shared || at.Host.Prefix != h.Prefix {
			t.Errorf("%s of host %s: %+v", a, h.Name, at)
		}
	}
	for _, a := range []string{"2001:db8:1:2::1", "2001:db8:1:2:5054:ff:fe12:3456"} {
		if at := p.Locate(addr(a)); at.Host.Name != "" {
			t.Errorf("%s of nobody: %+v", a, at)
		}
	}
}
