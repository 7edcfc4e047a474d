/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The flows of the fast path of NAT64: found by the ends of a packet, and begun where the endpoint has a port for it. The shapes and rules are
 * those of model/xlat/nat64/fast.go; the translator enters flows into the same memory.
 */
#pragma once

#include "hexapod.h"
#include "bound.h"
#include "pool.h"

#define PROTO_ICMP4 1
#define PROTO_TCP 6
#define PROTO_UDP 17

const volatile u32 bucket_mask = 4095; /* buckets less one */

/* model/xlat/nat64.Steps: what state a TCP session goes to, and in the upper half what becomes of its life. */
const volatile u8 tcp_steps[64];

#define STEP_KEEP 0
#define STEP_TRANS 1

/* The ends of a flow in one family; IPv4 addresses as ::ffff:0:0/96 has them. Protocols are IPv4's. */
struct ends {
	union addr src, dst;
	u16 src_port, dst_port; /* network order */
	u8 proto, pad[3];
};

#define ENTRY_OUT 1 /* of packets from IPv6; it holds the life of the flow */
#define ENTRY_BACK 2

struct entry {
	u64 life; /* state of TCP in the upper half, the second it ends in the lower */
	struct ends from, to;
};

#define ENTRY_BUSY 3 /* being written */
#define ENTRY_KINDS 0xff
#define ENTRY_TAG 0xff00   /* of the hash of its ends: nearly always tells by itself whether it is the one */
#define ENTRY_ONCE 0x10000 /* above both: how often it was written */

#define BUCKET_WAYS 8

/* What is asked of all entries of a bucket lies in one cache line. */
struct bucket {
	u32 used[BUCKET_WAYS];
	u32 twin[BUCKET_WAYS]; /* place of the entry of the other direction */
	struct entry entry[BUCKET_WAYS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4096); /* a power of two; the loader may choose another one */
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct bucket);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nat64_flows SEC(".maps");

#define FLAG_ON 1
#define FLAG_DIRECT 2 /* hand packets to the next hop; else the kernel's routes take them on */
#define FLAG_TEST 4   /* clock and identification are those of the settings */
#define FLAG_BEGIN 8  /* begin flows to the prefix of the settings */
#define FLAG_SHARE 16 /* the address is the host's own: mark the ports of flows that begin */
#define FLAG_EARLY4 32 /* nobody has rules for forwarding IPv4: answers need not come as far as the device */

struct nat64_settings {
	u64 seed;
	u64 secret[2];
	u32 prefix[4]; /* the first Pref64; its last word is not used */
	u32 flags;
	u32 mtu6;
	u32 life_udp, life_icmp, life_trans, life_est; /* seconds */
	u32 now, id;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct nat64_settings);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nat64_settings SEC(".maps");

INLINE void mapped(union addr *a, u32 four)
{
	a->d[0] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = four;
}

INLINE u64 differ(const struct ends *x, const struct ends *y)
{
	const u64 *a = (const u64 *)x, *b = (const u64 *)y;

	return (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]);
}

INLINE u64 mixed(u64 h, u64 w)
{
	h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 32;
}

/* hash_of is model/xlat/nat64.hash: of ends, or of those of the answer. */
INLINE u64 hash_of(const struct ends *k, int answer, u64 seed)
{
	const union addr *src = answer ? &k->dst : &k->src, *dst = answer ? &k->src : &k->dst;
	u64 ports = answer ? (u64)k->dst_port | (u64)k->src_port << 16 : (u64)k->src_port | (u64)k->dst_port << 16;
	u64 h = mixed(mixed(mixed(mixed(seed, src->d[0]), src->d[1]), dst->d[0]), dst->d[1]);

	h = mixed(h, ports | (u64)k->proto << 32);
	h *= 0xff51afd7ed558ccdULL;
	return h ^ h >> 32;
}

INLINE u32 bucket_of(u64 hash)
{
	return (u32)hash & bucket_mask;
}

INLINE u32 tag_of(u64 hash)
{
	return hash >> 48 & ENTRY_TAG;
}

INLINE struct bucket *bucket_at(u32 place)
{
	u32 at = place / BUCKET_WAYS;

	return bpf_map_lookup_elem(&nat64_flows, &at);
}

#define ONLY_LOOK 8 /* in place of an event: the packet may yet be left to who meets it next, and a session takes each one once */

