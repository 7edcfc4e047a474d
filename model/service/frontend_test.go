package service_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

var compareAddr = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// ep makes an endpoint 2001:db8::n.
func ep(n byte, state service.State, about ...func(*service.Endpoint)) service.Endpoint {
	a := netip.MustParseAddr("2001:db8::").As16()
	a[15] = n
	e := service.Endpoint{Addr: netip.AddrFrom16(a), State: state}
	for _, f := range about {
		f(&e)
	}
	return e
}

func on(node string) func(*service.Endpoint) {
	return func(e *service.Endpoint) { e.Node, e.Zone = node, "z"+node }
}

func forZones(z ...string) func(*service.Endpoint) {
	return func(e *service.Endpoint) { e.HintZones = z }
}

func forNodes(n ...string) func(*service.Endpoint) {
	return func(e *service.Endpoint) { e.HintNodes = n }
}

const (
	up      = service.Ready | service.Serving
	leaving = service.Serving | service.Terminating
	dead    = service.Terminating
)

func TestChoose(t *testing.T) {
	local := func(s *service.Service) { s.LocalOnly = true }
	publish := func(s *service.Service) { s.NotReadyToo = true }
	prefer := func(d service.Distribution) func(*service.Service) {
		return func(s *service.Service) { s.Distribution = d }
	}
	for _, c := range []struct {
		name      string
		change    func(*service.Service)
		endpoints []service.Endpoint
		want      string // last digits of the backends
		why       service.Why
	}{
		{"every ready one", nil, []service.Endpoint{ep(1, up), ep(2, 0), ep(3, up)}, "13", ""},
		{"none at all", nil, nil, "", service.NoEndpoints},
		{"none ready", nil, []service.Endpoint{ep(1, 0), ep(2, dead)}, "", service.NoneReady},
		{"KEP-1669: ready before leaving", nil, []service.Endpoint{ep(1, leaving), ep(2, up)}, "2", ""},
		{"KEP-1669: leaving when none is ready", nil, []service.Endpoint{ep(1, leaving), ep(2, dead), ep(3, 0)}, "1", service.OnlyLeaving},
		{"serving, neither ready nor leaving", nil, []service.Endpoint{ep(1, service.Serving)}, "", service.NoneReady},
		{"not ready published", publish, []service.Endpoint{ep(1, 0), ep(2, up)}, "12", ""},
		{"not ready published, on its way out", publish, []service.Endpoint{ep(1, dead)}, "1", ""},
		{"ready and on its way out", nil, []service.Endpoint{ep(1, up|service.Terminating)}, "1", ""},
		{"Local", local, []service.Endpoint{ep(1, up, on("a")), ep(2, up, on("b"))}, "1", ""},
		{"Local without one here", local, []service.Endpoint{ep(2, up, on("b"))}, "", service.NoneHere},
		{"Local, host of the endpoint not known", local, []service.Endpoint{ep(2, up)}, "", service.NoneHere},
		{"Local, the one here is leaving", local, []service.Endpoint{ep(1, leaving, on("a")), ep(2, up, on("b"))}, "1", service.OnlyLeaving},
		{"zone hints", nil, []service.Endpoint{ep(1, up, forZones("za")), ep(2, up, forZones("zb"))}, "1", ""},
		{"zone hints of several zones", nil, []service.Endpoint{ep(1, up, forZones("zb", "za")), ep(2, up, forZones("zb"))}, "1", ""},
		{"one endpoint without a hint", nil, []service.Endpoint{ep(1, up, forZones("za")), ep(2, up)}, "12", ""},
		{"an unready endpoint without a hint", nil, []service.Endpoint{ep(1, up, forZones("za")), ep(2, 0), ep(3, up, forZones("zb"))}, "1", ""},
		{"no hint for here", nil, []service.Endpoint{ep(1, up, forZones("zc")), ep(2, up, forZones("zb"))}, "12", ""},
		{"node hints before zone hints", nil, []service.Endpoint{
			ep(1, up, forNodes("a"), forZones("za")), ep(2, up, forNodes("b"), forZones("za"))}, "1", ""},
		{"no node hint for here, zone hint", nil, []service.Endpoint{
			ep(1, up, forNodes("c"), forZones("za")), ep(2, up, forNodes("b"), forZones("zb"))}, "1", ""},
		{"Local does not look at hints", local, []service.Endpoint{ep(1, up, on("a"), forZones("zb")), ep(2, up, on("b"), forZones("za"))}, "1", ""},
		{"PreferSameZone without a plan", prefer(service.PreferSameZone), []service.Endpoint{ep(1, up, on("a")), ep(2, up, on("b"))}, "1", ""},
		{"PreferClose is PreferSameZone", prefer(service.PreferClose), []service.Endpoint{ep(1, up, on("a")), ep(2, up, on("b"))}, "1", ""},
		{"PreferSameZone, nobody in the zone", prefer(service.PreferSameZone), []service.Endpoint{ep(1, up, on("c")), ep(2, up, on("b"))}, "12", ""},
		{"PreferSameNode", prefer(service.PreferSameNode), []service.Endpoint{
			ep(1, up, on("a")), ep(2, up, func(e *service.Endpoint) { e.Node, e.Zone = "b", "za" })}, "1", ""},
		{"PreferSameNode falls back to the zone", prefer(service.PreferSameNode), []service.Endpoint{
			ep(1, up, on("c")), ep(2, up, func(e *service.Endpoint) { e.Node, e.Zone = "b", "za" })}, "2", ""},
		{"one endpoint twice, the better word counts", nil, []service.Endpoint{ep(1, 0), ep(1, up), ep(1, leaving)}, "1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := one(c.endpoints)
			if c.change != nil {
				c.change(&s.Service)
			}
			list, why := service.For(s, service.Place{Node: "a", Zone: "za"})
			if len(list) != 1 || why != "" {
				t.Fatalf("%d frontends, %q", len(list), why)
			}
			have := ""
			for _, b := range list[0].Backends {
				a := b.Addr().As16()
				have += string(rune('0' + a[15]))
			}
			if have != c.want || list[0].Why != c.why {
				t.Errorf("backends %q (%q), want %q (%q)", have, list[0].Why, c.want, c.why)
			}
		})
	}
}

