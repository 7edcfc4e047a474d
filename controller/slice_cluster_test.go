//go:build cluster

package controller

import (
	"net/netip"
	"strings"
	"testing"
	"time"

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
		return v1alpha1.HostReport{Entries: 40, Exact: []v1alpha1.AddressEntry{{Identity: uint32(n), Addresses: []v1alpha1.Addr{v1alpha1.AddrFrom(own), v1alpha1.AddrFrom(foreign)}}}}
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

// TestSetAfterAllNumbers: when every number that fits into addresses is taken, the next set gets one that does not, as an object that the API
// server takes; what an agent says of such a pod becomes a slice that says the number, and the plan says what happened, until no pod has the set.
func TestSetAfterAllNumbers(t *testing.T) {
	spec := labPlan()
	spec.Identity = v1alpha1.IdentityRules{Quarantine: v1alpha1.Duration{Duration: time.Second}}
	k := newCluster(t, spec)
	k.node("a", "east")
	c, _ := k.start(Options{})
	k.eventually("the host is known", func() bool { return len(list(k, objects.Hosts())) == 1 })
	h, _ := k.find("a")
	all := v1alpha1.HostReport{}
	for n := uint32(identity.FirstWorkload); n <= uint32(identity.LastWorkload); n++ {
		all.Identities = append(all.Identities, n)
	}
	report := make1(k, objects.HostStatuses(), v1alpha1.NewHostStatus("a", all))
	k.eventually("the report is heard", func() bool { _, carried := c.numbers.state(identity.LastWorkload); return carried })
	k.pod("default", "beyond", map[string]string{"app": "beyond"}, nil)
	name := v1alpha1.IdentityName(uint32(identity.FirstWide))
	k.eventually("the set has a number", func() bool {
		i, err := objects.In(k.c, objects.Identities()).Get(t.Context(), name)
		return err == nil && i.Spec.Labels["app"] == "beyond" && i.Spec.Number == uint32(identity.FirstWide)
	})
	said := func() v1alpha1.Condition {
		c, _ := list(k, objects.AddressPlans())[0].Status.Condition(v1alpha1.ConditionNumbers)
		return c
	}
	k.eventually("the plan says so", func() bool {
		return said().Status == v1alpha1.ConditionFalse && said().Reason == string(NumbersFull) && strings.Contains(said().Message, "AddressSlices")
	})

	own := h.Spec.Prefix.Addr().Next()
	report.Status.Identities = append(report.Status.Identities, uint32(identity.FirstWide))
	report.Status.Exact = []v1alpha1.AddressEntry{{Identity: uint32(identity.FirstWide), Addresses: []v1alpha1.Addr{v1alpha1.AddrFrom(own)}}}
	report, err := objects.In(k.c, objects.HostStatuses()).Update(t.Context(), report)
	if err != nil {
		t.Fatal(err)
	}
	k.eventually("the slice says who has the address", func() bool { return entriesOf(list(k, objects.AddressSlices()))[own] == identity.FirstWide })

	if err := objects.In(k.c, objects.Pods()).Namespace("default").Delete(t.Context(), "beyond", objects.Only{}); err != nil {
		t.Fatal(err)
	}
	report.Status.Identities, report.Status.Exact = nil, nil
	if _, err := objects.In(k.c, objects.HostStatuses()).Update(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	k.eventually("the number is out of use, and the plan says that all is well", func() bool {
		if i, err := objects.In(k.c, objects.Identities()).Get(t.Context(), name); err == nil {
			k.old(c, i)
			c.inTerm(func(in *term) {
				if err := in.returnNumbers(t.Context(), time.Hour); err != nil {
					t.Log(err) // the pod or the report is not heard of yet, or somebody else was first
				}
			})
		}
		return said().Status == v1alpha1.ConditionTrue
	})
}