/* lives keeps a flow alive by one of its packets; 0 where that is the translator's to decide. */
INLINE int lives(u64 *life, u32 proto, u32 event, const struct nat64_settings *set, u32 now)
{
	u64 old = *(volatile u64 *)life, new, at;
	u32 step, ends = (u32)old;

	if ((int)(ends - now) <= 0)
		return 0;
	if (event == ONLY_LOOK)
		return 1;
	if (proto != PROTO_TCP) {
		new = (u64)now + (proto == PROTO_UDP ? set->life_udp : set->life_icmp);
		if (new != old)
			*(volatile u64 *)life = new;
		return 1;
	}
	at = (old >> 32 & 7) << 3 | (event & 7);
	asm volatile("" : "+r"(at)); /* or the compiler drops the mask, which Linux 6.1 wants to see */
	step = tcp_steps[at & 63];
	if (step >> 4 != STEP_KEEP)
		ends = now + (step >> 4 == STEP_TRANS ? set->life_trans : set->life_est);
	new = (u64)(step & 15) << 32 | ends;
	return new == old || __sync_val_compare_and_swap(life, old, new) == old;
}

/* lives_at is lives, by the place of the entry that holds the life. */
INLINE int lives_at(u32 place, u32 proto, u32 event, const struct nat64_settings *set, u32 now)
{
	struct bucket *b = bucket_at(place);

	return b && lives(&b->entry[place & (BUCKET_WAYS - 1)].life, proto, event, set, now);
}

/* known finds the flow of a packet and what its ends become; 0 when there is none. */
GLOBAL int known(const struct ends *from, struct ends *to, u32 event, u32 now)
{
	struct nat64_settings *set;
	struct bucket *b;
	u32 at, tag, zero = 0;
	u64 hash;

	set = bpf_map_lookup_elem(&nat64_settings, &zero);
	if (!set || !from || !to)
		return 0;
	hash = hash_of(from, 0, set->seed);
	at = bucket_of(hash);
	tag = tag_of(hash);
	b = bpf_map_lookup_elem(&nat64_flows, &at);
	if (!b)
		return 0;
#pragma unroll
	for (int i = 0; i < BUCKET_WAYS; i++) {
		struct entry *e = &b->entry[i];
		u32 used = *(volatile u32 *)&b->used[i];

		if ((used & ENTRY_TAG) != tag || !(used & ENTRY_KINDS) || differ(&e->from, from))
			continue;
		used = __sync_fetch_and_or(&b->used[i], 0); /* a full barrier, and one behind what is read */
		*to = e->to;
		if (differ(&e->from, from) || __sync_fetch_and_or(&b->used[i], 0) != used)
			return 0;
		if ((used & ENTRY_KINDS) == ENTRY_OUT)
			return lives(&e->life, from->proto, event, set, now);
		if ((used & ENTRY_KINDS) != ENTRY_BACK)
			return 0;
		return lives_at(b->twin[i], from->proto, event, set, now);
	}
	return 0;
}

/* entry_for takes a free entry for ends, or for those of the answer, and returns its place and one; 0: there is none. */
GLOBAL u32 entry_for(const struct ends *k, u32 answer, u64 seed)
{
	struct bucket *b;
	u64 hash;
	u32 at;

	if (!k)
		return 0;
	hash = answer ? hash_of(k, 1, seed) : hash_of(k, 0, seed);
	at = bucket_of(hash);
	b = bpf_map_lookup_elem(&nat64_flows, &at);
	if (!b)
		return 0;
	for (u32 i = 0; i < BUCKET_WAYS; i++) {
		u32 used = *(volatile u32 *)&b->used[i];

		if (used & ENTRY_KINDS)
			continue;
		if (__sync_val_compare_and_swap(&b->used[i], used, ((used + ENTRY_ONCE) & ~ENTRY_TAG) | tag_of(hash) | ENTRY_BUSY) == used)
			return at * BUCKET_WAYS + i + 1;
	}
	return 0;
}

/* enter_turned writes an entry of the ends of answers. */
INLINE void enter_turned(struct ends *into, const struct ends *k)
{
	into->src = k->dst;
	into->dst = k->src;
	into->src_port = k->dst_port;
	into->dst_port = k->src_port;
	into->proto = k->proto;
	into->pad[0] = into->pad[1] = into->pad[2] = 0;
}

