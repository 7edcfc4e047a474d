// Package objects turns what users write into the values of the model, one file per kind, whoever read the documents.
//
// It also finds what only the arithmetic of the plan can find wrong, and says so with the place in the document.
package objects

import (
	"net/netip"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/identity"
)

// Model is a configuration as values of the model.
type Model struct {
	Plan       addressplan.Plan // with its hosts
	Identities *identity.Table
	Trust      identity.Trust
	Claims     map[netip.Addr]Claim // fixed addresses, by address
}

// For makes the model of a set that Check of its own package found right. It reports what remains: problems of the plan's
// arithmetic, errors and warnings. With errors the model is not to be used.
func For(s v1alpha1.Set) (Model, v1alpha1.Problems) {
	if s.Plan == nil {
		return Model{}, v1alpha1.Check(nil)
	}
	m := Model{Plan: Plan(s), Trust: identity.Trust(s.Plan.Spec.IdentityTrust), Claims: Claims(s)}
	problems := place(s, m.Plan.Check())
	problems = append(problems, poolsBesideHosts(s, m.Plan)...)
	table, found := Identities(s)
	m.Identities = table
	if table != nil {
		problems = append(problems, excludedLabels(s, table.Rules())...)
	}
	return m, append(problems, found...).Sort()
}
