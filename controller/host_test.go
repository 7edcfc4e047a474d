//go:build cluster

package controller

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// TestPlan: nodes get prefixes of their racks, written into nodes, HostPrefixes and Hosts; a node that is gone leaves a prefix
// that rests and that it gets back; a node that serves loses its taint.
func TestPlan(t *testing.T) {
	spec := labPlan()
	spec.IPv4 = &v1alpha1.IPv4Plan{Prefix: pfx("10.0.0.0/12")}
	k := newCluster(t, spec)
	k.node("a", "east")
	k.node("b", "3")
	k.node("c", "7")
	k.node("d", "")
	k.node("e", "nowhere")
	k.Apply("kustomize/base/namespace.yaml")
	k.Apply("kustomize/base/controller-rbac.yaml")
	k.start(Options{Client: k.ClientAs(k.Token("hexapod-system", "hexapod-controller", nil)), Namespace: "hexapod-system"}) // with no right more
	k.eventually("four nodes have prefixes", func() bool {
		n := 0
		for _, c := range k.cidrsOf() {
			if len(c) == 2 {
				n++
			}
		}
		return n == 4
	})
	k.alone()
	got := k.cidrsOf()
	for name, outer := range map[string]string{"a": "2001:db8:a010:c00::/54", "b": "2001:db8:a010:c00::/54", "c": "2001:db8:a010:1c00::/54", "d": "2001:db8:a01f:fc00::/54"} {
		p := netip.MustParsePrefix(got[name][0])
		if !netip.MustParsePrefix(outer).Contains(p.Addr()) || p.Bits() != 64 {
			t.Errorf("node %s has %v, want one of %s", name, got[name], outer)
		}
	}
	k.eventually("hosts are known", func() bool { return len(list(k, objects.Hosts())) == 4 })
	k.eventually("the unknown rack is said", func() bool {
		n, err := objects.In(k.c, objects.Nodes()).Get(t.Context(), "e")
		return err == nil && condition(n, networkUnavailable).Reason == string(UnknownRack) && tainted(n)
	})

	// The agent of a reports that it serves.
	report := v1alpha1.NewHostStatus("a", v1alpha1.HostReport{Prefixes: []v1alpha1.Prefix{pfx(got["a"][0])}, MAC: "02:00:00:00:00:0a",
		Status: v1alpha1.Status{Conditions: []v1alpha1.Condition{{Type: v1alpha1.ConditionReady, Status: v1alpha1.ConditionTrue, Reason: "Ready", LastTransitionTime: v1alpha1.TimeFrom(time.Now())}}}})
	at := v1alpha1.TimeFrom(time.Now().Add(time.Hour))
	report.Status.Witness = &at
	make1(k, objects.HostStatuses(), report)
	k.eventually("node a serves", func() bool {
		n, err := objects.In(k.c, objects.Nodes()).Get(t.Context(), "a")
		return err == nil && !tainted(n) && condition(n, networkUnavailable).Status == v1alpha1.ConditionFalse
	})
	k.eventually("others know its Ethernet address", func() bool {
		h, err := objects.In(k.c, objects.Hosts()).Get(t.Context(), "a")
		return err == nil && h.Spec.MAC == "02:00:00:00:00:0a"
	})

	// It goes, its prefix rests, and it comes back to it.
	if err := objects.In(k.c, objects.Nodes()).Delete(t.Context(), "a", objects.Only{}); err != nil {
		t.Fatal(err)
	}
	k.eventually("its prefix rests and nobody knows the host", func() bool {
		p, err := objects.In(k.c, objects.HostPrefixes()).Get(t.Context(), v1alpha1.PrefixName(netip.MustParsePrefix(got["a"][0])))
		_, known := k.find("a")
		return err == nil && !p.Living() && !known && p.Status.Witness != nil && p.Status.Witness.Equal(at.Time)
	})
	k.node("a", "east")
	k.eventually("it has its prefix again", func() bool { return fmt.Sprint(k.cidrsOf()["a"]) == fmt.Sprint(got["a"]) })
	k.eventually("and knows since when its addresses must be", func() bool {
		h, known := k.find("a")
		return known && h.Spec.BornAfter != nil && h.Spec.BornAfter.Equal(at.Time)
	})
}

