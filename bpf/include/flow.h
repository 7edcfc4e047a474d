/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The flow table; the twin is model/datapath/flow.go. Rows of eight flows in an array: memory is given once, nothing has to be
 * collected, and who floods loses flows of his own.
 */
#pragma once

#include "header.h"

#define FLOW_WAYS 8

enum flow_state { FLOW_FREE, FLOW_HALF_OPEN, FLOW_ESTABLISHED, FLOW_CLOSING };

#define FLOW_FIRST_A 1
#define FLOW_REPLIED 2
#define FLOW_ENDED_A 4
#define FLOW_ENDED_B 8
#define FLOW_SERVICE 16

/* Lives of silent flows in seconds (of 2^30 ns). */
#define LIFE_HALF_OPEN 30
#define LIFE_CLOSING 60
#define LIFE_UDP 180
#define LIFE_TCP (6 * 3600)
#define LIFE_OTHER 600
#define LIFE_ECHO 30

/* A is the side whose address, then port, is lower byte by byte. */
struct flow_key {
	union addr a, b;
	u16 a_port, b_port; /* network order */
	u8 proto, pad[3];
};

struct flow {
	struct flow_key key;
	u8 state, flags;
	u8 mac[6];
	u32 seen, generation, owner, link;
};

struct flow_row {
	struct bpf_spin_lock lock;
	u32 pad; /* always 0 */
	struct flow flow[FLOW_WAYS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384); /* a power of two; the loader may choose another one */
	__type(key, u32);
	__type(value, struct flow_row);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} flows SEC(".maps");

const volatile u32 flow_mask = 16383; /* rows less one */

/* One packet of a flow. */
struct sight {
	struct flow_key key;
	u32 link; /* link and MAC it was verified by; 0 when an endpoint of this host sent it */
	u8 mac[6];
	u8 from_a;
	u8 flags; /* of TCP */
	u8 service; /* it was sent to the address of a service, and is led to a backend */
	u8 pad[3];
	u64 seed;
	u32 generation, now;
};

INLINE u64 words_differ(const struct flow_key *x, const struct flow_key *y)
{
	const u64 *a = (const u64 *)x, *b = (const u64 *)y;

	return (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]);
}

/* key_of writes the key of a flow and returns whether src is A. */
INLINE int key_of(struct flow_key *k, const union addr *src, const union addr *dst, u16 src_port, u16 dst_port, u8 proto)
{
	u64 s = bpf_be64_to_cpu(src->d[0]), d = bpf_be64_to_cpu(dst->d[0]);
	int from_a;

	if (s == d) {
		s = bpf_be64_to_cpu(src->d[1]);
		d = bpf_be64_to_cpu(dst->d[1]);
	}
	from_a = s < d || (s == d && bpf_ntohs(src_port) <= bpf_ntohs(dst_port));
	k->a = from_a ? *src : *dst;
	k->b = from_a ? *dst : *src;
	k->a_port = from_a ? src_port : dst_port;
	k->b_port = from_a ? dst_port : src_port;
	k->proto = proto;
	k->pad[0] = k->pad[1] = k->pad[2] = 0;
	return from_a;
}

INLINE struct flow_row *row_of(const struct flow_key *k, u64 seed)
{
	const u64 *w = (const u64 *)k;
	u64 h = seed;
	u32 row;

#pragma unroll
	for (int i = 0; i < 5; i++) {
		h = (h ^ w[i]) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 32;
	}
	h *= 0xff51afd7ed558ccdULL; /* or ports that follow one another meet in one row */
	h ^= h >> 32;
	row = (u32)h & flow_mask;
	return bpf_map_lookup_elem(&flows, &row);
}

INLINE u32 life_of(const struct flow *f)
{
	if (f->state == FLOW_HALF_OPEN)
		return LIFE_HALF_OPEN;
	if (f->state == FLOW_CLOSING)
		return LIFE_CLOSING;
	if (f->key.proto == PROTO_TCP)
		return LIFE_TCP;
	if (f->key.proto == PROTO_UDP)
		return LIFE_UDP;
	if (f->key.proto == PROTO_ICMP)
		return LIFE_ECHO;
	return LIFE_OTHER;
}

INLINE int is_gone(const struct flow *f, u32 now)
{
	return f->state == FLOW_FREE || now - f->seen > life_of(f);
}

/* find returns the living flow of a key. The row is locked. */
INLINE struct flow *find(struct flow_row *row, const struct flow_key *k, u32 now)
{
#pragma unroll
	for (int i = 0; i < FLOW_WAYS; i++) {
		struct flow *f = &row->flow[i];

		if (f->key.a.d[1] == k->a.d[1] && !words_differ(&f->key, k) && !is_gone(f, now))
			return f;
	}
	return 0;
}

