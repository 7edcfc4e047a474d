package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/model/identity"
)

// draft is a row while a table is made: whom and which ports it matches.
type draft struct {
	Row
	anyone     bool
	outside    bool
	unknown    bool // it denies by labels: who may have them is denied too
	selections []*selection
	blocks     []Block
	ports      []Port // plain ones; none means every port of every protocol
	mergeable  bool   // its neighbours of tier Namespace may stand before or after it
}

// drafts returns the rows of a subject in the order in which they are asked; the last one matches everything.
func (c *Compiler) drafts(s *Subject, d Direction) []draft {
	var rows []draft
	if d == Ingress {
		rows = append(rows, draft{Row: Row{Rule: ByHost}, blocks: single(s.Host)})
	}
	rows = c.tier(rows, Admin, s, d)
	rows = c.tier(rows, Namespace, s, d)
	if c.closed(s, d) {
		return append(rows, draft{Row: Row{Rule: ByIsolation, Action: Deny}, anyone: true})
	}
	rows = c.tier(rows, Baseline, s, d)
	if d == Ingress && c.w.CloseOutside {
		for _, p := range c.publications(s) {
			if plain, some := resolve(p.Ports, s); some {
				rows = append(rows, draft{Row: Row{Rule: p.Name}, outside: true, ports: plain})
			}
		}
		rows = append(rows, draft{Row: Row{Rule: ByOutside, Action: Deny}, outside: true})
	}
	return append(rows, draft{Row: Row{Rule: ByDefault}, anyone: true})
}

func (c *Compiler) closed(s *Subject, d Direction) bool {
	return slices.ContainsFunc(c.of(Namespace, s), func(p *Policy) bool { return p.Governs[d] })
}

// tier appends the rows of a tier. Those that pass go on behind it.
func (c *Compiler) tier(rows []draft, t Tier, s *Subject, d Direction) []draft {
	start := len(rows)
	for _, p := range c.of(t, s) {
		if !p.Governs[d] {
			continue
		}
		for i := range p.Rules[d] {
			rows = c.rule(rows, p, &p.Rules[d][i], s, d)
		}
	}
	for i := start; i < len(rows); i++ {
		rows[i].mergeable = t == Namespace
		if rows[i].Action == Pass {
			rows[i].Next = len(rows)
		}
	}
	return rows
}

// rule appends the rows of one rule: one for its plain ports, and where it sends to ports by name one for each number that the name means
// for some identity.
func (c *Compiler) rule(rows []draft, p *Policy, r *Rule, s *Subject, d Direction) []draft {
	row := Row{Rule: p.title(r), Action: r.Action}
	names := r.Ports
	if d == Ingress {
		plain, some := resolve(r.Ports, s)
		names = nil
		if some {
			rows = append(rows, c.peers(draft{Row: row, ports: plain}, r.Peers))
		}
	} else if plain := slices.DeleteFunc(slices.Clone(r.Ports), func(p Port) bool { return p.Name != "" }); len(plain) > 0 || len(r.Ports) == 0 {
		rows = append(rows, c.peers(draft{Row: row, ports: plain}, r.Peers))
	}
	for _, port := range names {
		if port.Name == "" {
			continue
		}
		by := c.named(port, r.Peers)
		for _, number := range slices.Sorted(maps.Keys(by)) {
			rows = append(rows, draft{Row: row, selections: []*selection{{numbers: by[number]}}, unknown: r.Action == Deny, ports: []Port{{Protocol: port.Protocol, First: number, Last: number}}})
		}
	}
	return rows
}

// resolve replaces the names of the subject's own ports by numbers. some is false when nothing is left of ports that were there.
func resolve(ports []Port, s *Subject) (plain []Port, some bool) {
	for _, p := range ports {
		if p.Name == "" {
			plain = append(plain, p)
			continue
		}
		for _, n := range s.Named {
			if n.Name == p.Name && n.Protocol == p.Protocol {
				plain = append(plain, Port{Protocol: n.Protocol, First: n.Port, Last: n.Port})
			}
		}
	}
	return plain, len(plain) > 0 || len(ports) == 0
}

// peers says whom a row matches.
func (c *Compiler) peers(row draft, peers []Peer) draft {
	row.anyone = len(peers) == 0
	for i := range peers {
		switch p := &peers[i]; {
		case p.Workloads != nil:
			row.unknown = row.unknown || row.Action == Deny
			row.selections = append(row.selections, c.selected(p.Workloads))
		case p.Hosts != nil:
			for _, h := range c.w.Hosts {
				if p.Hosts.Matches(h.Labels) {
					row.blocks = append(row.blocks, single(h.Addrs)...)
				}
			}
		default:
			row.blocks = append(row.blocks, p.Networks...)
		}
	}
	return row
}

// named returns, by port number, the identities among peers whose endpoints call that port by the name.
func (c *Compiler) named(port Port, peers []Peer) map[uint16][]identity.Number {
	in := c.numbers
	if len(peers) > 0 {
		in = nil
		for i := range peers {
			if peers[i].Workloads != nil {
				in = append(in, c.selected(peers[i].Workloads).numbers...)
			}
		}
	}
	slices.Sort(in) // peers may select the same ones
	in = slices.Compact(in)
	by := map[uint16][]identity.Number{}
	for _, n := range in {
		for _, p := range c.w.Named[n] {
			if p.Name == port.Name && p.Protocol == port.Protocol {
				by[p.Port] = append(by[p.Port], n)
			}
		}
	}
	return by
}

// squeeze makes one row of all rows of tier Namespace that accept the same ports. Their order does not matter, because none of
// them denies; what is lost is which of them accepted. Rows that pass stand before them and go on at the first of them, so no
// Next changes.
func squeeze(rows []draft) []draft {
	var out []draft
	at := map[string]int{} // by ports
	more := map[int]int{}
	for _, r := range rows {
		key := fmt.Sprint(r.ports)
		i, seen := at[key]
		if !r.mergeable || !seen {
			if r.mergeable {
				at[key] = len(out)
			}
			out = append(out, r)
			continue
		}
		out[i].anyone = out[i].anyone || r.anyone
		out[i].selections = slices.Concat(out[i].selections, r.selections)
		out[i].blocks = slices.Concat(out[i].blocks, r.blocks)
		more[i]++
	}
	for i, n := range more {
		out[i].Rule = fmt.Sprintf("%s, or one of %d more rules", out[i].Rule, n)
	}
	return out
}

func single(addrs []netip.Addr) []Block {
	var blocks []Block
	for _, a := range addrs {
		blocks = append(blocks, Block{Prefix: netip.PrefixFrom(a, a.BitLen())})
	}
	return blocks
}
