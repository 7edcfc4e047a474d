package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Operator is how a Requirement compares.
type Operator uint8

// The operators of Kubernetes' label selectors.
const (
	In Operator = iota
	NotIn
	Exists
	DoesNotExist
)

func (o Operator) String() string { return [...]string{"in", "notin", "exists", "!"}[o] }

// Requirement is one condition on a label. NotIn and DoesNotExist also hold where the label is missing.
type Requirement struct {
	Key    string
	Op     Operator
	Values []string
}

// Matches reports whether labels meet the requirement.
func (r Requirement) Matches(labels map[string]string) bool {
	value, ok := labels[r.Key]
	switch r.Op {
	case In:
		return ok && slices.Contains(r.Values, value)
	case NotIn:
		return !ok || !slices.Contains(r.Values, value)
	case Exists:
		return ok
	default:
		return !ok
	}
}

// Selector holds when all its requirements do; without any it selects everything.
type Selector []Requirement

// Matches reports whether labels meet every requirement.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s {
		if !r.Matches(labels) {
			return false
		}
	}
	return true
}

// String is the selector in kubectl's words, requirements in their order.
func (s Selector) String() string {
	if len(s) == 0 {
		return "everything"
	}
	var words []string
	for _, r := range s {
		switch {
		case r.Op == Exists:
			words = append(words, r.Key)
		case r.Op == DoesNotExist:
			words = append(words, "!"+r.Key)
		case r.Op == In && len(r.Values) == 1:
			words = append(words, r.Key+"="+r.Values[0])
		default:
			words = append(words, fmt.Sprintf("%s %s (%s)", r.Key, r.Op, strings.Join(r.Values, ",")))
		}
	}
	return strings.Join(words, ",")
}

// Keys calls visit with the key of every requirement.
func (s Selector) Keys(visit func(key string)) {
	for _, r := range s {
		visit(r.Key)
	}
}