/* enter writes both entries of a flow, and returns the place of the first and one. */
GLOBAL u32 enter(const struct ends *from, const struct ends *to, u64 seed, u64 life)
{
	struct bucket *out, *in;
	u32 out_at, in_at, o, i;

	if (!from || !to)
		return 0;
	out_at = entry_for(from, 0, seed);
	if (!out_at)
		return 0;
	in_at = entry_for(to, 1, seed);
	out = bucket_at(out_at - 1);
	o = (out_at - 1) & (BUCKET_WAYS - 1);
	if (!out)
		return 0;
	if (!in_at) {
		__sync_fetch_and_and(&out->used[o], ~ENTRY_KINDS);
		return 0;
	}
	in = bucket_at(in_at - 1);
	i = (in_at - 1) & (BUCKET_WAYS - 1);
	if (!in)
		return 0;
	in->twin[i] = out_at - 1;
	enter_turned(&in->entry[i].from, to);
	enter_turned(&in->entry[i].to, from);
	*(volatile u64 *)&in->entry[i].life = life;
	out->twin[o] = in_at - 1;
	out->entry[o].from = *from;
	out->entry[o].to = *to;
	*(volatile u64 *)&out->entry[o].life = life;
	__sync_fetch_and_xor(&in->used[i], ENTRY_BUSY ^ ENTRY_BACK);
	__sync_fetch_and_xor(&out->used[o], ENTRY_BUSY ^ ENTRY_OUT);
	return out_at;
}

/* may_begin tells whether flows to where a packet goes may begin in the program. */
INLINE int may_begin(const struct nat64_settings *set, const struct ends *from)
{
	return (set->flags & FLAG_BEGIN) && from->dst.w[0] == set->prefix[0] && from->dst.w[1] == set->prefix[1] && from->dst.w[2] == set->prefix[2];
}

/* begin makes a flow of the first packet of an end of an endpoint, and tells the translator by the log; 0: it is the translator's to decide. */
GLOBAL int begin(const struct ends *from, struct ends *to, u32 event, u32 now)
{
	u32 zero = 0, place, udp, port, began = LOG_NOTHING;
	struct nat64_settings *set;
	struct begun *log;
	struct room *r;
	u64 head, taken, life, *word;

	set = bpf_map_lookup_elem(&nat64_settings, &zero);
	if (!set || !from || !to || !may_begin(set, from))
		return 0;
	udp = from->proto == PROTO_UDP;
	if (!udp && (from->proto != PROTO_TCP || event))
		return 0;
	if (is_held_back(from->dst.w[3]))
		return 0;
	place = room_of(&from->src, set->seed);
	if (!place)
		return 0;
	r = room_at(place);
	log = bpf_map_lookup_elem(&nat64_rooms, &zero);
	if (!r || !log)
		return 0;
	head = *(volatile u64 *)&log->head;
	if ((__s64)(*(volatile u64 *)&log->limit - head) <= 0)
		return 0;
	port = bpf_ntohs(from->src_port);
	word = &r->sources[udp][port >> 6 & (SOURCE_WORDS - 1)];
	if (is_taken(word, port))
		return 0;
	if (__sync_val_compare_and_swap(&log->head, head, head + 1) != head)
		return 0;
	if (!claim(word, port))
		goto told;
	taken = port_of(place, udp, place_of(&from->src, from->src_port, from->proto, set->secret[0], set->secret[1]), port);
	if (!taken)
		goto undo;
	if (set->flags & FLAG_SHARE)
		set_bound(from->proto, taken >> BLOCK_PORT & 0xffff);
	mapped(&to->src, (u32)taken);
	mapped(&to->dst, from->dst.w[3]);
	to->src_port = bpf_htons(taken >> BLOCK_PORT);
	to->dst_port = from->dst_port;
	to->proto = from->proto;
	life = udp ? now + set->life_udp : 2ULL << 32 | (now + set->life_trans); /* model/xlat/nat64: V6Init */
	began = enter(from, to, set->seed, life);
	if (began)
		goto told;
	began = LOG_NOTHING;
	if (set->flags & FLAG_SHARE)
		clear_bound(from->proto, taken >> BLOCK_PORT & 0xffff);
	give_back(r, taken, udp);
undo:
	release(word, port);
told:
	__sync_lock_test_and_set(&log->place[head & (LOG_SIZE - 1)], began);
	return began != LOG_NOTHING;
}
