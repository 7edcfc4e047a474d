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
	u32 pad;
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

/* touch brings a flow on by one packet. */
INLINE void touch(struct flow *f, const struct sight *p, u32 now)
{
	u8 flags = f->flags;
	int first = !!p->from_a == !!(flags & FLOW_FIRST_A);

	if (f->seen != now) /* a line of cache that is only read stays with every CPU */
		f->seen = now;
	if (!first)
		flags |= FLOW_REPLIED;
	if (p->service)
		flags |= FLOW_SERVICE;
	else if (first && !p->link) /* the client now talks to the backend itself */
		flags &= ~FLOW_SERVICE;
	if (p->key.proto != PROTO_TCP) {
		if (!first && f->state == FLOW_HALF_OPEN)
			f->state = FLOW_ESTABLISHED;
	} else if (p->flags & TCP_RST) {
		f->state = FLOW_CLOSING;
	} else {
		if (p->flags & TCP_FIN)
			flags |= p->from_a ? FLOW_ENDED_A : FLOW_ENDED_B;
		if ((flags & (FLOW_ENDED_A | FLOW_ENDED_B)) == (FLOW_ENDED_A | FLOW_ENDED_B))
			f->state = FLOW_CLOSING;
		else if (f->state == FLOW_HALF_OPEN && first && (flags & FLOW_REPLIED) &&
			 (p->flags & (TCP_SYN | TCP_ACK)) == TCP_ACK)
			f->state = FLOW_ESTABLISHED;
	}
	if (flags != f->flags)
		f->flags = flags;
}

#define PASS_YES 1
#define PASS_SERVICE 2 /* answers are shown as the service's */
#define PASS_HALF_OPEN 4

/* passed tells of a flow whose packet passes. */
INLINE int passed(const struct flow *f)
{
	return PASS_YES | (f->flags & FLOW_SERVICE ? PASS_SERVICE : 0) | (f->state == FLOW_HALF_OPEN ? PASS_HALF_OPEN : 0);
}

/* flow_pass lets a packet of a known flow pass and returns PASS_...; 0 when it has to be judged first. */
GLOBAL int flow_pass(const struct sight *p)
{
	struct flow_row *row;
	struct flow *f;
	int ok = 0;

	if (!p)
		return 0;
	row = row_of(&p->key, p->seed);
	if (!row)
		return 0;
	bpf_spin_lock(&row->lock);
	f = find(row, &p->key, p->now);
	if (f && f->generation == p->generation && !(f->state == FLOW_CLOSING && begins(p)) &&
	    (!p->link || (f->link == p->link && mac_equal(f->mac, p->mac)))) {
		touch(f, p, p->now);
		ok = passed(f);
	}
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
		f->key = p->key;
		f->owner = owner;
		f->link = 0;
		begin(f, p);
	} else if (f->state == FLOW_CLOSING && begins(p)) {
		begin(f, p);
	}
	f->generation = p->generation;
	if (p->link) {
		f->link = p->link;
		*(u16 *)f->mac = *(const u16 *)p->mac;
		*(u16 *)(f->mac + 2) = *(const u16 *)(p->mac + 2);
		*(u16 *)(f->mac + 4) = *(const u16 *)(p->mac + 4);
	}
	touch(f, p, p->now);
	ok = passed(f);
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

#define FLOW_BY_A 1
#define FLOW_BY_B 2

/* flow_began tells which side began the flow of a key; 0 when there is none, or when it ended and a packet begins another (again). */
GLOBAL int flow_began(const struct flow_key *k, u64 seed, u32 now, u32 again)
{
	struct flow_row *row;
	struct flow *f;
	int by = 0;

	if (!k)
		return 0;
	row = row_of(k, seed);
	if (!row)
		return 0;
	bpf_spin_lock(&row->lock);
	f = find(row, k, now);
	if (f && !(f->state == FLOW_CLOSING && again))
		by = f->flags & FLOW_FIRST_A ? FLOW_BY_A : FLOW_BY_B;
	bpf_spin_unlock(&row->lock);
	return by;
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
