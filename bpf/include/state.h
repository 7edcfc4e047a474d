/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the programs of a host know: the maps that model/datapath.State has as fields. Shapes and meanings belong to the layout
 * version (linux/datapath/pin).
 */
#pragma once

#include "hexapod.h"
#include "slot.h"
#include "why.h"

/* model/datapath.Endpoint, by address */
struct endpoint {
	u32 link;
	u8 mac[6];
	u8 host_mac[6];
	u32 identity;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, union addr);
	__type(value, struct endpoint);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} endpoints SEC(".maps");

/* model/datapath.Kin: what else may send from an address */
struct kin_key {
	union addr addr;
	u32 link, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kin_key);
	__type(value, struct endpoint);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} kin SEC(".maps");

/* model/datapath.LinkFlags, by index */
#define LINK_UPLINK 1
#define LINK_OUTSIDE 2
#define LINK_FLAT 4
#define LINK_GATEWAY 8

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} links SEC(".maps");

/* model/datapath.Inside, by prefix */
#define INSIDE_OWN 1
#define INSIDE_KNOWN_BY 2
#define INSIDE_LOCATED 4
#define INSIDE_SELF 8

struct inside_key {
	u32 bits;
	union addr addr;
} __attribute__((packed));

struct inside {
	u32 flags;
	u32 link;
	u8 mac[6];
	u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct inside_key);
	__type(value, struct inside);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} inside SEC(".maps");

/* model/datapath.Pair: what must not begin a flow to what */
struct pair {
	union addr from, to;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pair);
	__type(value, u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} denied SEC(".maps");

/* model/datapath.Settings; one entry */
#define SETTING_FAST 1
#define SETTING_EVENTS 2 /* somebody reads events */
#define SETTING_POLICY 4 /* policies are in the maps */
#define SETTING_SERVICES 8 /* packets to services are led to backends */

struct settings {
	u32 flags;
	u32 generation;
	u64 seed;
	u32 now; /* of test runs (test_clock) */
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct settings);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} settings SEC(".maps");

/* Packets by place and reason: entry place * 64 + why. */
#define WHY_SLOTS 64

struct count {
	u64 packets;
	u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 3 * WHY_SLOTS);
	__type(key, u32);
	__type(value, struct count);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} counts SEC(".maps");

/* Test runs set their own clock, so that their twin sees the same. */
const volatile u32 test_clock;

/* now is in seconds of 2^30 ns since the kernel booted. The coarse clock costs nothing. */
INLINE u32 clock_now(const struct settings *set)
{
	return test_clock ? set->now : (u32)(bpf_ktime_get_coarse_ns() >> 30);
}

INLINE int mac_equal(const u8 *a, const u8 *b)
{
	return !((*(const u16 *)a ^ *(const u16 *)b) | (*(const u16 *)(a + 2) ^ *(const u16 *)(b + 2)) |
		 (*(const u16 *)(a + 4) ^ *(const u16 *)(b + 4)));
}

/* Keys are copied: before Linux 6.3 the key of a look must not lie in memory that a global function was handed. */
INLINE struct endpoint *endpoint_of(const union addr *a)
{
	union addr key = *a;

	return bpf_map_lookup_elem(&endpoints, &key);
}

/* sender_of is the link of the endpoint that has a source, as far as it may be sent from there. */
INLINE struct endpoint *sender_of(const union addr *src, u32 link)
{
	struct kin_key key = { .link = link };
	struct endpoint *self = endpoint_of(src);

	if (!self || self->link == link)
		return self;
	key.addr = *src;
	return bpf_map_lookup_elem(&kin, &key);
}

INLINE u32 link_flags(u32 link)
{
	u32 *flags = bpf_map_lookup_elem(&links, &link);

	return flags ? *flags : 0;
}

INLINE struct inside *inside_of(const union addr *a)
{
	struct inside_key key = { .bits = 128, .addr = *a };

	return bpf_map_lookup_elem(&inside, &key);
}
