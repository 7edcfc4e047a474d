package gateway

import (
	"net/netip"
	"slices"

	"hexapod.dev/model/xlat/nat64"
)

// reserve is the share of the blocks of every address that others give than the gateway which is to have it: one of so many.
const reserve = 4

// Giver is the gateway that gives out the ports of a block, whoever lives: of three blocks out of four the one that is to have the address while
// all live, of the fourth one of the others. Who has the address goes on with bindings in blocks of others, and makes new ones in its own blocks
// alone. So gateways that live and do not hear each other, which both have the address then, never give one port twice.
func (g *Group) Giver(b nat64.Block) Member {
	first := g.First(b.Addr)
	if b.First/nat64.BlockSize%reserve != 0 || len(g.members) < 2 {
		return first
	}
	others := make([]string, 0, len(g.members))
	for _, m := range g.members {
		if m != first {
			others = append(others, m.Name)
		}
	}
	name, _ := nat64.Pool{Gateways: others}.Owners(b)
	m, _ := g.find(name)
	return m
}

// Gives reports whether this gateway gives out the ports of a block.
func (g *Group) Gives(b nat64.Block) bool { return g.Giver(b).Name == g.self }

// First is the gateway that is to have an address of the pool while all live.
func (g *Group) First(a netip.Addr) Member {
	m, _ := g.find(g.first[a])
	return m
}

// Unheard reports whether a gateway is silent, or was never heard: what it gave may not be known here.
func (g *Group) Unheard(m Member) bool {
	i := slices.Index(g.members, m)
	return i >= 0 && m.Name != g.self && g.said[i] == nothing
}

// firsts is who is to have each address of a pool while all live.
func firsts(members []Member, pool []netip.Addr) map[netip.Addr]string {
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	list := make(map[netip.Addr]string, len(pool))
	for _, a := range pool {
		list[a], _ = nat64.Pool{Gateways: names}.Owners(nat64.Block{Addr: a})
	}
	return list
}
