package nat64

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

const (
	// BlockSize is the number of ports of a block.
	BlockSize = 1024
	// blocksPerAddr leaves out ports 0 to 1023.
	blocksPerAddr = 63
)

// Block is a range of ports of an IPv4 address, which one endpoint has at a time. Ports of all protocols count alike.
type Block struct {
	Addr  netip.Addr
	First uint16
}

func (b Block) String() string {
	return fmt.Sprintf("%s:%d-%d", b.Addr, b.First, int(b.First)+BlockSize-1)
}

// BlockOf returns the block of a port; false for the ports below 1024, which are in none.
func BlockOf(addr netip.Addr, port uint16) (Block, bool) {
	return Block{addr, port &^ (BlockSize - 1)}, port >= BlockSize
}

// Pool is the IPv4 addresses that gateways share, and the gateways that are alive, by name.
type Pool struct {
	Addrs    []netip.Addr
	Gateways []string
	// First and Last bound the ports of each address that are given out, in whole blocks; zero is no bound.
	First, Last uint16
	// Gives tells whether this gateway may give out ports of a block. Of others it only goes on with what is there. nil: of all.
	Gives func(Block) bool
}

// Blocks returns every block, address by address.
func (p Pool) Blocks() []Block {
	all := make([]Block, 0, len(p.Addrs)*blocksPerAddr)
	for _, a := range p.Addrs {
		for i := range blocksPerAddr {
			b := Block{a, uint16((i + 1) * BlockSize)}
			if b.First >= p.First && (p.Last == 0 || int(b.First)+BlockSize-1 <= int(p.Last)) {
				all = append(all, b)
			}
		}
	}
	return all
}

// Owners returns the gateway that owns a block and the one that would own it without that (rendezvous hashing, Thaler and Ravishankar
// 1998): everybody computes it alike, and when a gateway goes only its own blocks change hands. Without a second gateway next is empty.
func (p Pool) Owners(b Block) (owner, next string) {
	var best, second uint64
	for _, g := range p.Gateways {
		switch w := weight(g, b); {
		case owner == "" || w > best || w == best && g < owner:
			next, second = owner, best
			owner, best = g, w
		case next == "" || w > second || w == second && g < next:
			next, second = g, w
		}
	}
	return owner, next
}

// weight is public: it hides nothing, so its key is fixed.
func weight(gateway string, b Block) uint64 {
	m := make([]byte, 8, 16+len(gateway))
	a := b.Addr.As4()
	copy(m, a[:])
	binary.BigEndian.PutUint16(m[4:], b.First)
	m = append(m, gateway...)
	for len(m)%8 != 0 {
		m = append(m, 0)
	}
	return Secret{}.hash(m)
}

// Grant says who had a block, and since when. It answers who had an IPv4 address and port at a time, without a log of flows
// (RFC 6888 REQ-12).
type Grant struct {
	Block    Block
	Endpoint netip.Addr
	From     Seconds
	To       Seconds // 0: it still has it
}

// Blocks hands the blocks of one gateway to endpoints.
type Blocks struct {
	// Home tells the address that an endpoint should be seen by; nil: any.
	Home func(endpoint netip.Addr) netip.Addr

	quota   int // blocks of one endpoint that this gateway gives
	gives   func(Block) bool
	free    []Block
	idle    []Block // nobody has them, and another gateway gives them
	resting []resting
	had     map[netip.Addr][]Block
	who     map[Block]netip.Addr
	log     func(Grant)
	since   map[Block]Seconds
}

// resting is a block that nobody may have yet: its last user's peers may still send to it.
type resting struct {
	block Block
	until Seconds
}

// portRest is how long a port that was used is used by nobody else (RFC 6888 REQ-8).
const portRest Seconds = 120

// NewBlocks makes the ledger of a gateway. quota is the most blocks an endpoint can have. log is told of each grant when it begins and when
// it ends; it must have written it down when it returns.
func NewBlocks(p Pool, gateway string, quota int, log func(Grant)) *Blocks {
	l := &Blocks{quota: quota, gives: p.Gives, had: map[netip.Addr][]Block{}, who: map[Block]netip.Addr{}, since: map[Block]Seconds{}, log: log}
	for _, b := range p.Blocks() {
		if owner, _ := p.Owners(b); owner == gateway {
			l.add(b)
		}
	}
	return l
}

// may reports whether this gateway may give out ports of a block.
func (l *Blocks) may(b Block) bool { return l.gives == nil || l.gives(b) }

// add notes a block that nobody has.
func (l *Blocks) add(b Block) {
	if l.may(b) {
		l.free = append(l.free, b)
	} else {
		l.idle = append(l.idle, b)
	}
}

