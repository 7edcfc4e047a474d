/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Fragments: later ones pass when the first one did and they do not overlap (RFC 5722); the twin is model/datapath/fragment.go. */
#pragma once

#include "header.h"

#define LIFE_FRAGMENT 30

struct fragment_key {
	union addr src, dst;
	u32 id, pad;
};

struct fragment {
	u32 end;     /* where the first fragment ends in the whole packet, in bytes */
	u32 spoiled; /* fragments overlapped: none passes any more */
	u32 seen, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} fragments SEC(".maps");

/* first_fragment notes how far it reaches; 0 or the reason to drop. */
GLOBAL int first_fragment(const struct base *b, const struct header *h, u32 now)
{
	struct fragment_key k = {};
	struct fragment *known, f = { .seen = now };

	if (!b || !h)
		return WHY_TRUNCATED;
	k.src = b->src;
	k.dst = b->dst;
	k.id = h->id;
	known = bpf_map_lookup_elem(&fragments, &k);
	f.end = h->end - h->data;
	f.spoiled = known && now - known->seen <= LIFE_FRAGMENT;
	bpf_map_update_elem(&fragments, &k, &f, BPF_ANY);
	return f.spoiled ? WHY_FRAGMENT_OVERLAP : 0;
}

GLOBAL int later_fragment(const struct base *b, const struct header *h, u32 now)
{
	struct fragment_key k = {};
	struct fragment *f;

	if (!b || !h)
		return WHY_TRUNCATED;
	k.src = b->src;
	k.dst = b->dst;
	k.id = h->id;
	f = bpf_map_lookup_elem(&fragments, &k);
	if (!f || now - f->seen > LIFE_FRAGMENT)
		return WHY_FRAGMENT_UNKNOWN;
	if (f->spoiled)
		return WHY_FRAGMENT_OVERLAP;
	if (h->offset < f->end) {
		f->spoiled = 1;
		return WHY_FRAGMENT_OVERLAP;
	}
	return 0;
}
