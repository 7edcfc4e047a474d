package v1alpha1

import (
	"fmt"
	"regexp"
	"strings"
)

// portName is a name of a port (IANA service name, RFC 6335 section 5.1).
var portName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$`)

// validPortName also wants a letter: what has none is a number.
func validPortName(s string) bool {
	return portName.MatchString(s) && strings.ContainsAny(s, "abcdefghijklmnopqrstuvwxyz")
}

func (p *NetworkPolicy) check(r *report) {
	s := &p.Spec
	checkNamespace(r, "metadata.namespace", p.Metadata.Namespace)
	checkSelector(r, "spec.podSelector", &s.PodSelector)
	types := unique{}
	for i, t := range s.PolicyTypes {
		at := fmt.Sprintf("spec.policyTypes[%d]", i)
		oneOf(r, at, t, PolicyIngress, PolicyEgress)
		types.add(r, at, string(t))
	}
	for i, rule := range s.Ingress {
		at := fmt.Sprintf("spec.ingress[%d]", i)
		checkPolicyPorts(r, at+".ports", rule.Ports)
		checkPolicyPeers(r, at+".from", rule.From)
	}
	for i, rule := range s.Egress {
		at := fmt.Sprintf("spec.egress[%d]", i)
		checkPolicyPorts(r, at+".ports", rule.Ports)
		checkPolicyPeers(r, at+".to", rule.To)
	}
}

func (p *NetworkPolicy) ranges() []fieldRange { return nil } // what they name is often somebody else's

func (p *ClusterNetworkPolicy) check(r *report) {
	s := &p.Spec
	oneOf(r, "spec.tier", s.Tier, TierAdmin, TierBaseline)
	if s.Priority < 0 || s.Priority > MaxPolicyPriority {
		r.errorf("spec.priority", fmt.Sprintf("write 0 to %d", MaxPolicyPriority), "%d cannot be used", s.Priority)
	}
	checkWho(r, "spec.subject", s.Subject.Namespaces, s.Subject.Pods, 0)
	most := func(at string, n, limit int) {
		if n > limit {
			r.errorf(at, fmt.Sprintf("write at most %d", limit), "has %d entries", n)
		}
	}
	peers := func(at string, n int) {
		if most(at, n, MaxPolicyPeers); n == 0 {
			r.errorf(at, "name at least one", "has no entries")
		}
	}
	most("spec.ingress", len(s.Ingress), MaxPolicyRules)
	most("spec.egress", len(s.Egress), MaxPolicyRules)
	for i, rule := range s.Ingress {
		at := fmt.Sprintf("spec.ingress[%d]", i)
		checkRule(r, at, rule.Action, rule.Protocols)
		peers(at+".from", len(rule.From))
		for j, p := range rule.From {
			checkWho(r, fmt.Sprintf("%s.from[%d]", at, j), p.Namespaces, p.Pods, 0)
		}
	}
	for i, rule := range s.Egress {
		at := fmt.Sprintf("spec.egress[%d]", i)
		checkRule(r, at, rule.Action, rule.Protocols)
		peers(at+".to", len(rule.To))
		for j, p := range rule.To {
			here, others := fmt.Sprintf("%s.to[%d]", at, j), 0
			if p.Nodes != nil {
				checkSelector(r, here+".nodes", p.Nodes)
				others++
			}
			if len(p.Networks) > 0 {
				others++
			}
			checkWho(r, here, p.Namespaces, p.Pods, others)
		}
	}
}

func (p *ClusterNetworkPolicy) ranges() []fieldRange { return nil }

func (p *Publication) check(r *report) {
	checkNamespace(r, "spec.namespace", p.Spec.Namespace)
	checkSelector(r, "spec.podSelector", &p.Spec.PodSelector)
	if len(p.Spec.Ports) == 0 {
		r.errorf("spec.ports", "write the ports that are open to the outside", "is missing")
	}
	checkPolicyPorts(r, "spec.ports", p.Spec.Ports)
}

func (p *Publication) ranges() []fieldRange { return nil }

// checkRule looks at what the rules of both directions have in common.
func checkRule(r *report, at string, action PolicyAction, protocols []PolicyProtocol) {
	oneOf(r, at+".action", action, ActionAccept, ActionDeny, ActionPass)
	for i, p := range protocols {
		here := fmt.Sprintf("%s.protocols[%d]", at, i)
		given := 0
		for _, t := range []struct {
			name string
			is   *PolicyTransport
		}{{"tcp", p.TCP}, {"udp", p.UDP}, {"sctp", p.SCTP}} {
			if t.is == nil {
				continue
			}
			if given++; t.is.DestinationPort != nil {
				checkPolicyPort(r, here+"."+t.name+".destinationPort", t.is.DestinationPort)
			}
		}
		if p.DestinationNamedPort != "" {
			given++
			if !validPortName(p.DestinationNamedPort) {
				r.errorf(here+".destinationNamedPort", "use up to 15 lower-case letters, digits and '-'", "%q is not the name of a port", p.DestinationNamedPort)
			}
		}
		if given != 1 {
			r.errorf(here, "write one of tcp, udp, sctp, destinationNamedPort", "has %d of the fields that say which ports", given)
		}
	}
}

func checkPolicyPort(r *report, at string, p *PolicyPort) {
	switch {
	case (p.Number != 0) == (p.Range != nil):
		r.errorf(at, "write number or range", "has to name one port or one range")
	case p.Range == nil:
		checkPortNumber(r, at+".number", p.Number)
	default:
		checkPortNumber(r, at+".range.start", p.Range.Start)
		checkPortNumber(r, at+".range.end", p.Range.End)
		if p.Range.End < p.Range.Start {
			r.errorf(at+".range.end", "write start first", "%d is below start, %d", p.Range.End, p.Range.Start)
		}
	}
}

func checkPortNumber(r *report, at string, n int32) {
	if n < 1 || n > 65535 {
		r.errorf(at, "write 1 to 65535", "%d is not a port", n)
	}
}

func checkPolicyPorts(r *report, at string, ports []NetworkPolicyPort) {
	for i, p := range ports {
		here := fmt.Sprintf("%s[%d]", at, i)
		oneOf(r, here+".protocol", p.Protocol, ProtocolTCP, ProtocolUDP, ProtocolSCTP)
		if p.Port == nil {
			if p.EndPort != 0 {
				r.errorf(here+".endPort", "write port as well", "has no port to begin with")
			}
			continue
		}
		n, number := p.Port.Number()
		switch {
		case !number && !validPortName(string(*p.Port)):
			r.errorf(here+".port", "write 1 to 65535, or up to 15 lower-case letters, digits and '-'", "%q is neither the number nor the name of a port", string(*p.Port))
		case number:
			checkPortNumber(r, here+".port", int32(n))
		}
		if p.EndPort == 0 {
			continue
		}
		checkPortNumber(r, here+".endPort", p.EndPort)
		switch {
		case !number:
			r.errorf(here+".endPort", "leave it out, or write port as a number", "a port with a name begins no range")
		case p.EndPort < int32(n):
			r.errorf(here+".endPort", "write the lower number as port", "%d is below port, %d", p.EndPort, n)
		}
	}
}

func checkPolicyPeers(r *report, at string, peers []NetworkPolicyPeer) {
	for i, p := range peers {
		here := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case p.IPBlock != nil && (p.PodSelector != nil || p.NamespaceSelector != nil):
			r.errorf(here, "make two entries of it", "ipBlock stands alone")
		case p.IPBlock == nil && p.PodSelector == nil && p.NamespaceSelector == nil:
			r.errorf(here, "write podSelector, namespaceSelector or ipBlock", "names nobody")
		}
		if p.PodSelector != nil {
			checkSelector(r, here+".podSelector", p.PodSelector)
		}
		if p.NamespaceSelector != nil {
			checkSelector(r, here+".namespaceSelector", p.NamespaceSelector)
		}
		if p.IPBlock == nil || !p.IPBlock.CIDR.IsValid() {
			continue
		}
		for j, e := range p.IPBlock.Except {
			if e.IsValid() && (e.Bits() <= p.IPBlock.CIDR.Bits() || !p.IPBlock.CIDR.Contains(e.Addr())) {
				r.errorf(fmt.Sprintf("%s.ipBlock.except[%d]", here, j), "write a longer prefix inside it", "%s is no part of %s", e, p.IPBlock.CIDR)
			}
		}
	}
}

// checkWho: exactly one of the two and of others more is given.
func checkWho(r *report, at string, namespaces *LabelSelector, pods *NamespacedPod, others int) {
	given := others
	if namespaces != nil {
		given++
		checkSelector(r, at+".namespaces", namespaces)
	}
	if pods != nil {
		given++
		checkSelector(r, at+".pods.namespaceSelector", &pods.NamespaceSelector)
		checkSelector(r, at+".pods.podSelector", &pods.PodSelector)
	}
	if given != 1 {
		r.errorf(at, "write exactly one of them", "has %d of the fields that say who", given)
	}
}

func checkSelector(r *report, at string, s *LabelSelector) {
	for k, v := range s.MatchLabels {
		if !validLabelKey(k) {
			r.errorf(at+".matchLabels."+k, "write the label's key alone", "%q is not a label key", k)
		} else if !labelValue.MatchString(v) {
			r.errorf(at+".matchLabels."+k, "use up to 63 letters, digits, '-', '_' and '.'", "%q is not the value of a label", v)
		}
	}
	for i, e := range s.MatchExpressions {
		here := fmt.Sprintf("%s.matchExpressions[%d]", at, i)
		if !validLabelKey(e.Key) {
			r.errorf(here+".key", "write the label's key alone", "%q is not a label key", e.Key)
		}
		oneOf(r, here+".operator", e.Operator, LabelIn, LabelNotIn, LabelExists, LabelDoesNotExist)
		switch wants := e.Operator == LabelIn || e.Operator == LabelNotIn; {
		case wants && len(e.Values) == 0:
			r.errorf(here+".values", "write at least one", "operator %s needs values", e.Operator)
		case !wants && len(e.Values) > 0:
			r.errorf(here+".values", "leave them out", "operator %s has no values", e.Operator)
		}
	}
}

// checkPublications warns of publications that open nothing, because the plan keeps nobody out.
func checkPublications(s Set) (found Problems) {
	if s.Plan == nil || s.Plan.Spec.Outside != OutsideOpen {
		return nil
	}
	for _, p := range s.Publications {
		w := problemf(p, "spec", "write outside: closed in the spec of the AddressPlan, or remove the publication", "opens nothing: the plan lets everybody in")
		w.Severity = Warning
		found = append(found, w)
	}
	return found
}