// TestAdopt: what somebody else wrote into nodes is taken, and nothing is written there; two nodes with one prefix, a prefix inside
// another's, and one that cannot be a host's are refused by name.
func TestAdopt(t *testing.T) {
	k := newCluster(t, v1alpha1.AddressPlanSpec{})
	k.start(Options{}) // before there is a plan
	k.node("a", "", "3fff:1:0:1::/64", "192.0.2.0/26")
	k.node("b", "", "3fff:1:0:2:1::/80")
	k.node("c", "", "3fff:1:0:3:1:2::/96")
	k.node("d", "", "3fff:1:0:4:1:2:3:0/112")
	k.eventually("the missing plan is said", func() bool {
		n, err := objects.In(k.c, objects.Nodes()).Get(t.Context(), "a")
		return err == nil && condition(n, networkUnavailable).Reason == string(NoPlan)
	})
	make1(k, objects.AddressPlans(), v1alpha1.NewAddressPlan("lab", labPlan()))
	k.eventually("four hosts", func() bool { return len(list(k, objects.Hosts())) == 4 })
	k.node("inside", "", "3fff:1:0:1:5::/80")
	k.node("twice", "", "3fff:1:0:2:1::/80")
	k.node("narrow", "", "3fff:1:0:6::/126")
	k.node("late", "")
	for name, why := range map[string]Why{"inside": PrefixTaken, "twice": PrefixTaken, "narrow": PrefixUnfit, "late": WaitingForCIDR} {
		k.eventually("node "+name+" is told "+string(why), func() bool {
			n, err := objects.In(k.c, objects.Nodes()).Get(t.Context(), name)
			return err == nil && condition(n, networkUnavailable).Reason == string(why)
		})
	}
	if h, ok := k.find("a"); !ok || h.Spec.Prefix != pfx("3fff:1:0:1::/64") || h.Spec.IPv4Prefix != pfx("192.0.2.0/26") || h.Spec.Number != nil {
		t.Errorf("host a: %+v", h.Spec)
	}
	if got := k.cidrsOf(); len(got["late"]) > 0 || len(got["a"]) != 2 {
		t.Errorf("prefixes of nodes: %v", got)
	}
	k.eventually("the plan says that prefixes are adopted", func() bool {
		return list(k, objects.AddressPlans())[0].Status.HostPrefixes == v1alpha1.HostPrefixesAdopt
	})
}

// TestForeign: a node that somebody else numbered in a cluster that the plan numbers is named, and left alone.
func TestForeign(t *testing.T) {
	spec := labPlan()
	spec.HostPrefixes = v1alpha1.HostPrefixesPlan
	k := newCluster(t, spec)
	k.node("a", "", "3fff:1:0:1::/64")
	k.start(Options{})
	k.eventually("it is said", func() bool {
		n, err := objects.In(k.c, objects.Nodes()).Get(t.Context(), "a")
		return err == nil && condition(n, networkUnavailable).Reason == string(PrefixForeign)
	})
	k.eventually("it is an event, too", func() bool {
		for _, e := range list(k, objects.Events()) {
			if e.InvolvedObject.Name == "a" && e.Reason == string(PrefixForeign) {
				return true
			}
		}
		return false
	})
}

// TestFullRack: the node behind the last number of a rack is told; the prefix that has rested longest returns, with its witness.
func TestFullRack(t *testing.T) {
	spec := labPlan()
	spec.Levels = v1alpha1.Levels{Rack: 62, Host: 64}
	spec.Rest = v1alpha1.Duration{Duration: 2 * time.Second}
	spec.MinRest = v1alpha1.Duration{Duration: time.Second}
	k := newCluster(t, spec)
	for i := range 4 {
		k.node(fmt.Sprint("h", i), "7")
	}
	k.start(Options{})
	k.eventually("four have prefixes", func() bool { return len(list(k, objects.HostPrefixes())) == 4 })
	k.node("h4", "7")
	k.eventually("the fifth is told", func() bool {
		n, err := objects.In(k.c, objects.Nodes()).Get(t.Context(), "h4")
		return err == nil && condition(n, networkUnavailable).Reason == string(RackFull)
	})
	freed := k.cidrsOf()["h2"]
	if err := objects.In(k.c, objects.Nodes()).Delete(t.Context(), "h2", objects.Only{}); err != nil {
		t.Fatal(err)
	}
	k.eventually("it rests", func() bool {
		p, err := objects.In(k.c, objects.HostPrefixes()).Get(t.Context(), v1alpha1.PrefixName(netip.MustParsePrefix(freed[0])))
		return err == nil && !p.Living()
	})
	hosts := []string{"h0", "h1", "h3"} // all but those whose node is new say what they hold, so that what rests may return
	f := newFleet(k, hosts...)
	f.run()
	k.eventually("the fifth has it", func() bool { return fmt.Sprint(k.cidrsOf()["h4"]) == fmt.Sprint(freed) })
	k.eventually("and begins after its last life", func() bool {
		h, ok := k.find("h4")
		return ok && h.Spec.BornAfter != nil
	})
	k.alone()
}
