package nat64

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"hexapod.dev/model/xlat"
)

// fastWays is how many flows can stand in one bucket.
const fastWays = 8

// fastSpare is how many places of a bucket are kept free, as far as its flows are silent.
const fastSpare = 1

// Bucket is a row of the table that the fast path reads (bpf/nat64.c). It lies in memory that this process shares with the kernel, has
// no pointers, and any bytes are a valid one.
type Bucket struct {
	used  [fastWays]uint32 // what an entry is, above that a tag, and how often it was written: a reader sees by it that what it read was whole
	twin  [fastWays]uint32 // place of the other direction
	entry [fastWays]fastEntry
}

// fastEntry is one direction of a flow: what a packet's ends are, and what they become.
type fastEntry struct {
	life     uint64 // of the flow, in the entry of packets from IPv6: see life
	from, to fastEnds
}

// fastEnds are ends with ports in network order. IPv4 addresses are written as ::ffff:0:0/96 has them.
type fastEnds struct {
	src, dst         [16]byte
	srcPort, dstPort [2]byte
	protocol         uint8
	_                [3]byte
}

// Values of the lowest byte of Bucket.used.
const (
	free    = 0
	outward = 1 // of packets from IPv6
	back    = 2
	busy    = 3 // being written

	kinds     = 0xff
	tags      = 0xff00  // of the hash of ends
	writeOnce = 0x10000 // is added when an entry is taken
)

// nobody is no binding.
const nobody = ^uint32(0)

const (
	// roomRest is how long a freed room stays unused: a program may be between reading it and going by it.
	roomRest Seconds = 2
	// fastIdle is how long a flow without connection was silent when it may make room for another one.
	fastIdle Seconds = 10
	// fastOver is the same of a connection that has ended, and fastQuiet of one that has not.
	fastOver  Seconds = 2
	fastQuiet Seconds = 60
)

// Fast is the flows that the fast path translates by itself. It is a cache: what does not fit is translated by the Table.
type Fast struct {
	buckets  []Bucket
	seed     uint64
	rooms    rooms
	of       []uint32            // the binding of an outward entry, by place; nobody: none that is known
	places   map[uint32][]uint32 // outward entries of a binding
	sessions map[uint32]*session // TCP sessions whose life is in an entry, by place
	refused  uint64
}

// NewFast makes the table of the fast path in shared memory of a power of two of buckets. seed keys its hash. What the memory holds goes on
// with the next New. Where there are rooms, the fast path begins flows by itself.
func NewFast(buckets []Bucket, r Rooms, seed uint64) *Fast {
	f := &Fast{buckets: buckets, rooms: rooms{Rooms: r, of: map[[16]byte]*room{}}, seed: seed, of: make([]uint32, len(buckets)*fastWays),
		places: map[uint32][]uint32{}, sessions: map[uint32]*session{}}
	for i := range f.of {
		f.of[i] = nobody
	}
	return f
}

// FastBuckets is the number of buckets for so many flows, both directions, at half of what they hold; a power of two.
func FastBuckets(flows int) int {
	n := 1
	for n*fastWays < 4*flows {
		n *= 2
	}
	return n
}

// Len returns the flows that the fast path knows, and how many did not fit since the beginning.
func (f *Fast) Len() (flows int, refused uint64) {
	for _, list := range f.places {
		flows += len(list)
	}
	return flows, f.refused
}

func fastEndsOf(e xlat.Ends, protocol uint8) (f fastEnds) {
	f.src, f.dst, f.protocol = e.Src.As16(), e.Dst.As16(), protocol
	binary.BigEndian.PutUint16(f.srcPort[:], e.SrcPort)
	binary.BigEndian.PutUint16(f.dstPort[:], e.DstPort)
	return f
}

func (e fastEnds) ends() xlat.Ends {
	return xlat.Ends{Src: netip.AddrFrom16(e.src).Unmap(), Dst: netip.AddrFrom16(e.dst).Unmap(),
		SrcPort: binary.BigEndian.Uint16(e.srcPort[:]), DstPort: binary.BigEndian.Uint16(e.dstPort[:])}
}

