package objects

import (
	"fmt"
	"maps"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/identity"
)

// Identities returns the table of a set's numbers. Two living numbers of one set are a warning.
func Identities(s v1alpha1.Set) (*identity.Table, v1alpha1.Problems) {
	spec := s.Plan.Spec.Identity
	rules, err := identity.NewRules(spec.KeyVersion, spec.ExcludeLabels...)
	if err != nil {
		return nil, v1alpha1.Problems{v1alpha1.ProblemAt(s.Plan, "spec.identity.keyVersion", err.Error(), "write 1 or leave it out")}
	}
	entries := make([]identity.Entry, len(s.Identities))
	var problems v1alpha1.Problems
	first := map[identity.Key]*v1alpha1.Identity{}
	for i, o := range s.Identities {
		e := Entry(o)
		entries[i] = e
		key := rules.Key(e.Set)
		other, twice := first[key]
		switch {
		case e.Retired:
		case twice:
			w := v1alpha1.ProblemAt(o, "spec.labels", fmt.Sprintf("is the set of number %d again; new endpoints get the lower one", other.Spec.Number),
				"write retired: when no endpoint has the other number any more")
			w.Severity = v1alpha1.Warning
			problems = append(problems, w)
		default:
			first[key] = o
		}
	}
	table, err := identity.NewTable(rules, entries)
	if err != nil {
		problems = append(problems, v1alpha1.ProblemAt(s.Plan, "spec.identity", err.Error(), "repair the identities"))
	}
	return table, problems
}

// Entry returns one identity as the model has it.
func Entry(o *v1alpha1.Identity) identity.Entry {
	return identity.Entry{
		Number:  identity.Number(o.Spec.Number),
		Set:     identity.Set{Namespace: o.Spec.Namespace, Labels: maps.Clone(o.Spec.Labels)},
		Retired: !o.Living(),
	}
}
