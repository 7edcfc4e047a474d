package controller

import (
	"slices"
	"strings"
	"testing"

	"hexapod.dev/api/v1alpha1"
)

// TestOneAddressOfTwoNodes: of two nodes with one InternalIP the second alone is refused, with a word that names both; what others read
// never has the address twice, and the second has it when the first is gone.
func TestOneAddressOfTwoNodes(t *testing.T) {
	b := newReachedBook()
	spec := func(addrs ...string) *v1alpha1.HostSpec {
		s := &v1alpha1.HostSpec{Uplinks: []v1alpha1.Uplink{{Name: "up0", Address: address(addrs[0])}}}
		for _, a := range addrs {
			s.Addresses = append(s.Addresses, address(a))
		}
		return s
	}
	first := v1alpha1.NewHost("first", *spec("3fff:f::1"))
	b.restart(func() []*v1alpha1.Host { return []*v1alpha1.Host{first} })
	if p, _ := b.claim("first", spec("3fff:f::1")); p != nil {
		t.Fatalf("the first is refused: %v", p)
	}
	second := spec("3fff:f::1", "3fff:f::2")
	p, _ := b.claim("second", second)
	if p == nil || p.Why != HostAddressTaken || !strings.Contains(p.Text, "3fff:f::1") || !strings.Contains(p.Text, "node first") || !strings.Contains(p.Text, "node second") {
		t.Fatalf("the second: %v, want a problem that names the address and both nodes", p)
	}
	if got := reachedBy(*second); len(got) != 1 || got[0] != address("3fff:f::2").Addr {
		t.Errorf("others are told that the second is reached by %v", got)
	}
	if p, _ := b.claim("third", spec("3fff:f::3")); p != nil {
		t.Errorf("a third is refused: %v", p)
	}
	if _, freed := b.claim("first", spec("3fff:f::9")); !slices.Equal(freed, []string{"second"}) {
		t.Errorf("the first has another address, and %v are looked at again, want the second", freed)
	}
	if p, _ := b.claim("second", spec("3fff:f::1", "3fff:f::2")); p != nil {
		t.Errorf("the second, when the address is free: %v", p)
	}
	if p, _ := b.claim("first", spec("3fff:f::2")); p == nil {
		t.Error("the first got an address of the second")
	}
	if freed := b.forget("second"); !slices.Equal(freed, []string{"first"}) {
		t.Errorf("the second is gone, and %v are looked at again, want the first", freed)
	}
}
