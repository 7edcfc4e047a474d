package datapath

import (
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

// Policy is what the programs know of policies (maps policy_... and who_...).
type Policy struct {
	policy.Compiled
	Who *identity.Directory // of Compiled.Believed
}

// denied tells whether policy forbids the flow of a packet. A flow that is there was begun by one of its ends: it is judged as
// that end's, also when the other one sends first after a change of policy.
func (s *State) denied(g sight, h Header, now uint32) bool {
	from, to, port := h.Src, h.Dst, h.DstPort
	if f := s.Flows.find(g.key, now); f != nil && !(f.State == Closing && g.begins()) && (f.Flags&FirstA != 0) != g.fromA {
		from, to, port = to, from, h.SrcPort
	}
	if s.Denied[Pair{from, to}] {
		return true
	}
	if s.Policy == nil {
		return false
	}
	for _, a := range []struct{ here, knows bool }{
		{has(s.Endpoints, from), has(s.Policy.Subjects, from.Unmap())}, {has(s.Endpoints, to), has(s.Policy.Subjects, to.Unmap())},
	} {
		if a.here && !a.knows { // its policies are not known yet
			return true
		}
	}
	return !s.Policy.Ask(s.Policy.Who, from, to, transport.Protocol(h.Proto), port).Accepted()
}

func has[K comparable, V any](m map[K]V, k K) bool {
	_, ok := m[k]
	return ok
}
