package render

import (
	"fmt"
	"strings"

	"hexapod.dev/model/addressplan"
)

// Tree writes the plan as a tree with what is used and free in each rack, at second now.
func Tree(p addressplan.Plan, now addressplan.Seconds) (string, error) {
	t := &text{}
	t.line("fabric %s  %s", p.Name, p.Prefix)
	for _, n := range p.Capacity() {
		switch {
		case n.Edge && p.Lengths.EdgeCluster != p.Lengths.Cluster:
			t.line("  or %s of /%d", plural(n.Each, "edge cluster"), n.Bits)
		case n.Edge:
		case n.Level == addressplan.LevelCluster:
			t.line("  room for %s of /%d", plural(n.Each, "cluster"), n.Bits)
		default:
			t.line("  each %s holds %s of /%d", n.Level-1, plural(n.Each, n.Level.String()), n.Bits)
		}
	}
	if p.IPv4.Prefix.IsValid() {
		t.line("IPv4  %s, a /%d for each host", p.IPv4.Prefix, p.IPv4.HostLength)
	}
	v := view{p, Options{}.withDefaults()}
	for _, c := range p.Clusters {
		q, err := p.ClusterPrefix(c)
		if err != nil {
			return "", err
		}
		kind := "cluster"
		if c.Edge {
			kind = "edge cluster"
		}
		t.line("%s %s  %s", kind, c.Name, q)
		for _, role := range addressplan.RackRoles() {
			if q, err := p.RolePrefix(c, role); err == nil {
				t.line("  %-14s  %s", role, q)
			}
		}
		for _, r := range c.Racks {
			if err := v.treeRack(t, c, r, now); err != nil {
				return "", err
			}
		}
	}
	return t.String(), nil
}

func (v view) treeRack(t *text, c addressplan.Cluster, r addressplan.Rack, now addressplan.Seconds) error {
	q, err := v.plan.RackPrefix(c, r.Number)
	if err != nil {
		return err
	}
	tor, hosts, err := v.plan.RackASN(c, r)
	if err != nil {
		return err
	}
	u, err := v.plan.Usage(c, r, now)
	if err != nil {
		return err
	}
	t.line("  rack %s  %s  AS %d, hosts AS %d", r.Name, q, tor, hosts)
	t.line("    %s  %d living, %d resting, %d free of %d", bar(u, 32), u.Living, u.Resting, u.Free(), u.Total)
	for _, h := range v.plan.Hosts {
		hc, hr, err := v.plan.Place(h)
		if err != nil || hc.Name != c.Name || hr.Name != r.Name {
			continue
		}
		if h.Delegated {
			t.line("    host %s  delegated", h.Name)
			continue
		}
		p, err := v.plan.PrefixOf(h)
		if err != nil {
			return err
		}
		state := ""
		switch back := h.RetiredAt + v.plan.Rest - now; {
		case h.Adopted && h.Retired:
			state = "  retired"
		case h.Adopted:
			state = "  adopted"
		case h.Retired && back > 0:
			state = "  rests " + back.String()
		case h.Retired:
			state = "  rested"
		}
		v4 := ""
		if q, err := v.plan.HostIPv4(p); err == nil && !h.Retired {
			v4 = "  " + q.String()
		}
		t.line("    host %s  %s%s%s", h.Name, p, v4, state)
	}
	return nil
}

// bar draws how full a rack is: # living, r resting, . free. What exists shows at least one sign.
func bar(u addressplan.Usage, width int) string {
	signs := func(n uint64) int {
		if n == 0 || u.Total == 0 {
			return 0
		}
		return max(1, int(float64(n)/float64(u.Total)*float64(width)))
	}
	l, r := min(signs(u.Living), width), signs(u.Resting)
	r = min(r, width-l)
	return fmt.Sprintf("[%s%s%s]", strings.Repeat("#", l), strings.Repeat("r", r), strings.Repeat(".", width-l-r))
}
