package policies

import (
	"fmt"
	"net/netip"
	"strings"

	"hexapod.dev/agent/local"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
)

// Explain tells the verdict of each end of a flow that is an endpoint here, from the tables and from the kernel.
func (p *Enforcer) Explain(q local.PolicyQuestion) (local.PolicyAnswer, error) {
	from, err := p.addressOf(q.From)
	if err != nil {
		return local.PolicyAnswer{}, err
	}
	to, err := p.addressOf(q.To)
	if err != nil {
		return local.PolicyAnswer{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.compiler == nil {
		return local.PolicyAnswer{}, fmt.Errorf("no policies are in force on this host: its source of configuration tells of none")
	}
	_, fromHere := p.options.Holder(from)
	_, toHere := p.options.Holder(to)
	if !fromHere && !toHere {
		return local.PolicyAnswer{}, fmt.Errorf("neither %s nor %s is an endpoint of host %s: ask on the host that has one of them (hexapod whereis)", from, to, p.options.Host)
	}
	out := local.PolicyAnswer{From: p.party(from), To: p.party(to), Protocol: q.Protocol.String(), Port: q.Port, Accepted: true}
	for _, end := range []struct {
		here           bool
		subject, other netip.Addr
		d              policy.Direction
	}{{fromHere, from, to, policy.Egress}, {toHere, to, from, policy.Ingress}} {
		if !end.here {
			continue
		}
		f := policy.Flow{Direction: end.d, Other: policy.Other{Addr: end.other, Who: p.directory.Who(end.other)}, Protocol: q.Protocol, Port: q.Port}
		v, err := p.verdict(end.subject, f)
		if err != nil {
			return out, err
		}
		out.Accepted = out.Accepted && v.Action == policy.Accept.String()
		out.Verdicts = append(out.Verdicts, v)
	}
	return out, nil
}

// verdict asks the tables of one end, and what the kernel holds of them. The caller holds mu.
func (p *Enforcer) verdict(subject netip.Addr, f policy.Flow) (local.PolicyVerdict, error) {
	v := local.PolicyVerdict{Endpoint: subject, Direction: f.Direction.String(), Action: policy.Deny.String(), Rule: policy.ByNothing, Kernel: local.PolicyNotLoaded}
	tables, known := p.compiled.Subjects[subject]
	row := -1
	if known {
		t := tables[f.Direction]
		row = t.Row(f)
		v.Action, v.Rule = t.Rows[row].Action.String(), t.Rows[row].Rule
		v.Written = p.written(v.Rule)
	}
	if p.writer == nil {
		return v, nil
	}
	held, action, there, err := p.writer.Held(subject, f)
	switch {
	case err != nil:
		return v, err
	case there != known || held != row:
		v.Kernel = fmt.Sprintf("differs: it says %s by row %d, the table by row %d", action, held, row)
	default:
		v.Kernel = local.PolicyAgrees
	}
	return v, nil
}

// written tells where the policy of a rule was written; empty for what no document says.
func (p *Enforcer) written(rule string) string {
	name, _, _ := strings.Cut(rule, ", ")
	return p.section.Written[name]
}

func (p *Enforcer) party(addr netip.Addr) local.PolicyParty {
	who := p.directory.Who(addr)
	out := local.PolicyParty{Address: addr, Identity: uint32(who.Number), By: string(who.By)}
	switch set, known := p.section.World.Identities[who.Number]; {
	case who.By == identity.Outside:
	case known:
		out.Set = set.String()
	case who.Number == identity.Host:
		out.Set = "a host"
	case who.Number == identity.Unknown:
		out.Set = "inside, labels not known here"
	}
	return out
}

// Show lists the rows of both tables of an endpoint, in the order in which they are asked.
func (p *Enforcer) Show(endpoint string) (local.PolicyTables, error) {
	addr, err := p.addressOf(endpoint)
	if err != nil {
		return local.PolicyTables{}, err
	}
	k, here := p.options.Holder(addr)
	if !here {
		return local.PolicyTables{}, fmt.Errorf("%s is no endpoint of host %s; hexapod endpoints lists them", addr, p.options.Host)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out := local.PolicyTables{Endpoint: k.String()}
	if p.compiler == nil {
		return out, fmt.Errorf("no policies are in force on this host: its source of configuration tells of none")
	}
	out.Party = p.party(addr)
	tables, known := p.compiled.Subjects[addr]
	if !known {
		return out, fmt.Errorf("endpoint %s has no tables, so nothing passes: hexapod status tells why", k)
	}
	for d, t := range tables {
		for i, r := range t.Describe() {
			out.Rows = append(out.Rows, local.PolicyRow{
				Direction: policy.Direction(d).String(), Row: i, Action: r.Action, Rule: r.Rule, Peers: r.Peers, Ports: r.Ports, Written: p.written(r.Rule),
			})
		}
	}
	return out, nil
}

// addressOf reads an address, or the name of an endpoint of this host: NAMESPACE/NAME or CONTAINER/INTERFACE.
func (p *Enforcer) addressOf(s string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap(), nil
	}
	for _, e := range p.options.Snapshot().Endpoints.All() {
		if len(e.Addrs) > 0 && (s == e.Key.String() || e.Name != "" && s == e.Namespace+"/"+e.Name) {
			return e.Addrs[0], nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%q is neither an address nor an endpoint of host %s (NAMESPACE/NAME or CONTAINER/INTERFACE); hexapod endpoints lists them", s, p.options.Host)
}

// Report is the line of the status about policies. o is what became of the last pass of Reconcile.
func (p *Enforcer) Report(o local.Object) []local.Object {
	s := p.options.Snapshot()
	if s.Policies.World == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := s.Policies.World
	outside := "the outside reaches every endpoint"
	if w.CloseOutside {
		outside = fmt.Sprintf("the outside reaches what is published (%d)", len(w.Published))
	}
	o.Kind, o.Name = "policy", "rules"
	o.Detail = fmt.Sprintf("%d policies, %d tables for %d addresses, %s, %d addresses of others by slices (revision %d)",
		len(w.Policies), p.tables(), len(p.compiled.Subjects), outside, len(s.Policies.Entries), p.revision)
	if table, why := p.options.Programs(); table == nil {
		o.Detail, o.Why = "not in force: no eBPF programs on this host", why
		if len(w.Policies) > 0 {
			o.State = local.Failed
		}
	}
	return []local.Object{o}
}

// tables counts different ones. The caller holds mu.
func (p *Enforcer) tables() int {
	seen := map[*policy.Table]bool{}
	for _, t := range p.compiled.Subjects {
		seen[t[policy.Ingress]], seen[t[policy.Egress]] = true, true
	}
	return len(seen)
}