// Of returns the blocks of an endpoint, oldest first.
func (l *Blocks) Of(endpoint netip.Addr) []Block { return l.had[endpoint] }

// open returns those blocks of an endpoint that this gateway gives out ports of, oldest first.
func (l *Blocks) open(endpoint netip.Addr) []Block {
	has := l.had[endpoint]
	if !slices.ContainsFunc(has, func(b Block) bool { return !l.may(b) }) {
		return has
	}
	return slices.DeleteFunc(slices.Clone(has), func(b Block) bool { return !l.may(b) })
}

// Owner returns who has a block.
func (l *Blocks) Owner(b Block) (netip.Addr, bool) {
	e, ok := l.who[b]
	return e, ok
}

// Grant gives an endpoint one more block: of the address it has already, if one is free there, because some servers want all connections of
// a client from one address (RFC 4787 REQ-2).
func (l *Blocks) Grant(endpoint netip.Addr, now Seconds) (Block, Shortage) {
	has := l.had[endpoint]
	if len(l.open(endpoint)) >= l.quota {
		return Block{}, AtQuota
	}
	l.wake(now)
	if len(l.free) == 0 {
		return Block{}, NoBlock
	}
	i := -1
	if len(has) > 0 {
		i = slices.IndexFunc(l.free, func(b Block) bool { return b.Addr == has[0].Addr })
	}
	if i < 0 {
		i = l.preferred(endpoint)
	}
	b := l.free[i]
	l.free = slices.Delete(l.free, i, i+1)
	l.had[endpoint], l.who[b], l.since[b] = append(has, b), endpoint, now
	l.log(Grant{Block: b, Endpoint: endpoint, From: now})
	return b, enough
}

// Resume takes a grant up that was made before, without telling the log again. It is false for a block that is not this gateway's to give
// or that somebody has.
func (l *Blocks) Resume(g Grant) bool {
	from := &l.free
	if !l.may(g.Block) {
		from = &l.idle
	}
	i := slices.Index(*from, g.Block)
	if i < 0 {
		return false
	}
	*from = slices.Delete(*from, i, i+1)
	l.had[g.Endpoint], l.who[g.Block], l.since[g.Block] = append(l.had[g.Endpoint], g.Block), g.Endpoint, g.From
	return true
}

// Living returns the grants that have not ended, in the order of blocks.
func (l *Blocks) Living() []Grant {
	list := make([]Grant, 0, len(l.who))
	for b, e := range l.who {
		list = append(list, Grant{Block: b, Endpoint: e, From: l.since[b]})
	}
	slices.SortFunc(list, func(a, b Grant) int {
		return cmp.Or(a.Block.Addr.Compare(b.Block.Addr), cmp.Compare(a.Block.First, b.Block.First))
	})
	return list
}

// Free returns how many blocks nobody has that this gateway gives, those that rest among them.
func (l *Blocks) Free() int {
	n := len(l.free)
	for _, r := range l.resting {
		if l.may(r.block) {
			n++
		}
	}
	return n
}

// preferred is the free block an endpoint gets first: the same one each time, if it is free, so that a gateway that takes over can guess it.
func (l *Blocks) preferred(endpoint netip.Addr) int {
	var home netip.Addr
	if l.Home != nil {
		home = l.Home(endpoint)
	}
	var best uint64
	at, atHome := 0, false
	name := endpoint.String()
	for i, b := range l.free {
		is := b.Addr == home
		if atHome && !is {
			continue
		}
		if w := weight(name, b); i == 0 || is && !atHome || w > best {
			best, at, atHome = w, i, is
		}
	}
	return at
}

// Return takes a block back. It rests before the next endpoint gets it.
func (l *Blocks) Return(b Block, now Seconds) {
	endpoint, ok := l.who[b]
	if !ok {
		return
	}
	l.log(Grant{Block: b, Endpoint: endpoint, From: l.since[b], To: now})
	l.forget(b, endpoint)
	l.resting = append(l.resting, resting{b, now + portRest})
}

func (l *Blocks) forget(b Block, endpoint netip.Addr) {
	delete(l.who, b)
	delete(l.since, b)
	if l.had[endpoint] = slices.DeleteFunc(l.had[endpoint], func(o Block) bool { return o == b }); len(l.had[endpoint]) == 0 {
		delete(l.had, endpoint)
	}
}

// wake frees the blocks whose rest is over.
func (l *Blocks) wake(now Seconds) {
	n, _ := slices.BinarySearchFunc(l.resting, now+1, func(r resting, t Seconds) int { return cmp.Compare(r.until, t) })
	for _, r := range l.resting[:n] {
		l.add(r.block)
	}
	l.resting = slices.Delete(l.resting, 0, n)
}
