//go:build cluster

package controller

import (
	"net/netip"
	"testing"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
	"hexapod.dev/model/identity"
)

// TestSlices: what an agent says of addresses in its host's prefix becomes a slice, with the rights that the controller has and no more; what it
// says of others' addresses does not. A host that is gone leaves none, and the next revision is higher than what any agent has.
func TestSlices(t *testing.T) {
	k := newCluster(t, labPlan())
	k.node("a", "east")
	k.Apply("kustomize/base/namespace.yaml")
	k.Apply("kustomize/base/controller-rbac.yaml")
	k.start(Options{Client: k.ClientAs(k.Token("hexapod-system", "hexapod-controller", nil)), Namespace: "hexapod-system"})
	k.eventually("the host is known", func() bool { return len(list(k, objects.Hosts())) == 1 })
	h, _ := k.find("a")
	own := h.Spec.Prefix.Addr().Next()
	foreign := netip.MustParseAddr("2001:db8:ffff::1")
	said := func(n identity.Number) v1alpha1.HostReport {
		return v1alpha1.HostReport{Entries: 40, Exact: []v1alpha1.AddressEntry{{Identity: uint16(n), Addresses: []v1alpha1.Addr{v1alpha1.AddrFrom(own), v1alpha1.AddrFrom(foreign)}}}}
	}
	got := func() (map[netip.Addr]identity.Number, int64) {
		s := list(k, objects.AddressSlices())
		var revision int64
		for _, o := range s {
			revision = max(revision, o.Spec.Revision)
		}
		return entriesOf(s), revision
	}
	report := make1(k, objects.HostStatuses(), v1alpha1.NewHostStatus("a", said(0x100)))
	k.eventually("the slice says who has the host's address", func() bool { exact, _ := got(); return exact[own] == 0x100 })
	report.Status = said(0x101)
	if _, err := objects.In(k.c, objects.HostStatuses()).Update(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	k.eventually("the endpoint was relabelled", func() bool { exact, _ := got(); return exact[own] == 0x101 })
	exact, revision := got()
	if _, believed := exact[foreign]; believed || len(exact) != 1 {
		t.Errorf("the host is believed for addresses that are not its own: %v", exact)
	}
	if revision <= 40 {
		t.Errorf("revision %d, and an agent has 40 already", revision)
	}
	k.eventually("that is said", func() bool {
		for _, e := range list(k, objects.Events()) {
			if e.InvolvedObject.Name == "a" && e.Reason == string(NotItsAddress) {
				return true
			}
		}
		return false
	})
	if err := objects.In(k.c, objects.Nodes()).Delete(t.Context(), "a", objects.Only{}); err != nil {
		t.Fatal(err)
	}
	k.eventually("a host that is gone leaves no slice", func() bool { exact, _ := got(); return len(exact) == 0 })
}
