package nat64

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
)

const (
	roomBlocks = 16 // of one endpoint that the fast path takes ports of
	roomWays   = 4  // rooms in a row where that of an address may be
	// begunSize is how many flows can begin before the Table looks.
	begunSize = 4096
)

// Room is what the fast path knows of one endpoint: its blocks of ports, and which ends of both sides are taken. It begins flows there by
// the rule of Table.choose, and takes an end by setting its bit: who sets it first has it. A Room lies in memory that is shared with the
// kernel (bpf/pool.h), has no pointers, and any bytes are a valid one.
type Room struct {
	addr    [16]byte
	used    uint32 // 1: the fast path may begin flows of this endpoint
	freed   uint32 // when it was closed
	blocks  [roomBlocks]uint64
	taken   [roomBlocks][2]marks // by place of a block, TCP and UDP
	sources [2][1024]uint64      // ports of the endpoint that have a binding, TCP and UDP
}

// A block in Room.blocks: address in network order, then first port, place of its marks, and a bit that says it is one.
const (
	roomPort  = 32
	roomPlace = 48
	roomBlock = 1 << 63
)

// Begun is the log of flows that the fast path began. It says how many more may begin, too.
type Begun struct {
	head  uint64 // flows that began
	limit uint64 // and that may begin in all
	place [begunSize]uint32
}

// begunNothing stands for a flow that could not begin after all; other values are the place of its outward entry and one.
const begunNothing = ^uint32(0)

// Rooms is the memory by which the fast path begins flows: the first one is the log.
type Rooms struct {
	Begun *Begun
	List  []Room // a power of two
}

// rooms is what a Table keeps beside the shared memory.
type rooms struct {
	Rooms
	of   map[[16]byte]*room
	tail uint64 // flows that began and are known
}

// room is the room of an endpoint that has one.
type room struct {
	*Room
	list   []uint64 // its blocks, oldest first
	rests  [roomBlocks]Seconds
	closed bool // it has blocks that are not here, so later ones do not come here either
}

// FastRooms is the number of rooms for so many endpoints; a power of two.
func FastRooms(endpoints int) int {
	n := 1
	for n < endpoints {
		n *= 2
	}
	return n
}

