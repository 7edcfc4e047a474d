/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Who has an address; the twin is model/policy/believed.go. */
#pragma once

#include "state.h"

/*
 * Exact entries: the number of whoever has an address. One that does not fit into addresses is in the upper 16 bits
 * (model/identity.Number.Packed), and stands here only while the tables of policy know its labels.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, union addr);
	__type(value, u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} who_exact SEC(".maps");

/* model/policy.Form, by prefix: how the addresses of a region say who has them */
#define FORM_SILENT 0
#define FORM_WIDE 1
#define FORM_MID 2
#define FORM_SEALED 3

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct inside_key);
	__type(value, u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} who_regions SEC(".maps");

/* The round keys of the fabric's seal (model/ipam/seal.go); used is 0 where host parts are readable */
#define SEAL_ROUNDS 27

struct seal {
	u32 used;
	u32 keys[SEAL_ROUNDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct seal);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} who_seal SEC(".maps");

/* The numbers whose labels the tables of policy know (model/policy.Numbers): 64 in a word, the lowest in the lowest bit */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} who_known SEC(".maps");

#define WHO_OUTSIDE 0xffffffff /* no number: nobody inside has the address */

INLINE u32 rol32(u32 x, u32 n)
{
	return x << n | x >> (32 - n);
}

/* seal_mask is what XEX adds before and after the cipher for one prefix: its encryption, doubled in GF(2^64). */
INLINE u64 seal_mask(const struct seal *s, u64 prefix)
{
	u32 x = prefix >> 32, y = (u32)prefix;
	u64 m;

	for (int i = 0; i < SEAL_ROUNDS; i++) {
		x = (rol32(x, 24) + y) ^ s->keys[i];
		y = rol32(y, 3) ^ x;
	}
	m = (u64)x << 32 | y;
	return m << 1 ^ (m >> 63) * 0x1b;
}

INLINE u64 seal_backward(const struct seal *s, u64 mask, u64 host)
{
	u32 x, y;

	host ^= mask;
	x = host >> 32;
	y = (u32)host;
	for (int i = SEAL_ROUNDS - 1; i >= 0; i--) {
		y = rol32(y ^ x, 29);
		x = rol32((x ^ s->keys[i]) - y, 8);
	}
	return ((u64)x << 32 | y) ^ mask;
}

/* is_reserved tells of host parts that are not for endpoints and stay clear (model/ipam/reserved.go). */
INLINE int is_reserved(u64 host)
{
	u32 number = host >> 48;

	return !host || (host >= 0x02005efffe000000ULL && host <= 0x02005efffeffffffULL) || (host | 0x7f) == 0xfdffffffffffffffULL ||
	       (host | 0x7f) == 0xffffffffffffffffULL || (number >= 1 && number <= 0xff);
}

/* The walk along a cycle leaves the reserved values, 0.4 % of all, after few steps; who needs more has no number here. */
#define SEAL_STEPS 8

/* sealed_number reads who has a sealed address. */
GLOBAL int sealed_number(const union addr *a)
{
	struct seal *s;
	u64 host, mask;
	u32 zero = 0;

	if (!a)
		return 0;
	s = bpf_map_lookup_elem(&who_seal, &zero);
	if (!s || !s->used)
		return 0;
	host = bpf_be64_to_cpu(a->d[1]);
	if (is_reserved(host))
		return host >> 48;
	mask = seal_mask(s, bpf_be64_to_cpu(a->d[0]));
	for (int i = 0; i < SEAL_STEPS; i++) {
		host = seal_backward(s, mask, host);
		if (!is_reserved(host))
			return host >> 48;
	}
	return 0;
}

/* says returns, with key to write in, the number that is said of an address, 0 for one inside of which none is said, or WHO_OUTSIDE. */
INLINE u32 says(const union addr *a, struct inside_key *key)
{
	u32 *n, *form;

	key->bits = 128;
	key->addr = *a;
	n = bpf_map_lookup_elem(&who_exact, &key->addr);

	if (n)
		return *n;
	form = bpf_map_lookup_elem(&who_regions, key);
	if (!form)
		return WHO_OUTSIDE;
	switch (*form) {
	case FORM_WIDE:
		return bpf_ntohs(a->h[4]);
	case FORM_MID:
		return bpf_ntohs(a->h[5]);
	case FORM_SEALED:
		return sealed_number(a) & 0xffff;
	}
	return 0;
}

/* who_has is what is said of an address, with 0 for numbers whose labels are not known. */
INLINE u32 who_has(const union addr *a, struct inside_key *key)
{
	u32 number = says(a, key), word = number >> 6;
	u64 *known;

	if (number > 0xffff) /* WHO_OUTSIDE, or one that is known where it stands */
		return number;
	known = bpf_map_lookup_elem(&who_known, &word);
	return known && (*known >> (number & 63) & 1) ? number : 0;
}