// one is a service with one VIP and one port.
func one(endpoints []service.Endpoint) service.Source {
	return service.Source{
		Service: service.Service{
			Name:  service.Name{Namespace: "shop", Name: "web"},
			VIPs:  []netip.Addr{netip.MustParseAddr("2001:db8:f::1")},
			Ports: []service.Port{{Name: "http", Protocol: transport.TCP, Port: 80}},
		},
		Slices: []service.Slice{{Name: "web-1", Ports: []service.SlicePort{{Name: "http", Protocol: transport.TCP, Port: 8080}}, Endpoints: endpoints}},
	}
}

func TestNothingToServe(t *testing.T) {
	for _, c := range []struct {
		change func(*service.Service)
		why    service.Why
	}{
		{func(s *service.Service) { s.VIPs = nil }, service.Headless},
		{func(s *service.Service) { s.External, s.VIPs = true, nil }, service.IsExternal},
		{func(s *service.Service) { s.Proxy = "mine" }, service.ElsewhereOwn},
		{func(s *service.Service) { s.Ports = nil }, service.NoPorts},
	} {
		s := one([]service.Endpoint{ep(1, up)})
		c.change(&s.Service)
		if list, why := service.For(s, service.Place{}); len(list) != 0 || why != c.why {
			t.Errorf("%d frontends, %q, want none and %q", len(list), why, c.why)
		}
	}
}