INLINE int begins(const struct sight *p)
{
	return p->key.proto == PROTO_TCP && (p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

INLINE void begin(struct flow *f, const struct sight *p)
{
	f->state = FLOW_HALF_OPEN;
	f->flags = p->from_a ? FLOW_FIRST_A : 0;
}

/* stepped is what one packet makes of the state of a flow and, in the byte above it, of its flags. */
INLINE u16 stepped(u8 state, u8 flags, const struct sight *p)
{
	int first = !!p->from_a == !!(flags & FLOW_FIRST_A);

	if (!first)
		flags |= FLOW_REPLIED;
	if (p->service)
		flags |= FLOW_SERVICE;
	else if (first && !p->link) /* the client now talks to the backend itself */
		flags &= ~FLOW_SERVICE;
	if (p->key.proto != PROTO_TCP) {
		if (!first && state == FLOW_HALF_OPEN)
			state = FLOW_ESTABLISHED;
	} else if (p->flags & TCP_RST) {
		state = FLOW_CLOSING;
	} else {
		if (p->flags & TCP_FIN)
			flags |= p->from_a ? FLOW_ENDED_A : FLOW_ENDED_B;
		if ((flags & (FLOW_ENDED_A | FLOW_ENDED_B)) == (FLOW_ENDED_A | FLOW_ENDED_B))
			state = FLOW_CLOSING;
		else if (state == FLOW_HALF_OPEN && first && (flags & FLOW_REPLIED) && (p->flags & (TCP_SYN | TCP_ACK)) == TCP_ACK)
			state = FLOW_ESTABLISHED;
	}
	return state | (u16)flags << 8;
}

/* touch brings a flow on by one packet. */
INLINE void touch(struct flow *f, const struct sight *p, u32 now)
{
	u16 next = stepped(f->state, f->flags, p);

	if (f->seen != now) /* a line of cache that is only read stays with every CPU */
		f->seen = now;
	if (f->state != (u8)next)
		f->state = next;
	if (f->flags != next >> 8)
		f->flags = next >> 8;
}

#define PASS_YES 1
#define PASS_SERVICE 2 /* answers are shown as the service's */
#define PASS_HALF_OPEN 4
#define PASS_BEGAN_A 8 /* the packet does not pass, but its flow is there: who began it */
#define PASS_BEGAN_B 16

INLINE int passes_of(u8 state, u8 flags)
{
	return PASS_YES | (flags & FLOW_SERVICE ? PASS_SERVICE : 0) | (state == FLOW_HALF_OPEN ? PASS_HALF_OPEN : 0);
}

/* passed tells of a flow whose packet passes. */
INLINE int passed(const struct flow *f)
{
	return passes_of(f->state, f->flags);
}

/* The words of a flow behind its key: state, flags and MAC; seen and generation; owner and link. */
#define FLOW_HOW 5
#define FLOW_WHEN 6
#define FLOW_WHERE 7

INLINE u64 word_of(const struct flow *f, u32 at)
{
	return ((const volatile word64 *)f)[at];
}

/* behind is f. What is read there is read after x, on every CPU: the address depends on it. */
INLINE const struct flow *behind(const struct flow *f, u64 x)
{
	asm volatile("%1 &= 0\n\t%0 += %1" : "+r"(f), "+r"(x));
	return f;
}

#define LOCK_ROW (-1)

/* flow_glance is flow_pass without the lock, for packets that change nothing of their flow, which are most, and for those of no flow; LOCK_ROW
 * for all others. Who puts another flow into a place first makes its generation none, then writes the key, and the generation last (flow_add).
 * So what is read here behind the generation, and before the same key is met once more, belongs to that key. */
INLINE int flow_glance(const struct flow_row *row, const struct sight *p)
{
	u64 how, when, where, mac = *(const word32 *)p->mac | (u64)*(const word16 *)(p->mac + 4) << 32;
	const struct flow *f = row->flow;

#pragma unroll
	for (u32 at = 0; at < FLOW_WAYS; at++, f++) {
		if (word_of(f, 1) ^ p->key.a.d[1])
			continue;
		when = words_differ(&f->key, &p->key);
		if (!when)
			goto met;
	}
	return 0;
met:
	f = behind(f, when);
	when = word_of(f, FLOW_WHEN);
	f = behind(f, when);
	how = word_of(f, FLOW_HOW);
	where = word_of(f, FLOW_WHERE);
	f = behind(f, how | where);
	if ((when ^ ((u64)p->generation << 32 | p->now)) | words_differ(&f->key, &p->key))
		return LOCK_ROW;
	if (p->link && ((where >> 32 ^ p->link) | (how >> 16 ^ mac)))
		return LOCK_ROW;
	if ((stepped(how, how >> 8, p) ^ (u16)how) || (u8)how == FLOW_FREE || ((u8)how == FLOW_CLOSING && begins(p)))
		return LOCK_ROW;
	return passes_of(how, how >> 8);
}

/* flow_pass lets a packet of a known flow pass and returns PASS_...; without PASS_YES it has to be judged first. */
GLOBAL int flow_pass(const struct sight *p)
{
	struct flow_row *row;
	struct flow *f;
	int ok;

	if (!p)
		return 0;
	row = row_of(&p->key, p->seed);
	if (!row)
		return 0;
	ok = flow_glance(row, p);
	if (ok != LOCK_ROW)
		return ok;
	ok = 0;
	bpf_spin_lock(&row->lock);
	f = find(row, &p->key, p->now);
	if (!f || (f->state == FLOW_CLOSING && begins(p)))
		goto out;
	if (f->generation == p->generation && (!p->link || (f->link == p->link && mac_equal(f->mac, p->mac)))) {
		touch(f, p, p->now);
		ok = passed(f);
	} else {
		ok = f->flags & FLOW_FIRST_A ? PASS_BEGAN_A : PASS_BEGAN_B;
	}
out:
	bpf_spin_unlock(&row->lock);
	return ok;
}

/* room returns a place for a flow of owner, or 0. The row is locked. */
INLINE struct flow *room(struct flow_row *row, u32 owner, u32 now)
{
	struct flow *free = 0, *victim = 0;
	u64 best = 0;
	u32 mine = 0;

#pragma unroll
	for (int i = 0; i < FLOW_WAYS; i++) {
		if (is_gone(&row->flow[i], now))
			free = &row->flow[i];
		else if (row->flow[i].owner == owner)
			mine++;
	}
	if (free)
		return free;
	for (int i = 0; i < FLOW_WAYS; i++) {
		struct flow *f = &row->flow[i];
		u64 score = (u32)(now - f->seen);
		u32 n = 0;

		for (int j = 0; j < FLOW_WAYS; j++)
			n += is_same(row->flow[j].owner, f->owner);
		if (f->state == FLOW_ESTABLISHED) {
			if (f->owner != owner && n < mine + 2)
				continue;
		} else {
			score |= 1ULL << 40;
		}
		score |= (u64)n << 32;
		if (score >= best) {
			best = score;
			victim = f;
		}
	}
	return victim;
}

#define NO_GENERATION 0x80000000U /* of the settings' generation: another one, whatever that is */

/* settle lets nobody see what is written behind it before what was written so far. */
INLINE void settle(struct flow_row *row)
{
	__sync_lock_test_and_set(&row->pad, 0);
}

/* flow_add notes the flow of a packet that was judged well and returns PASS_...; 0 when there is no room. */
GLOBAL int flow_add(const struct sight *p, u32 owner)
{
	struct flow_row *row;
	struct flow *f;
	int ok = PASS_YES;

	if (!p)
		return 0;
	row = row_of(&p->key, p->seed);
	if (!row)
		return 0;
	bpf_spin_lock(&row->lock);
	f = find(row, &p->key, p->now);
	if (!f) {
		if (p->key.proto == PROTO_TCP && (p->flags & TCP_RST))
			goto out; /* it ends what is not known */
		f = room(row, owner, p->now);
		if (!f) {
			ok = 0;
			goto out;
		}
		f->generation = p->generation ^ NO_GENERATION;
		settle(row);
		f->key = p->key;
		settle(row);
		f->owner = owner;
		f->link = 0;
		begin(f, p);
	} else if (f->state == FLOW_CLOSING && begins(p)) {
		begin(f, p);
	}
	if (p->link) {
		f->link = p->link;
		*(u16 *)f->mac = *(const u16 *)p->mac;
		*(u16 *)(f->mac + 2) = *(const u16 *)(p->mac + 2);
		*(u16 *)(f->mac + 4) = *(const u16 *)(p->mac + 4);
	}
	touch(f, p, p->now);
	ok = passed(f);
	settle(row);
	f->generation = p->generation;
out:
	bpf_spin_unlock(&row->lock);
	return ok;
}

/* flow_is tells whether there is a flow of a key. */
GLOBAL int flow_is(const struct flow_key *k, u64 seed, u32 now)
{
	struct flow_row *row;
	int known;

	if (!k)
		return 0;
	row = row_of(k, seed);
	if (!row)
		return 0;
	bpf_spin_lock(&row->lock);
	known = find(row, k, now) != 0;
	bpf_spin_unlock(&row->lock);
	return known;
}

/* flow_remove forgets a flow. */
GLOBAL int flow_remove(const struct flow_key *k, u64 seed, u32 now)
{
	struct flow_row *row;
	struct flow *f;

	if (!k)
		return 0;
	row = row_of(k, seed);
	if (!row)
		return 0;
	bpf_spin_lock(&row->lock);
	f = find(row, k, now);
	if (f)
		f->state = FLOW_FREE;
	bpf_spin_unlock(&row->lock);
	return 0;
}