// hashRoom is room_of in bpf/pool.h.
func hashRoom(addr *[16]byte, seed uint64) uint32 {
	h := seed
	for _, w := range [...]uint64{binary.LittleEndian.Uint64(addr[:]), binary.LittleEndian.Uint64(addr[8:])} {
		h = (h ^ w) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	h *= 0xff51afd7ed558ccd
	return uint32(h >> 32)
}

// roomAt returns the n-th room where an address may be.
func (r *rooms) roomAt(h uint32, n int) *Room {
	return &r.List[(h+uint32(n))&uint32(len(r.List)-1)]
}

// get returns the room of an endpoint, and opens one if it has none; nil: there is no place for it. The fast path begins nothing in it
// before it is published.
func (f *Fast) get(t *Table, owner netip.Addr) *room {
	if f == nil || f.rooms.Begun == nil || !t.mayHave(owner) {
		return nil
	}
	key := owner.As16()
	if r, known := f.rooms.of[key]; known {
		return r
	}
	if t.running && len(t.c.Blocks.Of(owner)) > 1 { // there was no place before, and what it has is marked elsewhere
		return nil
	}
	h := hashRoom(&key, f.seed)
	for n := range roomWays {
		at := f.rooms.roomAt(h, n)
		if at.used != 0 || at.freed != 0 && Seconds(at.freed)+roomRest > t.now {
			continue
		}
		if _, taken := f.rooms.of[at.addr]; taken && f.rooms.of[at.addr].Room == at { // not published yet
			continue
		}
		*at = Room{addr: key}
		r := &room{Room: at}
		f.rooms.of[key] = r
		return r
	}
	return nil
}

// blockOf returns where the ports of a block that an endpoint has are marked, those of TCP and those of UDP.
func (f *Fast) blockOf(t *Table, owner netip.Addr, b Block) (tcp, udp *marks) {
	free := t.heldOf(b)
	r := f.get(t, owner)
	if r == nil || r.closed || !t.c.Blocks.may(b) {
		return &free[0], &free[1]
	}
	for place := range uint64(roomBlocks) {
		if r.rests[place] > t.now || r.has(place) {
			continue
		}
		r.Room.taken[place] = free
		four := b.Addr.As4()
		word := uint64(binary.LittleEndian.Uint32(four[:])) | uint64(b.First)<<roomPort | place<<roomPlace | roomBlock
		r.list = append(r.list, word)
		atomic.StoreUint64(&r.blocks[len(r.list)-1], word)
		return &r.Room.taken[place][0], &r.Room.taken[place][1]
	}
	r.closed = true
	return &free[0], &free[1]
}

func (r *room) has(place uint64) bool {
	for _, w := range r.list {
		if w>>roomPlace&(roomBlocks-1) == place {
			return true
		}
	}
	return false
}

// forget takes a block from the room of the endpoint that had it, and closes a room that has none left. A program that goes by what was
// there does so for an instant: the place rests, and so does the block.
func (f *Fast) forget(t *Table, owner netip.Addr, b Block) {
	if f == nil {
		return
	}
	key := owner.As16()
	r := f.rooms.of[key]
	if r == nil {
		return
	}
	four := b.Addr.As4()
	same := uint64(binary.LittleEndian.Uint32(four[:])) | uint64(b.First)<<roomPort
	for i, w := range r.list {
		if w&(1<<roomPlace-1) != same {
			continue
		}
		r.rests[w>>roomPlace&(roomBlocks-1)] = t.now + roomRest + 1
		r.list = append(r.list[:i], r.list[i+1:]...)
		for k := range r.blocks {
			var word uint64
			if k < len(r.list) {
				word = r.list[k]
			}
			atomic.StoreUint64(&r.blocks[k], word)
		}
		break
	}
	if len(t.c.Blocks.Of(owner)) == 0 {
		atomic.StoreUint32(&r.freed, uint32(t.now))
		atomic.StoreUint32(&r.used, 0)
		delete(f.rooms.of, key)
	}
}

// claim takes an end of an endpoint for a binding that the Table is about to make; false: the fast path was first.
func (f *Fast) claim(k key6) bool {
	if f == nil || lane(k.protocol) > 1 || f.rooms.of[k.addr] == nil {
		return true
	}
	return setBit(&f.rooms.of[k.addr].sources[lane(k.protocol)][k.port/64], k.port)
}

// hold marks the ends of a binding that is there. The first one publishes the room.
func (f *Fast) hold(t *Table, k key6) {
	if f == nil || f.rooms.of[k.addr] == nil {
		return
	}
	r := f.rooms.of[k.addr]
	if n := lane(k.protocol); n < 2 {
		setBit(&r.sources[n][k.port/64], k.port)
	}
	if t.running && !t.adopting {
		atomic.StoreUint32(&r.used, 1)
	}
}

func (f *Fast) release(k key6) {
	if f == nil || lane(k.protocol) > 1 || f.rooms.of[k.addr] == nil {
		return
	}
	clearBit(&f.rooms.of[k.addr].sources[lane(k.protocol)][k.port/64], k.port)
}

// allow says how many flows may begin before the Table looks again: as many as the log and the table have room for.
func (f *Fast) allow(t *Table) {
	if f == nil || f.rooms.Begun == nil || !t.running || t.paused {
		return
	}
	room := min(begunSize, max(0, t.c.Limit-len(t.by6)))
	atomic.StoreUint64(&f.rooms.Begun.limit, f.rooms.tail+uint64(room))
}

// learn makes the bindings and sessions of the flows that the fast path began.
func (t *Table) learn() {
	f := t.c.Fast
	if f == nil || f.rooms.Begun == nil || atomic.LoadUint64(&f.rooms.Begun.head) == f.rooms.tail {
		return
	}
	for f.rooms.tail != atomic.LoadUint64(&f.rooms.Begun.head) {
		word := &f.rooms.Begun.place[f.rooms.tail%begunSize]
		at := atomic.SwapUint32(word, 0)
		if at == 0 { // it is being begun this instant
			break
		}
		f.rooms.tail++
		if at != begunNothing && int(at-1) < len(f.of) && f.kind(at-1) == outward && !f.adoptOne(t, at-1) {
			f.undo(t, at-1)
		}
	}
	f.allow(t)
}

// undo takes away a flow that began where none may: its endpoint lost the block meanwhile.
func (f *Fast) undo(t *Table, place uint32) {
	e := f.at(place)
	k := key6{e.from.src, e.from.ends().SrcPort, e.from.protocol}
	if _, known := t.by6[k]; !known {
		f.release(k)
	}
	if four := e.to.ends(); four.Src.Is4() {
		if _, known := t.by4[key4{four.Src.As4(), four.SrcPort, e.from.protocol}]; !known {
			t.c.Bound.Clear(e.from.protocol, four.SrcPort)
		}
	}
	if twin := *f.twin(place); int(twin) < len(f.of) && f.kind(twin) == back && *f.twin(twin) == place {
		f.free(twin)
	}
	f.free(place)
}

// pause lets the fast path begin nothing until it is allowed again, and makes the bindings of all that it began.
func (f *Fast) pause(t *Table) {
	if f == nil || f.rooms.Begun == nil {
		return
	}
	t.paused = true
	head := f.rooms.Begun.stop()
	for range claimTries { // a program that runs is over in well under a microsecond
		if t.learn(); f.rooms.tail == head {
			return
		}
	}
}

// stop lets no more flows begin, and returns how many did.
func (b *Begun) stop() (head uint64) {
	head = atomic.LoadUint64(&b.head)
	atomic.StoreUint64(&b.limit, head)
	for head != atomic.LoadUint64(&b.head) { // one began that had read the limit before
		head = atomic.LoadUint64(&b.head)
		atomic.StoreUint64(&b.limit, head)
	}
	return head
}

// settle takes up what was begun before this Table: nothing begins meanwhile, and everything is found by the flows themselves.
func (f *Fast) settle() {
	b := f.rooms.Begun
	if b == nil {
		return
	}
	f.rooms.tail = b.stop()
	clear(b.place[:])
	f.rooms.of = map[[16]byte]*room{}
	for i := range f.rooms.List {
		atomic.StoreUint32(&f.rooms.List[i].used, 0)
		f.rooms.List[i].freed = 0
	}
}

// publish lets the fast path begin flows of every endpoint that has a room.
func (f *Fast) publish(t *Table) {
	for _, r := range f.rooms.of {
		atomic.StoreUint32(&r.used, 1)
	}
	f.allow(t)
}
