/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Which ports of the host's own address have a binding of NAT64: a bit for every port of TCP, of UDP, and every identifier of ICMP. It is
 * model/xlat/nat64.Bits, which the translator writes as well.
 */
#pragma once

#include "hexapod.h"

#define BOUND_WORDS 1024 /* of one protocol */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3 * BOUND_WORDS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nat64_bound SEC(".maps");

/* bound_word is the word of a port, in host order. proto is IPv4's. */
INLINE u64 *bound_word(u32 proto, u32 port)
{
	u32 at = (proto == 6 ? 0 : proto == 17 ? BOUND_WORDS : 2 * BOUND_WORDS) + (port >> 6 & (BOUND_WORDS - 1));

	return bpf_map_lookup_elem(&nat64_bound, &at);
}

INLINE void set_bound(u32 proto, u32 port)
{
	u64 *word = bound_word(proto, port);

	if (word)
		__sync_fetch_and_or(word, 1ULL << (port & 63));
}

INLINE void clear_bound(u32 proto, u32 port)
{
	u64 *word = bound_word(proto, port);

	if (word)
		__sync_fetch_and_and(word, ~(1ULL << (port & 63)));
}
