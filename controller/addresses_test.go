//go:build cluster

package controller

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"hexapod.dev/edge/kube/objects"
)

// TestAddressesOfANode: a node whose IPv6 address comes late, or whose IPv4 address stands first, says so until it is right.
func TestAddressesOfANode(t *testing.T) {
	k := newCluster(t, labPlan())
	k.node("n", "east")
	tell := func(internal ...string) {
		t.Helper()
		addresses := []objects.NodeAddress{} // as a kubelet writes them: all anew
		for _, a := range internal {
			addresses = append(addresses, objects.NodeAddress{Type: "InternalIP", Address: a})
		}
		if _, err := objects.In(k.c, objects.Nodes()).Patch(t.Context(), "n", "status", map[string]any{"status": map[string]any{"addresses": addresses}}); err != nil {
			t.Fatal(err)
		}
	}
	says := func(why Why, words string) {
		t.Helper()
		k.eventually("the node says "+string(why), func() bool {
			n, err := objects.In(k.c, objects.Nodes()).Get(t.Context(), "n")
			if err != nil {
				return false
			}
			c := condition(n, addressesCondition)
			return c.Reason == string(why) && strings.Contains(c.Message, words)
		})
		k.eventually("an event says it, too", func() bool {
			return why == Ready || slices.ContainsFunc(list(k, objects.Events()), func(e *objects.Event) bool {
				return e.InvolvedObject.Name == "n" && e.Reason == string(why) && strings.Contains(e.Message, words)
			})
		})
	}
	k.Apply("kustomize/base/namespace.yaml")
	k.Apply("kustomize/base/controller-rbac.yaml")
	k.start(Options{Client: k.ClientAs(k.Token("hexapod-system", "hexapod-controller", nil)), Namespace: "hexapod-system"})
	says(NoIPv6Address, "--node-ip=::")
	tell("192.0.2.1")
	says(NoIPv6Address, "--node-ip=::")
	tell("192.0.2.1", "3fff:f::1")
	says(IPv4First, "--node-ip=3fff:f::1")
	k.eventually("others reach the host by its IPv6 address alone", func() bool {
		h, known := k.find("n")
		return known && len(h.Spec.Addresses) == 1 && h.Spec.Addresses[0].Addr == netip.MustParseAddr("3fff:f::1")
	})
	tell("3fff:f::1", "192.0.2.1")
	says(Ready, "")
}
