/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * How the fast path of NAT64 begins a flow: it takes a port of a block that the endpoint has. The rule and the memory are those of
 * model/xlat/nat64/room.go, where the translator learns of the flow from a log.
 */
#pragma once

#include "hexapod.h"

#define ROOM_BLOCKS 16
#define ROOM_WAYS 4
#define BLOCK_WORDS 16 /* of 64 ports */
#define SOURCE_WORDS 1024
#define LOG_SIZE 4096
#define LOG_NOTHING 0xffffffffU

#define BLOCK_PORT 32
#define BLOCK_PLACE 48
#define BLOCK_VALID (1ULL << 63)

/* One endpoint. */
struct room {
	union addr addr;
	u32 used, freed;
	u64 blocks[ROOM_BLOCKS]; /* address in network order, first port, place of its marks, valid */
	u64 taken[ROOM_BLOCKS][2][BLOCK_WORDS]; /* TCP, UDP */
	u64 sources[2][SOURCE_WORDS];
};

/* The log, in place of the first room. */
struct begun {
	u64 head, limit;
	u32 place[LOG_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 257); /* a power of two and the log; the loader may choose another one */
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct room);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nat64_rooms SEC(".maps");

const volatile u32 room_mask = 255; /* rooms less one */

/* IPv4 networks that only the translator decides about: net and mask, in network order. */
#define HELD_BACK 32
const volatile u32 held_back[2 * HELD_BACK];

struct sip {
	u64 v0, v1, v2, v3;
};

INLINE u64 rotated(u64 x, u32 by)
{
	return x << by | x >> (64 - by);
}

INLINE void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotated(s->v1, 13) ^ s->v0;
	s->v0 = rotated(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotated(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotated(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotated(s->v1, 17) ^ s->v2;
	s->v2 = rotated(s->v2, 32);
}

INLINE void sip_word(struct sip *s, u64 m)
{
	s->v3 ^= m;
	sip_round(s);
	sip_round(s);
	s->v0 ^= m;
}

/* place_of is model/xlat/nat64.Secret.place: SipHash-2-4 of address, port and protocol. */
GLOBAL u64 place_of(const union addr *a, u32 port, u32 proto, u64 k0, u64 k1)
{
	if (!a)
		return 0;

	struct sip s = {
		.v0 = k0 ^ 0x736f6d6570736575ULL, .v1 = k1 ^ 0x646f72616e646f6dULL,
		.v2 = k0 ^ 0x6c7967656e657261ULL, .v3 = k1 ^ 0x7465646279746573ULL,
	};

	sip_word(&s, a->d[0]);
	sip_word(&s, a->d[1]);
	sip_word(&s, ((u64)port & 0xffff) | (u64)(proto & 0xff) << 16);
	sip_word(&s, 24ULL << 56);
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

INLINE u32 lowest_bit(u64 w)
{
	u32 n = 0;

	if (!(u32)w) {
		n += 32;
		w >>= 32;
	}
	if (!(w & 0xffff)) {
		n += 16;
		w >>= 16;
	}
	if (!(w & 0xff)) {
		n += 8;
		w >>= 8;
	}
	if (!(w & 0xf)) {
		n += 4;
		w >>= 4;
	}
	if (!(w & 3)) {
		n += 2;
		w >>= 2;
	}
	return n + !(w & 1);
}

INLINE int is_taken(const u64 *word, u32 at)
{
	return *(const volatile u64 *)word >> (at & 63) & 1;
}

INLINE int claim(u64 *word, u32 at)
{
	u64 bit = 1ULL << (at & 63);

	return !(__sync_fetch_and_or(word, bit) & bit);
}

INLINE void release(u64 *word, u32 at)
{
	__sync_fetch_and_and(word, ~(1ULL << (at & 63)));
}

INLINE struct room *room_at(u32 place)
{
	return bpf_map_lookup_elem(&nat64_rooms, &place);
}

/* room_of returns the place of the room of an endpoint; 0: it has none. */
GLOBAL u32 room_of(const union addr *a, u64 seed)
{
	u64 h = seed;

	if (!a)
		return 0;
	h = (h ^ a->d[0]) * 0x9e3779b97f4a7c15ULL;
	h ^= h >> 32;
	h = (h ^ a->d[1]) * 0x9e3779b97f4a7c15ULL;
	h ^= h >> 32;
	h *= 0xff51afd7ed558ccdULL;
	h >>= 32;
	for (u32 i = 0; i < ROOM_WAYS; i++) {
		u32 place = 1 + (((u32)h + i) & room_mask);
		struct room *r = room_at(place);

		if (r && *(volatile u32 *)&r->used == 1 && addr_equal(&r->addr, a))
			return place;
	}
	return 0;
}

/* port_in takes a port of a block, by its hashed places first; 0: it has none left, or others are taking them now. */
GLOBAL u32 port_in(u32 place, u64 block, u32 udp, u64 hash, u32 odd)
{
	struct room *r = room_at(place);
	u32 b = block >> BLOCK_PLACE & (ROOM_BLOCKS - 1), first = block >> BLOCK_PORT & 0xffff, at;
	u64 mask, free;

	if (!r)
		return 0;
	for (u32 i = 0; i < 4; i++) {
		at = (hash >> (i * 16) & 0x3fe) | (odd & 1);
		if (!is_taken(&r->taken[b][udp & 1][at >> 6], at) && claim(&r->taken[b][udp & 1][at >> 6], at))
			return first + at;
	}
	mask = ~0ULL << (hash & 63);
	for (u32 i = 0; i <= BLOCK_WORDS; i++) {
		u32 w = ((hash >> 6) + i) & (BLOCK_WORDS - 1);

		free = ~*(volatile u64 *)&r->taken[b][udp & 1][w] & mask;
		mask = ~0ULL;
		if (!free)
			continue;
		at = lowest_bit(free) & 63;
		return claim(&r->taken[b][udp & 1][w], at) ? first + w * 64 + at : 0;
	}
	return 0;
}

/* port_of takes a port for an end of an endpoint, of its oldest block that has one: address in network order in the lower half, port in
 * the upper; 0: there is none. found tells the block, so that the port can be given back. */
GLOBAL u64 port_of(u32 place, u32 udp, u64 hash, u32 odd)
{
	struct room *r = room_at(place);

	if (!r)
		return 0;
	for (u32 i = 0; i < ROOM_BLOCKS; i++) {
		u64 block = *(volatile u64 *)&r->blocks[i];
		u32 port;

		if (!(block & BLOCK_VALID))
			return 0;
		port = port_in(place, block, udp, hash, odd);
		if (port)
			return (u32)block | (u64)port << BLOCK_PORT | (block & 0xffffULL << BLOCK_PLACE);
	}
	return 0;
}

/* give_back undoes port_of. */
INLINE void give_back(struct room *r, u64 taken, u32 udp)
{
	u32 at = taken >> BLOCK_PORT & 0x3ff;

	release(&r->taken[taken >> BLOCK_PLACE & (ROOM_BLOCKS - 1)][udp & 1][at >> 6], at);
}

/* is_held_back says whether the translator decides about a server. */
GLOBAL int is_held_back(u32 four)
{
	for (u32 i = 0; i < HELD_BACK; i++) {
		u32 net = held_back[2 * i], mask = held_back[2 * i + 1];

		if ((four & mask) == net)
			return 1;
	}
	return 0;
}
