package agent

import (
	"net/netip"
	"testing"

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
