package agent

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/model/desired"
)

// A fixed address has gone to the next endpoint before the one that had it is taken out.
func TestHolderOfAnAddressThatWasHandedOver(t *testing.T) {
	addr := netip.MustParseAddr("2001:db8::7")
	endpoint := func(name string) desired.Endpoint {
		return desired.Endpoint{Key: desired.EndpointKey{Container: name, Interface: "eth0"}, Addrs: []netip.Addr{addr}}
	}
	old, next := endpoint("old"), endpoint("next")
	var s sections
	s.SetEndpoint(old)
	s.SetEndpoint(next)
	s.DeleteEndpoint(old.Key)
	if k, ok := s.Holder(addr); !ok || k != next.Key {
		t.Errorf("%s is held by %v (%v), want %v", addr, k, ok, next.Key)
	}
	s.DeleteEndpoint(next.Key)
	if k, ok := s.Holder(addr); ok {
		t.Errorf("%s is held by %v, want nobody", addr, k)
	}
}

// The other interfaces of a container are found by it, and no longer than they are there.
func TestKinOfAContainer(t *testing.T) {
	key := func(container, name string) desired.EndpointKey {
		return desired.EndpointKey{Container: container, Interface: name}
	}
	var s sections
	for _, k := range []desired.EndpointKey{key("a", "eth0"), key("a", "net1"), key("b", "eth0"), key("a", "eth0")} {
		s.SetEndpoint(desired.Endpoint{Key: k})
	}
	for _, c := range []struct {
		of   desired.EndpointKey
		want []desired.EndpointKey
	}{
		{key("a", "eth0"), []desired.EndpointKey{key("a", "net1")}}, {key("a", "net2"), []desired.EndpointKey{key("a", "net1"), key("a", "eth0")}},
		{key("b", "eth0"), nil}, {key("c", "eth0"), nil},
	} {
		var have []desired.EndpointKey
		for _, e := range s.Kin(c.of) {
			have = append(have, e.Key)
		}
		if diff := cmp.Diff(c.want, have); diff != "" {
			t.Errorf("kin of %s (-want +have):\n%s", c.of, diff)
		}
	}
	s.DeleteEndpoint(key("a", "net1"))
	if kin := s.Kin(key("a", "eth0")); len(kin) != 0 {
		t.Errorf("of an endpoint whose only kin went: %v", kin)
	}
}
