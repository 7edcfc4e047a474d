package dns

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"sync"
)

// shards of a cache: few clients wait for one another.
const shards = 16

// cache holds finished messages in rings of bytes. A ring that is full loses its oldest entries; nothing else is ever freed, so the
// memory is what it was made with, and the garbage collector has nothing to look at.
type cache struct {
	seed   maphash.Seed
	shards [shards]shard
}

// shard is one ring. An entry is a header, a key, a message, and the places of its times to live.
type shard struct {
	mu    sync.Mutex
	ring  []byte
	head  int               // where the next entry goes
	tail  int               // the oldest entry
	count int               // entries
	wrap  int               // where entries end before the ring begins anew; 0: they do not
	at    map[uint64]uint32 // by hash
}

// Header of an entry: hash 8, stored 4, expires 4, length of key 2, of message 2, of offsets 2, extended error 2, size 4.
const entryHeader = 28

func newCache(size int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].ring = make([]byte, size/shards)
		c.shards[i].at = make(map[uint64]uint32)
	}
	return c
}

func (c *cache) shard(key []byte) (*shard, uint64) {
	h := maphash.Bytes(c.seed, key)
	return &c.shards[h%shards], h
}

// get appends the message of a key to out, aged to now (in seconds of any clock that put uses too).
func (c *cache) get(out, key []byte, now uint32) (_ []byte, extra uint16, ok bool) {
	s, h := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[h]
	if !ok {
		return out, 0, false
	}
	e := s.ring[at:]
	stored, expires := binary.BigEndian.Uint32(e[8:]), binary.BigEndian.Uint32(e[12:])
	keyLen, length, offsets := int(binary.BigEndian.Uint16(e[16:])), int(binary.BigEndian.Uint16(e[18:])), int(binary.BigEndian.Uint16(e[20:]))
	body := e[entryHeader:]
	if now >= expires || !bytes.Equal(body[:keyLen], key) {
		return out, 0, false
	}
	begin := len(out)
	out = append(out, body[keyLen:keyLen+length]...)
	age(out[begin:], body[keyLen+length:keyLen+length+offsets], now-min(now, stored))
	return out, binary.BigEndian.Uint16(e[22:]), true
}

// put remembers a message for ttl seconds.
func (c *cache) put(key, message []byte, offsets []uint16, now, ttl uint32, extra uint16) {
	s, h := c.shard(key)
	size := entryHeader + len(key) + len(message) + 2*len(offsets)
	if size > len(s.ring)/4 { // it would push too much out
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.room(size)
	e := s.ring[at : at+size]
	binary.BigEndian.PutUint64(e, h)
	binary.BigEndian.PutUint32(e[8:], now)
	binary.BigEndian.PutUint32(e[12:], now+ttl)
	binary.BigEndian.PutUint16(e[16:], uint16(len(key)))
	binary.BigEndian.PutUint16(e[18:], uint16(len(message)))
	binary.BigEndian.PutUint16(e[20:], uint16(2*len(offsets)))
	binary.BigEndian.PutUint16(e[22:], extra)
	binary.BigEndian.PutUint32(e[24:], uint32(size))
	n := entryHeader + copy(e[entryHeader:], key)
	n += copy(e[n:], message)
	for _, o := range offsets {
		binary.BigEndian.PutUint16(e[n:], o)
		n += 2
	}
	s.at[h] = uint32(at)
}

// room makes place for size bytes at head, and drops the oldest entries that are in the way. The caller holds mu.
func (s *shard) room(size int) (at int) {
	if s.head+size > len(s.ring) {
		for s.count > 0 && s.tail >= s.head { // what lies between head and the end goes
			s.drop()
		}
		s.wrap, s.head = s.head, 0
	}
	for s.count > 0 && s.tail >= s.head && s.tail < s.head+size {
		s.drop()
	}
	if s.count == 0 {
		s.tail, s.wrap = s.head, 0
	}
	at = s.head
	s.head += size
	s.count++
	return at
}

// drop forgets the oldest entry. The caller holds mu.
func (s *shard) drop() {
	e := s.ring[s.tail:]
	h := binary.BigEndian.Uint64(e)
	if s.at[h] == uint32(s.tail) { // a newer one of the same key may have its place
		delete(s.at, h)
	}
	s.tail += int(binary.BigEndian.Uint32(e[24:]))
	s.count--
	if s.wrap != 0 && s.tail >= s.wrap {
		s.tail, s.wrap = 0, 0
	}
}

// used counts entries and the bytes they take.
func (c *cache) used() (entries, size int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		entries += s.count
		switch {
		case s.count == 0:
		case s.tail < s.head:
			size += s.head - s.tail
		default:
			size += s.wrap - s.tail + s.head
		}
		s.mu.Unlock()
	}
	return entries, size
}