// A service of both families has each family's own endpoints, whichever address comes first, and every port its own.
func TestFamiliesAndPorts(t *testing.T) {
	v6, v4 := netip.MustParseAddr("2001:db8:f::1"), netip.MustParseAddr("192.0.2.1")
	ports := []service.SlicePort{
		{Name: "dns", Protocol: transport.UDP, Port: 5353}, {Name: "dns", Protocol: transport.TCP, Port: 5354},
		{Name: "sig", Protocol: transport.SCTP, Port: 132}, {Name: "none", Protocol: transport.TCP},
	}
	for _, vips := range [][]netip.Addr{{v6, v4}, {v4, v6}} {
		s := service.Source{
			Service: service.Service{VIPs: vips, AffinitySeconds: 60, Ports: []service.Port{
				{Name: "dns", Protocol: transport.UDP, Port: 53}, {Name: "dns", Protocol: transport.TCP, Port: 53},
				{Name: "sig", Protocol: transport.SCTP, Port: 9}, {Name: "none", Protocol: transport.TCP, Port: 1}, {Name: "lost", Protocol: transport.TCP, Port: 2},
			}},
			Slices: []service.Slice{
				{Name: "six", Ports: ports, Endpoints: []service.Endpoint{ep(1, up)}},
				{Name: "four", Ports: ports, Endpoints: []service.Endpoint{{Addr: netip.MustParseAddr("198.51.100.7"), State: up}}},
			},
		}
		list, _ := service.For(s, service.Place{})
		var have []string
		for _, f := range list {
			line := f.Key.String()
			for _, b := range f.Backends {
				line += " " + b.String()
			}
			have = append(have, line+string(f.Why))
			if f.AffinitySeconds != 60 {
				t.Errorf("%s has affinity %d", f.Key, f.AffinitySeconds)
			}
		}
		none := string(service.NoEndpoints)
		want := []string{
			"192.0.2.1:1 TCP" + none, "192.0.2.1:2 TCP" + none, "192.0.2.1:9 SCTP 198.51.100.7:132",
			"192.0.2.1:53 TCP 198.51.100.7:5354", "192.0.2.1:53 UDP 198.51.100.7:5353",
			"[2001:db8:f::1]:1 TCP" + none, "[2001:db8:f::1]:2 TCP" + none, "[2001:db8:f::1]:9 SCTP [2001:db8::1]:132",
			"[2001:db8:f::1]:53 TCP [2001:db8::1]:5354", "[2001:db8:f::1]:53 UDP [2001:db8::1]:5353",
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("-want +have\n%s", d)
		}
	}
}

// Slices come from a cluster in any order.
func TestOrderDoesNotMatter(t *testing.T) {
	s := one([]service.Endpoint{ep(3, up), ep(1, up)})
	s.Slices = append(s.Slices, service.Slice{Name: "web-2", Ports: s.Slices[0].Ports, Endpoints: []service.Endpoint{ep(2, up), ep(1, 0)}})
	first, _ := service.For(s, service.Place{})
	slices.Reverse(s.Slices)
	second, _ := service.For(s, service.Place{})
	if d := cmp.Diff(first, second, compareAddr, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("-first +second\n%s", d)
	}
	if len(first[0].Backends) != 3 {
		t.Errorf("backends %v", first[0].Backends)
	}
}

func TestTooManyBackends(t *testing.T) {
	for _, n := range []int{service.MaxBackends, service.MaxBackends + 1} {
		var list []service.Endpoint
		for i := range n {
			a := netip.MustParseAddr("2001:db8::").As16()
			a[14], a[15] = byte(i>>8), byte(i)
			list = append(list, service.Endpoint{Addr: netip.AddrFrom16(a), State: up})
		}
		f, _ := service.For(one(list), service.Place{})
		want := service.Why("")
		if n > service.MaxBackends {
			want = service.TooMany
		}
		if len(f[0].Backends) != service.MaxBackends || f[0].Why != want {
			t.Errorf("%d endpoints: %d backends, %q", n, len(f[0].Backends), f[0].Why)
		}
	}
}
