package nat64

import (
	"iter"
	"net/netip"
	"slices"
)

// Home is the address of a pool that an endpoint is seen by, as long as one of its blocks is free (RFC 4787 REQ-2). Every gateway computes it
// alike (rendezvous hashing), so that each knows which of them translates for an endpoint.
func Home(endpoint netip.Addr, pool []netip.Addr) (home netip.Addr) {
	var best uint64
	name := endpoint.String()
	for _, a := range pool {
		if w := weight(name, Block{Addr: a}); !home.IsValid() || w > best || w == best && a.Less(home) {
			home, best = a, w
		}
	}
	return home
}

// Take adds addresses to those whose blocks this gateway hands out: another one had them. None of them may be its own already.
func (l *Blocks) Take(p Pool) {
	for _, b := range p.Blocks() {
		l.add(b)
	}
}

// leave gives addresses up: another gateway hands their blocks out from now on. What was granted goes on there, so the log is told nothing.
func (l *Blocks) leave(gone map[netip.Addr]bool) {
	for b, endpoint := range l.who {
		if gone[b.Addr] {
			l.forget(b, endpoint)
		}
	}
	l.free = slices.DeleteFunc(l.free, func(b Block) bool { return gone[b.Addr] })
	l.idle = slices.DeleteFunc(l.idle, func(b Block) bool { return gone[b.Addr] })
	l.resting = slices.DeleteFunc(l.resting, func(r resting) bool { return gone[r.block.Addr] })
}

// Copy is a binding as gateways tell each other of it.
type Copy struct {
	Endpoint, Pool netip.AddrPort // ICMP: the identifier is the port
	Protocol       uint8          // as IPv4 numbers it
}

func (b *Binding) copy() Copy {
	return Copy{Endpoint: netip.AddrPortFrom(netip.AddrFrom16(b.six.addr), b.six.port), Pool: netip.AddrPortFrom(netip.AddrFrom4(b.four.addr), b.four.port), Protocol: b.six.protocol}
}

// Adopt makes bindings that another gateway had, and returns how many. Those of TCP live on as if something had just been said in an
// established session. Left out are bindings that are here already, those in blocks that are not this gateway's or somebody else's, and what
// is more than the table holds.
func (t *Table) Adopt(list iter.Seq[Copy]) (n int) {
	t.learn()
	t.adopting = true // the fast path begins no flow of an endpoint whose other bindings are still to come
	for c := range list {
		if t.adopt(c) {
			n++
		}
	}
	t.adopting = false
	if n > 0 && t.c.Fast != nil {
		t.c.Fast.publish(t)
	}
	return n
}

func (t *Table) adopt(c Copy) bool {
	block, ok := BlockOf(c.Pool.Addr(), c.Pool.Port())
	b := Binding{six: key6{c.Endpoint.Addr().As16(), c.Endpoint.Port(), c.Protocol}, four: key4{c.Pool.Addr().As4(), c.Pool.Port(), c.Protocol}}
	_, known6 := t.by6[b.six]
	_, known4 := t.by4[b.four]
	if !ok || known6 || known4 || len(t.by6) >= t.c.Limit || !t.c.Blocks.inherit(block, c.Endpoint.Addr(), t.now) {
		return false
	}
	if b.expires = t.now + t.c.Times.of(c.Protocol); c.Protocol == tcp {
		b.expires = t.now + t.c.Times.TCPEst
	}
	t.insert(b)
	return true
}

// inherit makes an endpoint the owner of a block that it had from another gateway; false: somebody else has it, or it is not this gateway's.
func (l *Blocks) inherit(b Block, endpoint netip.Addr, now Seconds) bool {
	if owner, had := l.who[b]; had {
		return owner == endpoint
	}
	g := Grant{Block: b, Endpoint: endpoint, From: now}
	if !l.Resume(g) {
		return false
	}
	l.log(g) // this gateway answers for it from now on
	return true
}

// Leave gives addresses of the pool up, and tells of each binding that goes on elsewhere. The fast path begins no flow meanwhile: nobody would
// be told of it.
func (t *Table) Leave(addrs []netip.Addr, tell func(Copy)) {
	t.c.Fast.pause(t)
	gone, bindings := map[netip.Addr]bool{}, map[uint32]bool{}
	for _, a := range addrs {
		gone[a] = true
	}
	for i := range t.bindings {
		if b := &t.bindings[i]; b.six != (key6{}) && gone[netip.AddrFrom4(b.four.addr)] {
			bindings[uint32(i)] = true
			if t.alive(uint32(i)) {
				tell(b.copy())
			}
		}
	}
	t.c.Blocks.leave(gone)
	changed := t.Changed
	t.Changed = nil // they do not end
	for i := range bindings {
		t.remove(i)
	}
	t.Changed = changed
	for k := range t.sessions {
		if bindings[k.binding] {
			delete(t.sessions, k)
		}
	}
	t.paused = false
	t.c.Fast.allow(t)
}

// HasPort reports whether a port of the pool has a binding that lives.
func (t *Table) HasPort(pool netip.AddrPort, protocol uint8) bool {
	t.learn()
	i, ok := t.by4[key4{pool.Addr().As4(), pool.Port(), protocol}]
	return ok && t.alive(i)
}

// HasEnd reports whether an end of an endpoint has a binding that lives.
func (t *Table) HasEnd(endpoint netip.AddrPort, protocol uint8) bool {
	t.learn()
	i, ok := t.by6[key6{endpoint.Addr().As16(), endpoint.Port(), protocol}]
	return ok && t.alive(i)
}

// Copies calls f for at most n bindings from a place on and returns the place to go on from; 0: from the begin.
func (t *Table) Copies(from, n int, f func(Copy)) int {
	t.learn()
	for i := from; i < len(t.bindings); i++ {
		if n == 0 {
			return i
		}
		if b := &t.bindings[i]; b.six != (key6{}) && t.alive(uint32(i)) {
			f(b.copy())
			n--
		}
	}
	return 0
}
