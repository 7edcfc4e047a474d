package agent_test

import (
	"strings"
	"testing"

	"hexapod.dev/agent/local"
	"hexapod.dev/model/transport"
)

const elsewhere = "2001:db8:ffff::7"

const slice = `
---
apiVersion: hexapod.dev/v1alpha1
kind: AddressSlice
metadata: {name: h9.0}
spec: {host: h9, revision: 5, entries: [{identity: 300, addresses: ["` + elsewhere + `"]}]}
`

// TestPolicyOfSlices: an address that does not say whose it is has the labels that a slice gives it, until the slice is gone; a slice
// that is half wrong changes nothing.
func TestPolicyOfSlices(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.configure(plan + database + allowWeb)
	a := h.start()
	db := h.endpoint("db")
	db.Labels = map[string]string{"app": "db"}
	if _, err := a.Add(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	accepted := func() bool {
		t.Helper()
		e, err := h.client().ExplainPolicy(t.Context(), local.PolicyQuestion{From: elsewhere, To: "shop/db", Protocol: transport.TCP, Port: 5432})
		if err != nil || len(e.Verdicts) != 1 || e.Verdicts[0].Kernel != local.PolicyAgrees {
			t.Fatalf("%+v, %v", e, err)
		}
		return e.Accepted
	}
	if accepted() {
		t.Error("an address that nobody knows is let through")
	}
	h.configure(plan + database + allowWeb + slice)
	until(t, "the slice is in force", accepted)
	until(t, "the status tells of the slice", func() bool {
		return strings.Contains(h.object("policy", "rules").Detail, "1 addresses of others by slices (revision 5)")
	})
	h.configure(plan + database + strings.Replace(slice, "identity: 300", "identity: 3", 1))
	until(t, "the wrong slice is refused", func() bool {
		c := h.object("config", "")
		return c.State == local.Failed && strings.Contains(c.Why, "spec.entries[0].identity")
	})
	if !accepted() {
		t.Error("half of a wrong configuration is taken")
	}
	h.configure(plan + database + allowWeb)
	until(t, "the slice is gone", func() bool { return !accepted() })
}
