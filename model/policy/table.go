package policy

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/transport"
)

// Table answers the flows of one endpoint in one direction. Rows stand in the order in which they are asked. A flow's peer and its port
// each give a set of rows; the first row in both decides. So the size grows with the number of identities that rules name,
// not with that of endpoints (the bit vectors of Lakshman and Stiliadis, 1998).
type Table struct {
	Rows []Row

	Anyone   Bits         // rows that match every peer
	Outside  Bits         // rows that match who is outside
	Unknown  Bits         // rows that match who is inside and known by no labels
	Prefixes []PrefixRows // rows that match by address: the longest prefix holds for an address

	AnyPort Bits        // rows that match every port of every protocol
	Ports   []PortRange // disjoint, by protocol and port

	groups  []groupRows       // rows that match by labels
	longest *bart.Table[Bits] // of Prefixes
}

// groupRows is the rows of a table that match the identities of one selection.
type groupRows struct {
	of   *selection
	rows Bits
}

// RowsOf returns the rows that match an identity by its labels, or in place of them for Unknown.
func (t *Table) RowsOf(n identity.Number) (b Bits) {
	if n == identity.Unknown {
		return t.Unknown
	}
	for _, g := range t.groups {
		if g.of.has(n) {
			b = b.Or(g.rows)
		}
	}
	return b
}

// Identities returns the rows that match by labels, of all identities that have any; those of Unknown are among them.
func (t *Table) Identities() map[identity.Number]Bits {
	out := map[identity.Number]Bits{}
	for _, g := range t.groups {
		for _, n := range g.of.numbers {
			out[n] = out[n].Or(g.rows)
		}
	}
	if t.Unknown != (Bits{}) {
		out[identity.Unknown] = t.Unknown
	}
	return out
}

// Row is a rule as a table holds it.
type Row struct {
	Rule   string
	Action Action
	Next   int // where Pass goes on: the first row of the next tier
}

// PrefixRows is a prefix with all rows that match addresses in it, also those of shorter prefixes around it.
type PrefixRows struct {
	Prefix netip.Prefix
	Rows   Bits
}

// PortRange is a range of ports, ends included, with all rows that match it.
type PortRange struct {
	Protocol    transport.Protocol
	First, Last uint16
	Rows        Bits
}

// Lookup answers a flow. The last row matches everything, so there always is an answer.
func (t *Table) Lookup(f Flow) Verdict {
	row := t.Rows[t.Row(f)]
	return Verdict{row.Action, row.Rule}
}

// Row returns the index of the row that answers a flow.
func (t *Table) Row(f Flow) int {
	peers, ports := t.peers(f.Other), t.ports(f.Protocol, f.Port)
	i := peers.firstOfBoth(&ports, 0)
	for t.Rows[i].Action == Pass {
		i = peers.firstOfBoth(&ports, t.Rows[i].Next)
	}
	return i
}

func (t *Table) peers(o Other) Bits {
	b := t.Anyone
	if o.Who.By == identity.Outside {
		b = b.Or(t.Outside)
	} else {
		b = b.Or(t.RowsOf(o.Who.Number))
	}
	if rows, ok := t.longest.Lookup(o.Addr); ok {
		b = b.Or(rows)
	}
	return b
}

func (t *Table) ports(p transport.Protocol, port uint16) Bits {
	i, ok := slices.BinarySearchFunc(t.Ports, p, func(r PortRange, p transport.Protocol) int {
		switch c := cmp.Compare(r.Protocol, p); {
		case c != 0:
			return c
		case r.Last < port:
			return -1
		case r.First > port:
			return 1
		}
		return 0
	})
	if !ok {
		return t.AnyPort
	}
	return t.AnyPort.Or(t.Ports[i].Rows)
}
