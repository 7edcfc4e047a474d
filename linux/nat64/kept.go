package nat64

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/model/xlat/nat64"
)

// kept is the bindings that owners told this gateway, which goes on with them when they are gone. Whose a block is follows from
// them, and is written down: so who had a port is answered here, too, when the host of its gateway is no more.
type kept struct {
	bindings map[netip.Addr]map[poolEnd]keptBinding // by address of the pool
	blocks   map[nat64.Block]*keptBlock
	most     int // bindings; those beyond are not kept
	n        int
	log      func(Record)
}

// poolEnd is a port of an address of the pool, and its protocol as IPv4 numbers it.
type poolEnd struct {
	port     uint16
	protocol uint8
}

func endOf(c nat64.Copy) poolEnd { return poolEnd{c.Pool.Port(), c.Protocol} }

type keptBinding struct {
	endpoint netip.AddrPort
	told     nat64.Seconds // when it was told last
}

type keptBlock struct {
	owner    string
	endpoint netip.Addr
	bindings int
}

// keptFor is how long a binding is kept that is told no more: its end was told too, in a word that was lost.
const keptFor nat64.Seconds = 2 * 3600

func newKept(log func(Record)) kept {
	return kept{bindings: map[netip.Addr]map[poolEnd]keptBinding{}, blocks: map[nat64.Block]*keptBlock{}, log: log}
}

func (k *kept) len() int { return k.n }

// add keeps a binding that its owner told at a time, instead of one that had the port before.
func (k *kept) add(owner string, c nat64.Copy, at nat64.Seconds) {
	a, endpoint := c.Pool.Addr(), c.Endpoint.Addr()
	_, known := k.bindings[a][endOf(c)]
	block, ok := nat64.BlockOf(a, c.Pool.Port())
	if !ok || !known && k.n >= k.most {
		return
	}
	if k.bindings[a] == nil {
		k.bindings[a] = map[poolEnd]keptBinding{}
	}
	k.bindings[a][endOf(c)] = keptBinding{c.Endpoint, at}
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
	a, e := c.Pool.Addr(), endOf(c)
	if b, known := k.bindings[a][e]; known && b.endpoint == c.Endpoint {
		k.remove(a, e)
	}
}

func (k *kept) remove(a netip.Addr, e poolEnd) {
	delete(k.bindings[a], e)
	k.n--
	block, _ := nat64.BlockOf(a, e.port)
	if b := k.blocks[block]; b.bindings > 1 {
		b.bindings--
	} else {
		delete(k.blocks, block)
		k.log(record(EventReturned, b.owner, block, b.endpoint))
	}
}

// forget drops what was not told for long.
func (k *kept) forget(now nat64.Seconds) {
	for a, list := range k.bindings {
		for e, b := range list {
			if now-b.told > keptFor {
				k.remove(a, e)
			}
		}
	}
}

// take hands the bindings of an address to this gateway's own table, and returns how many that took. Those that were told last come first: of two
// that contradict each other the other one ended, and that was said when this gateway was not the one to know it.
func (k *kept) take(a netip.Addr, adopt func(iter.Seq[nat64.Copy]) int, blocks *nat64.Blocks) (n int) {
	list := k.bindings[a]
	ends := slices.SortedFunc(maps.Keys(list), func(x, y poolEnd) int { return cmp.Compare(list[y].told, list[x].told) })
	n = adopt(func(yield func(nat64.Copy) bool) {
		for _, e := range ends {
			if !yield(nat64.Copy{Endpoint: list[e].endpoint, Pool: netip.AddrPortFrom(a, e.port), Protocol: e.protocol}) {
				return
			}
		}
	})
	k.n -= len(list)
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
