package desired_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"testing"

	"hexapod.dev/model/desired"
)

// IFNAMSIZ is 16 with the closing zero (linux/if.h).
func TestLinkName(t *testing.T) {
	form := regexp.MustCompile(`^hx[a-z2-7]{11}$`)
	seen := map[string]desired.EndpointKey{}
	for i := range 20_000 {
		k := desired.EndpointKey{Container: fmt.Sprintf("c%d", i/2), Interface: fmt.Sprintf("eth%d", i%2)}
		n := desired.LinkName(k)
		if !form.MatchString(n) {
			t.Fatalf("name of %s is %q, want %s", k, n, form)
		}
		if other, ok := seen[n]; ok {
			t.Fatalf("%s and %s have one name %s", k, other, n)
		}
		seen[n] = k
	}
}

// Names are written in the kernel: another hash in a later version would orphan living links.
func TestNamesStayTheSame(t *testing.T) {
	k := desired.EndpointKey{Container: "0123456789abcdef", Interface: "eth0"}
	have := fmt.Sprint(desired.LinkName(k), " ", desired.HostMAC(k), " ", desired.EndpointMAC(k), " ", desired.LinkAlias(k))
	const want = "hxb7bixk6vcqm aa:6f:3d:ce:93:19 d6:3f:b4:28:12:72 hexapod:0123456789abcdef/eth0"
	if have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
}

// The boundary between container and interface is part of the key.
func TestKeysDoNotRunTogether(t *testing.T) {
	a := desired.EndpointKey{Container: "ab", Interface: "c"}
	b := desired.EndpointKey{Container: "a", Interface: "bc"}
	if desired.LinkName(a) == desired.LinkName(b) || desired.EndpointMAC(a) == desired.EndpointMAC(b) {
		t.Errorf("%s and %s share a name or an address", a, b)
	}
}

func TestMACsAreLocalUnicast(t *testing.T) {
	for i := range 1000 {
		k := desired.EndpointKey{Container: fmt.Sprint(i), Interface: "eth0"}
		for _, m := range []desired.MAC{desired.HostMAC(k), desired.EndpointMAC(k)} {
			if m[0]&3 != 2 {
				t.Fatalf("%s of %s is not a locally administered unicast address", m, k)
			}
		}
		if desired.HostMAC(k) == desired.EndpointMAC(k) {
			t.Fatalf("both ends of %s have %s", k, desired.HostMAC(k))
		}
	}
}

func TestKeyOfAlias(t *testing.T) {
	k := desired.EndpointKey{Container: "c1", Interface: "eth0"}
	if back, ok := desired.KeyOfAlias(desired.LinkAlias(k)); !ok || back != k {
		t.Errorf("KeyOfAlias(%q) = %v, %t", desired.LinkAlias(k), back, ok)
	}
	for _, alias := range []string{"", "c1/eth0", "hexapod:", "hexapod:c1", "hexapod:c1/", "hexapod:/eth0", "other:c1/eth0"} {
		if k, ok := desired.KeyOfAlias(alias); ok {
			t.Errorf("KeyOfAlias(%q) = %v, want none", alias, k)
		}
	}
}

func TestRouterAddr(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"2001:db8:a000:c12::/64", "2001:db8:a000:c12:1::1"},
		{"2001:db8:a000:c00::/56", "2001:db8:a000:c00:1::1"},
		{"2001:db8:a000:c12:7::/80", "2001:db8:a000:c12:7:1:0:1"},
		{"2001:db8:a000:c12::8:0/112", "2001:db8:a000:c12::8:1"},
		{"2001:db8:a000:c12:8000::/81", "2001:db8:a000:c12:8000::1"},
		{"2001:db8::fffc/126", "2001:db8::fffd"},
		{"2001:db8::fffe/127", "invalid IP"},
		{"192.0.2.0/24", "invalid IP"},
	} {
		if a := desired.RouterAddr(netip.MustParsePrefix(c.prefix)); a.String() != c.want {
			t.Errorf("RouterAddr(%s) = %s, want %s", c.prefix, a, c.want)
		}
	}
	if a := desired.RouterAddr(netip.Prefix{}); a.IsValid() {
		t.Errorf("no prefix has router address %s", a)
	}
}
