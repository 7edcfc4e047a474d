package policies

import (
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

// Denials are counted for so many policies; those of others are counted together.
const (
	mostCounted   = 200
	otherPolicies = "other"
)

func newDenials() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hexapod", Subsystem: "policy", Name: "denials_total",
		Help: "Packets that policy dropped and the programs told of, by the policy that denied them."}, []string{"policy"})
}

// Denied names the rule that forbids a flow, counts it, and writes it down if its policy wants that. It is empty when none forbids the
// flow by now.
func (p *Enforcer) Denied(from, to netip.Addr, proto transport.Protocol, port uint16) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.compiler == nil {
		return ""
	}
	answer := p.compiled.Ask(p.directory, from, to, proto, port)
	rule, d, end := answer.Egress.Rule, policy.Egress, from
	if answer.Egress.Action != policy.Deny {
		rule, d, end = answer.Ingress.Rule, policy.Ingress, to
	}
	if answer.Accepted() {
		return ""
	}
	p.denials.WithLabelValues(p.counterOf(rule)).Inc()
	if k, here := p.options.Holder(end); here {
		e, _ := p.options.Snapshot().Endpoints.Get(k)
		if s := p.subject(e); p.section.World.Logs(&s, d, rule) {
			p.options.Log.Info("denied by policy", "rule", rule, "direction", d.String(), "from", from, "to", to, "protocol", proto.String(), "port", port)
		}
	}
	return rule
}

// counterOf is the label under which a rule is counted: its policy or the implicit reason, up to the colon. The caller holds mu.
func (p *Enforcer) counterOf(rule string) string {
	name, _, _ := strings.Cut(rule, ", ")
	if strings.HasPrefix(rule, "closed: ") || strings.HasPrefix(rule, "default: ") {
		name, _, _ = strings.Cut(rule, ": ")
	}
	if p.counted == nil {
		p.counted = map[string]bool{}
	}
	if !p.counted[name] && len(p.counted) == mostCounted {
		return otherPolicies
	}
	p.counted[name] = true
	return name
}
