package policy

import (
	"net/netip"

	"hexapod.dev/model/xlat"
)

// CarryIPv4 lets every network of IPv4 that the policy names stand for its addresses inside NAT64 prefixes as well: who may not reach an IPv4
// address may not reach it through a translator either, and who may, may.
func (p *Policy) CarryIPv4(by []xlat.Pref64) {
	for d := range p.Rules {
		for r := range p.Rules[d] {
			peers := p.Rules[d][r].Peers
			for k := range peers {
				peers[k].Networks = carried(peers[k].Networks, by)
			}
		}
	}
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
// those of the configuration.
func Pref64s(configured []netip.Prefix) []xlat.Pref64 {
	list := []xlat.Pref64{xlat.WellKnown}
	for _, p := range configured {
		if q, err := xlat.NewPref64(p); err == nil && q != xlat.WellKnown {
			list = append(list, q)
		}
	}
	return list
}