// hash is hash_of in bpf/include/nat64_flow.h.
func (f *Fast) hash(e *fastEnds) uint64 {
	h := f.seed
	for _, w := range [...]uint64{
		binary.LittleEndian.Uint64(e.src[:]), binary.LittleEndian.Uint64(e.src[8:]), binary.LittleEndian.Uint64(e.dst[:]), binary.LittleEndian.Uint64(e.dst[8:]),
		uint64(binary.LittleEndian.Uint16(e.srcPort[:])) | uint64(binary.LittleEndian.Uint16(e.dstPort[:]))<<16 | uint64(e.protocol)<<32,
	} {
		h = (h ^ w) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	h *= 0xff51afd7ed558ccd
	return h ^ h>>32
}

// place is the first place in the bucket of a hash.
func (f *Fast) place(hash uint64) uint32 {
	return uint32(hash) & uint32(len(f.buckets)-1) * fastWays
}

func tagOf(hash uint64) uint32 { return uint32(hash>>48) & tags }

func (f *Fast) at(place uint32) *fastEntry { return &f.buckets[place/fastWays].entry[place%fastWays] }
func (f *Fast) used(place uint32) *uint32  { return &f.buckets[place/fastWays].used[place%fastWays] }
func (f *Fast) twin(place uint32) *uint32  { return &f.buckets[place/fastWays].twin[place%fastWays] }
func (f *Fast) kind(place uint32) uint32   { return atomic.LoadUint32(f.used(place)) & kinds }

// find returns the entry of ends.
func (f *Fast) find(e *fastEnds) (place uint32, ok bool) {
	hash := f.hash(e)
	first, tag := f.place(hash), tagOf(hash)
	for p := first; p < first+fastWays; p++ {
		if used := atomic.LoadUint32(f.used(p)); used&kinds != free && used&tags == tag && f.at(p).from == *e {
			return p, true
		}
	}
	return 0, false
}

// room takes a free place for ends, or that of a flow that was silent.
func (f *Fast) room(t *Table, e *fastEnds) (place uint32, ok bool) {
	hash := f.hash(e)
	first, tag := f.place(hash), tagOf(hash)
	for range 2 {
		for p := first; p < first+fastWays; p++ {
			x := f.used(p)
			if used := atomic.LoadUint32(x); used&kinds == free && atomic.CompareAndSwapUint32(x, used, (used+writeOnce)&^tags|tag|busy) {
				return p, true
			}
		}
		if !f.evict(t, first) {
			break
		}
	}
	f.refused++
	return 0, false
}

// evict lets a flow of a full bucket go that was silent.
func (f *Fast) evict(t *Table, first uint32) bool {
	for p := first; p < first+fastWays; p++ {
		out, ok := f.outward(p)
		if ok && f.silent(t, out) {
			f.drop(t, out)
			return true
		}
	}
	return false
}

// silent reports whether a flow may make room for another one.
func (f *Fast) silent(t *Table, out uint32) bool {
	x := f.at(out)
	life := atomic.LoadUint64(&x.life)
	ends := Seconds(uint32(life))
	if x.from.protocol != tcp {
		return ends+fastIdle <= t.now+t.c.Times.of(x.from.protocol)
	}
	switch State(life >> 32 & (states - 1)) {
	case V4V6Fin, Trans:
		return ends+fastOver <= t.now+t.c.Times.TCPTrans
	case V4Init, V6Init:
		return ends+fastIdle <= t.now+t.c.Times.TCPTrans
	}
	return ends+fastQuiet <= t.now+t.c.Times.TCPEst
}

// outward is the place of the outward entry of a flow, of whose entries p is one; false: none that the Table knows.
func (f *Fast) outward(p uint32) (uint32, bool) {
	if f.kind(p) == back {
		p = *f.twin(p)
	}
	return p, int(p) < len(f.of) && f.of[p] != nobody
}

// add lets the fast path have a flow: six are its ends as the endpoint sends them, four as the server sees them. shown is the server's
// address as the endpoint is shown it. s is its TCP session.
func (f *Fast) add(t *Table, binding uint32, six, four xlat.Ends, shown netip.Addr, protocol uint8, s *session) {
	from, to := fastEndsOf(six, protocol), fastEndsOf(four, protocol)
	if protocol == icmp { // an echo has one identifier, and both directions have it
		from.dstPort, to.dstPort = from.srcPort, to.srcPort
	}
	if _, known := f.find(&from); known {
		return
	}
	answer := to.turned()
	if _, known := f.find(&answer); known { // the endpoint reaches one server by two prefixes: one of them is fast
		return
	}
	shownTo := from.turned()
	shownTo.src = shown.As16()
	out, ok := f.room(t, &from)
	if !ok {
		return
	}
	in, ok := f.room(t, &answer)
	if !ok {
		f.free(out)
		return
	}
	life := uint64(t.now + t.c.Times.of(protocol))
	if s != nil {
		life = s.own
		s.fast = out + 1
		f.sessions[out] = s
	}
	f.write(in, back, out, answer, shownTo, life)
	f.write(out, outward, in, from, to, life)
	f.of[out] = binding
	f.places[binding] = append(f.places[binding], out)
}

func (e fastEnds) turned() fastEnds {
	return fastEnds{src: e.dst, dst: e.src, srcPort: e.dstPort, dstPort: e.srcPort, protocol: e.protocol}
}

// write fills an entry; whether it counts is written last.
func (f *Fast) write(place, used, twin uint32, from, to fastEnds, life uint64) {
	e := f.at(place)
	*f.twin(place), e.from, e.to = twin, from, to
	atomic.StoreUint64(&e.life, life)
	atomic.StoreUint32(f.used(place), atomic.LoadUint32(f.used(place))&^kinds|used)
}

func (f *Fast) free(place uint32) { atomic.AndUint32(f.used(place), ^uint32(kinds)) }

// drop takes a flow from the fast path; the Table goes on with it.
func (f *Fast) drop(t *Table, out uint32) {
	life := atomic.LoadUint64(&f.at(out).life)
	i := f.of[out]
	f.of[out] = nobody
	if s := f.sessions[out]; s != nil {
		s.own, s.fast = life, 0
		delete(f.sessions, out)
	} else {
		t.bindings[i].expires = max(t.bindings[i].expires, Seconds(uint32(life)))
	}
	f.free(*f.twin(out))
	f.free(out)
	list := f.places[i]
	for k, p := range list {
		if p == out {
			list[k] = list[len(list)-1]
			list = list[:len(list)-1]
			break
		}
	}
	if f.places[i] = list; len(list) == 0 {
		delete(f.places, i)
	}
}

// dropAll takes all flows of a binding from the fast path.
func (f *Fast) dropAll(t *Table, binding uint32) {
	for len(f.places[binding]) > 0 {
		f.drop(t, f.places[binding][0])
	}
}

// merge tells the Table of what passed by the fast path, and ends flows that are silent.
func (f *Fast) merge(t *Table) {
	for b := range f.buckets {
		spare := 0
		for w := range f.buckets[b].entry {
			e, place := &f.buckets[b].entry[w], uint32(b*fastWays+w)
			used := f.kind(place)
			if used == free {
				spare++
			}
			if used != outward || f.of[place] == nobody || e.from.protocol == tcp {
				continue
			}
			ends := Seconds(uint32(atomic.LoadUint64(&e.life)))
			i := f.of[place]
			t.bindings[i].expires = max(t.bindings[i].expires, ends)
			if ends <= t.now {
				f.drop(t, place)
			}
		}
		if spare < fastSpare {
			f.evict(t, uint32(b*fastWays))
		}
	}
}

// adopt takes up the flows that a table before left in the memory, as far as the bindings of t still say the same.
func (f *Fast) adopt(t *Table) {
	for b := range f.buckets {
		for w := range f.buckets[b].entry {
			place := uint32(b*fastWays + w)
			if used := f.kind(place); used >= busy || used == outward && !f.adoptOne(t, place) {
				f.free(place)
			}
		}
	}
	for b := range f.buckets {
		for w := range f.buckets[b].entry {
			place := uint32(b*fastWays + w)
			twin := *f.twin(place)
			if f.kind(place) == back && (int(twin) >= len(f.of) || f.kind(twin) != outward || *f.twin(twin) != place) {
				f.free(place)
			}
		}
	}
}

func (f *Fast) adoptOne(t *Table, place uint32) bool {
	e, twin := f.at(place), *f.twin(place)
	six, four := e.from.ends(), e.to.ends() // only UDP and TCP make a binding here: an echo is the Table's
	if int(twin) >= len(f.of) || !four.Src.Is4() || !four.Dst.Is4() {
		return false
	}
	b := Binding{six: key6{e.from.src, six.SrcPort, e.from.protocol}, four: key4{four.Src.As4(), four.SrcPort, e.from.protocol}}
	i, known := t.by6[b.six]
	if !known && !t.mayInsert(b) {
		return false
	}
	remote, why := t.extract(six.Dst)
	reply := f.at(twin)
	if why != xlat.Translated || remote != four.Dst || !t.mayHave(six.Src) || known && t.bindings[i].four != b.four ||
		f.kind(twin) != back || *f.twin(twin) != place || reply.from != e.to.turned() || reply.to.dst != e.from.src || netip.AddrFrom16(reply.to.src) != t.embed(remote) {
		return false
	}
	if !known {
		if e.from.protocol != tcp {
			b.expires = Seconds(uint32(atomic.LoadUint64(&e.life)))
		}
		i = t.insert(b)
	}
	if e.from.protocol == tcp {
		k := sessionKey{i, four.Dst.As4(), four.DstPort}
		if t.sessions[k] != nil {
			return false
		}
		s := &session{own: e.life, fast: place + 1}
		t.sessions[k], f.sessions[place] = s, s
		t.bindings[i].sessions++
	}
	f.of[place] = i
	f.places[i] = append(f.places[i], place)
	return true
}

// of is the life of a binding without connections.
func (t Times) of(protocol uint8) Seconds {
	if protocol == icmp {
		return t.ICMP
	}
	return t.UDP
}

// Kinds of timers in the upper half of a step.
const (
	stepKeep  = 0
	stepTrans = 1
	stepEst   = 2
)

// Steps is the state machine of TCP sessions as the fast path has it: by state times eight and event, the state after it, and in the
// upper half what becomes of its life.
func Steps() (steps [states * 8]byte) {
	timers := map[timer]byte{keep: stepKeep, trans: stepTrans, est: stepEst}
	for s := range states {
		for e := range int(Timeout) {
			n := next[s][e]
			steps[s*8+e] = byte(n.to) | timers[n.timer]<<4
		}
	}
	return steps
}

// IsFast reports whether the fast path knows a flow and decides by itself about its next packet. six are its ends as the endpoint sends them.
func (t *Table) IsFast(six xlat.Ends, protocol uint8) bool {
	if t.c.Fast == nil {
		return false
	}
	e := fastEndsOf(six, protocol)
	p, ok := t.c.Fast.find(&e)
	return ok && Seconds(uint32(atomic.LoadUint64(&t.c.Fast.at(p).life))) > t.now
}
