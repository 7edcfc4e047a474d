package v1alpha1

import "slices"

// Status is what every kind tells about itself in a cluster.
type Status struct {
	// Conditions hold what is the case, one of each type.
	Conditions []Condition `json:"conditions,omitempty"`
}

// Condition is one thing that is the case or not, with the reason.
type Condition struct {
	Type   string          `json:"type"`
	Status ConditionStatus `json:"status"`
	// Reason is one word for programs, Message the words for people.
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// LastTransitionTime is when Status last changed.
	LastTransitionTime Time `json:"lastTransitionTime"`
	// ObservedGeneration is the version of the spec that was judged.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// ConditionStatus says whether it is the case.
type ConditionStatus string

// The three answers.
const (
	ConditionTrue    ConditionStatus = "True"
	ConditionFalse   ConditionStatus = "False"
	ConditionUnknown ConditionStatus = "Unknown"
)

// The types of conditions.
const (
	// ConditionAccepted: the object is in use as it is written. False names the first problem.
	ConditionAccepted = "Accepted"
	// ConditionPrefixed: the host has a prefix.
	ConditionPrefixed = "Prefixed"
	// ConditionNumbers: every set of labels has an identity number that fits into addresses. It stands at a plan whose numbers were used up once.
	ConditionNumbers = "IdentityNumbers"
	// ConditionReady: the host serves endpoints.
	ConditionReady = "Ready"
)

// Set puts a condition in its place. It reports whether anything changed besides the time: then LastTransitionTime is that of c
// if the status changed, and the old one if not.
func (s *Status) Set(c Condition) bool {
	i := slices.IndexFunc(s.Conditions, func(d Condition) bool { return d.Type == c.Type })
	if i < 0 {
		s.Conditions = append(s.Conditions, c)
		return true
	}
	was := s.Conditions[i]
	if was.Status == c.Status {
		c.LastTransitionTime = was.LastTransitionTime
	}
	s.Conditions[i] = c
	return was != c
}

// Condition returns the condition of a type.
func (s Status) Condition(kind string) (Condition, bool) {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c, true
		}
	}
	return Condition{}, false
}

// PoolStatus is how much of a pool is claimed.
type PoolStatus struct {
	Status `json:",inline"`
	// Claimed addresses of the pool.
	Claimed int `json:"claimed,omitempty"`
}

// AddressStatus is what became of a claim.
type AddressStatus struct {
	Status `json:",inline"`
	// Host that serves the address.
	Host string `json:"host,omitempty"`
}
