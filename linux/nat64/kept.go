package nat64

import (
	"iter"
	"maps"
	"net/netip"

	"hexapod.dev/model/xlat/nat64"
)

// kept is the bindings that owners told this gateway, which goes on with them when they are gone. Whose a block is follows from
// them, and is written down: so who had a port is answered here, too, when the host of its gateway is no more.
type kept struct {
	bindings map[netip.Addr]map[nat64.Copy]nat64.Seconds // by address of the pool: when they were told last
	blocks   map[nat64.Block]*keptBlock
	most     int // bindings; those beyond are not kept
	n        int
	log      func(Record)
}

type keptBlock struct {
	owner    string
	endpoint netip.Addr
	bindings int
}

// keptFor is how long a binding is kept that is told no more: its end was told too, in a word that was lost.
const keptFor nat64.Seconds = 2 * 3600

func newKept(log func(Record)) kept {
	return kept{bindings: map[netip.Addr]map[nat64.Copy]nat64.Seconds{}, blocks: map[nat64.Block]*keptBlock{}, log: log}
}

func (k *kept) len() int { return k.n }

// add keeps a binding that its owner told at a time.
func (k *kept) add(owner string, c nat64.Copy, at nat64.Seconds) {
	a, endpoint := c.Pool.Addr(), c.Endpoint.Addr()
	_, known := k.bindings[a][c]
	block, ok := nat64.BlockOf(a, c.Pool.Port())
	if !ok || !known && k.n >= k.most {
		return
	}
	if k.bindings[a] == nil {
		k.bindings[a] = map[nat64.Copy]nat64.Seconds{}
	}
	k.bindings[a][c] = at
	b := k.blocks[block]
	if b == nil {
		b = &keptBlock{}
		k.blocks[block] = b
	}
	if !known {
		k.n++
		b.bindings++
	}
	if b.owner != owner || b.endpoint != endpoint {
		b.owner, b.endpoint = owner, endpoint
		k.log(record(EventGranted, owner, block, endpoint))
	}
}

// drop forgets a binding that ended.
func (k *kept) drop(c nat64.Copy) {
	list := k.bindings[c.Pool.Addr()]
	if _, known := list[c]; !known {
		return
	}
	delete(list, c)
	k.n--
	block, _ := nat64.BlockOf(c.Pool.Addr(), c.Pool.Port())
	if b := k.blocks[block]; b.bindings > 1 {
		b.bindings--
	} else {
		delete(k.blocks, block)
		k.log(record(EventReturned, b.owner, block, b.endpoint))
	}
}

// forget drops what was not told for long.
func (k *kept) forget(now nat64.Seconds) {
	for _, list := range k.bindings {
		for c, told := range list {
			if now-told > keptFor {
				k.drop(c)
			}
		}
	}
}

// take hands the bindings of an address to this gateway's own table, and returns how many that took.
func (k *kept) take(a netip.Addr, adopt func(iter.Seq[nat64.Copy]) int, blocks *nat64.Blocks) (n int) {
	n = adopt(maps.Keys(k.bindings[a]))
	k.n -= len(k.bindings[a])
	delete(k.bindings, a)
	for block, b := range k.blocks {
		if block.Addr != a {
			continue
		}
		delete(k.blocks, block)
		if _, goesOn := blocks.Owner(block); !goesOn {
			k.log(record(EventReturned, b.owner, block, b.endpoint))
		}
	}
	return n
}
