package policy

import (
	"net/netip"
	"slices"

	"hexapod.dev/model/xlat"
)

// CarryIPv4 lets every network of IPv4 that the policy names stand for its addresses inside NAT64 prefixes as well: who may not reach an IPv4
// address may not reach it through a translator either, and who may, may. Where a policy names networks of both families, those of IPv4
// alone say what it accepts of IPv4: ::/0 beside them would otherwise take back every exception.
func (p *Policy) CarryIPv4(by []xlat.Pref64) {
	for d := range p.Rules {
		if !slices.ContainsFunc(p.Rules[d], func(r Rule) bool { return slices.ContainsFunc(r.Peers, Peer.namesIPv4) }) {
			continue
		}
		for _, r := range p.Rules[d] {
			for k := range r.Peers {
				if r.Action == Accept {
					r.Peers[k].Networks = less(r.Peers[k].Networks, by)
				}
				r.Peers[k].Networks = carried(r.Peers[k].Networks, by)
			}
		}
	}
}

func (p Peer) namesIPv4() bool {
	return slices.ContainsFunc(p.Networks, func(b Block) bool { return b.Prefix.Addr().Is4() })
}

// less takes the Pref64s out of networks of IPv6 that hold them whole. A part of one was named on purpose.
func less(blocks []Block, by []xlat.Pref64) []Block {
	out := slices.Clone(blocks)
	for i, b := range out {
		for _, p := range by {
			if x := p.Prefix(); b.Prefix.Bits() < x.Bits() && b.Prefix.Contains(x.Addr()) {
				out[i].Except = append(slices.Clip(out[i].Except), x)
			}
		}
	}
	return out
}

func carried(blocks []Block, by []xlat.Pref64) []Block {
	all := blocks
	for _, b := range blocks {
		if !b.Prefix.Addr().Is4() {
			continue
		}
		for _, p := range by {
			c := Block{Prefix: p.EmbedPrefix(b.Prefix)}
			for _, e := range b.Except {
				if e.Addr().Is4() {
					c.Except = append(c.Except, p.EmbedPrefix(e))
				}
			}
			all = append(all[:len(all):len(all)], c)
		}
	}
	return all
}

// Pref64s are the NAT64 prefixes that count for policies: the well-known one, which a network may translate without a word to us, and
// those of the configuration, each once.
func Pref64s(configured []netip.Prefix) []xlat.Pref64 {
	list := []xlat.Pref64{xlat.WellKnown}
	for _, p := range configured {
		if q, err := xlat.NewPref64(p); err == nil && !slices.Contains(list, q) {
			list = append(list, q)
		}
	}
	return list
}
