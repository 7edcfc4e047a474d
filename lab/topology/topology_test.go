package topology

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSizeLimits(t *testing.T) {
	for _, c := range []struct {
		size Size
		ok   bool
	}{
		{Size{Racks: 1, Hosts: 1, Endpoints: 0}, true},
		{Size{Racks: MaxRacks, Hosts: MaxHosts / MaxRacks, Endpoints: MaxEndpoints / MaxHosts}, true},
		{Size{Racks: MaxRacks + 1, Hosts: 1}, false},
		{Size{Racks: 1, Hosts: MaxHosts, Endpoints: 0}, true},
		{Size{Racks: 1, Hosts: MaxHosts + 1}, false},
		{Size{Racks: 1, Hosts: 1, Endpoints: MaxEndpoints}, true},
		{Size{Racks: 1, Hosts: 1, Endpoints: MaxEndpoints + 1}, false},
		{Size{Racks: 0, Hosts: 1, Endpoints: 1}, false},
		{Size{Racks: 1, Hosts: 0, Endpoints: 1}, false},
		{Size{Racks: 1, Hosts: 1, Endpoints: -1}, false},
		{Size{Racks: 1, Hosts: 1, Cables: MaxCables, TorsEach: MaxTors}, true},
		{Size{Racks: 1, Hosts: 1, Cables: MaxCables + 1}, false},
		{Size{Racks: 1, Hosts: 1, TorsEach: MaxTors + 1}, false},
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
	size := Size{Racks: MaxRacks, Hosts: MaxHosts / MaxRacks, Cables: MaxCables, TorsEach: MaxTors}
	seen := map[[2]string]bool{}
	for _, l := range size.Links(append(size.AllHosts(), Host{"r16h1023", 16, 1023})) {
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

func TestCablesAsTheOperatorReadsThem(t *testing.T) {
	size := Size{Racks: 1, Hosts: 1, Cables: 2, TorsEach: 2}
	var got []string
	for _, l := range size.Links(size.AllHosts()) {
		got = append(got, fmt.Sprintf("%s %s - %s %s", l.Above.Machine, l.Above.Link, l.Below.Machine, l.Below.Link))
	}
	want := []string{
		"outside to-spine - spine up0",
		"spine to-tor1 - tor1 up0",
		"spine to-tor1b - tor1b up0",
		"tor1 to-r1h1 - r1h1 up0",
		"tor1b to-r1h1-2 - r1h1 up1",
		"tor1 to-r1h1-3 - r1h1 up2",
		"tor1b to-r1h1-4 - r1h1 up3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cables (-want +got):\n%s", diff)
	}
	wantMachines := []string{"outside", "spine", "tor1", "tor1b", "r1h1"}
	if diff := cmp.Diff(wantMachines, size.Machines(size.AllHosts())); diff != "" {
		t.Errorf("machines (-want +got):\n%s", diff)
	}
}
