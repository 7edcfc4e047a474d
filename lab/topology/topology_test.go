package topology

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSizeLimits(t *testing.T) {
	for _, c := range []struct {
		size Size
		ok   bool
	}{
		{Size{1, 1, 0}, true},
		{Size{MaxRacks, MaxHosts / MaxRacks, MaxEndpoints / MaxHosts}, true},
		{Size{MaxRacks + 1, 1, 0}, false},
		{Size{1, MaxHosts, 0}, true},
		{Size{1, MaxHosts + 1, 0}, false},
		{Size{1, 1, MaxEndpoints}, true},
		{Size{1, 1, MaxEndpoints + 1}, false},
		{Size{0, 1, 1}, false},
		{Size{1, 0, 1}, false},
		{Size{1, 1, -1}, false},
	} {
		if err := c.size.Check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v, want ok %v", c.size, err, c.ok)
		}
	}
}

func TestParseHost(t *testing.T) {
	if h, err := ParseHost("r3h12"); err != nil || h != (Host{"r3h12", 3, 12}) {
		t.Errorf("r3h12: %+v, %v", h, err)
	}
	for _, s := range []string{"", "r1", "h1", "r1h", "r0h1", "r1h0", "r01h1", "r1h1x", "tor1", "r-1h1"} {
		if h, err := ParseHost(s); err == nil {
			t.Errorf("%q: %+v, want an error", s, h)
		}
	}
}

func TestLinkNamesFitTheKernel(t *testing.T) {
	const ifnamsiz = 16 // with the closing zero
	size := Size{MaxRacks, MaxHosts / MaxRacks, 0}
	seen := map[[2]string]bool{}
	for _, l := range Links(size.Racks, append(size.AllHosts(), Host{"r16h1023", 16, 1023})) {
		for _, e := range []End{l.Above, l.Below} {
			if len(e.Link) >= ifnamsiz {
				t.Errorf("%s on %s is too long", e.Link, e.Machine)
			}
			if key := [2]string{e.Machine, e.Link}; seen[key] {
				t.Errorf("two links %s on %s", e.Link, e.Machine)
			} else {
				seen[key] = true
			}
		}
	}
}

func TestRoutesAsTheOperatorReadsThem(t *testing.T) {
	hosts := Size{2, 1, 0}.AllHosts()
	p := Prefixes{
		Fabric: netip.MustParsePrefix("2001:db8:8000::/37"),
		Rack:   map[int]netip.Prefix{1: netip.MustParsePrefix("2001:db8:8010:400::/54"), 2: netip.MustParsePrefix("2001:db8:8010:800::/54")},
		Host:   map[string]netip.Prefix{"r1h1": netip.MustParsePrefix("2001:db8:8010:401::/64"), "r2h1": netip.MustParsePrefix("2001:db8:8010:801::/64")},
	}
	got := map[string][]string{}
	for machine, routes := range Routes(2, hosts, p) {
		for _, r := range routes {
			got[machine] = append(got[machine], r.String())
		}
	}
	want := map[string][]string{
		"outside": {"::/0 via fe80::1 dev up0"},
		"spine": {
			"blackhole 2001:db8:8000::/37",
			"blackhole 3fff:0:0:2::/64",
			"3fff:0:0:1::/64 via fe80::2 dev to-outside",
			"2001:db8:8010:400::/54 via fe80::2 dev to-tor1",
			"3fff:0:0:2::1/128 via fe80::2 dev to-tor1",
			"2001:db8:8010:800::/54 via fe80::2 dev to-tor2",
			"3fff:0:0:2::2/128 via fe80::2 dev to-tor2",
		},
		"tor1": {"::/0 via fe80::1 dev up0", "blackhole 2001:db8:8010:400::/54", "2001:db8:8010:401::/64 via fe80::2 dev to-r1h1"},
		"tor2": {"::/0 via fe80::1 dev up0", "blackhole 2001:db8:8010:800::/54", "2001:db8:8010:801::/64 via fe80::2 dev to-r2h1"},
		"r1h1": {"::/0 via fe80::1 dev up0"},
		"r2h1": {"::/0 via fe80::1 dev up0"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestRouterAddressesDiffer(t *testing.T) {
	seen := map[netip.Addr]string{}
	for _, name := range []string{Outside, Spine, "tor1", "tor2", "tor16"} {
		a := RouterAddr(name)
		if !a.IsValid() || seen[a] != "" {
			t.Errorf("%s has %s, which is invalid or that of %q", name, a, seen[a])
		}
		seen[a] = name
	}
	if a := RouterAddr("r1h1"); a.IsValid() {
		t.Errorf("a host has router address %s, want none: its agent gives it one", a)
	}
}
