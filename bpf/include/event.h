/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the programs tell of drops, for who listens (linux/datapath/events.go). */
#pragma once

#include "icmp.h"

#define EVENTS_PER_UNIT 200
#define EVENT_HEAD 62 /* Ethernet, IPv6, and 8 bytes of what follows */

struct event {
	u8 place, why;
	u8 head[EVENT_HEAD];
	u32 link, came, length, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct bucket);
} told_of SEC(".maps");

/* tell tells who listens of a drop, at most EVENTS_PER_UNIT times a second: who floods is not worth a line for each packet. */
GLOBAL int tell(struct __sk_buff *skb, u32 place, u32 why)
{
	u32 zero = 0, now, used;
	struct settings *set;
	struct bucket *told;
	struct event *e;

	set = bpf_map_lookup_elem(&settings, &zero);
	told = bpf_map_lookup_elem(&told_of, &zero);
	if (!set || !told || !(set->flags & SETTING_EVENTS))
		return 0;
	now = clock_now(set);
	if (told->second != now) {
		told->second = now;
		told->used = 0;
	}
	used = told->used++;
	if (used >= EVENTS_PER_UNIT)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	__builtin_memset(e, 0, sizeof(*e));
	e->place = place;
	e->why = why;
	e->link = skb->ifindex;
	e->came = skb->ingress_ifindex;
	e->length = skb->len;
	/* As much of the headers as there is: with ports, without, or no IPv6. */
	if (bpf_skb_load_bytes(skb, 0, e->head, EVENT_HEAD) && bpf_skb_load_bytes(skb, 0, e->head, ETHER_LEN + IPV6_LEN))
		bpf_skb_load_bytes(skb, 0, e->head, ETHER_LEN);
	bpf_ringbuf_submit(e, 0);
	return 1;
}
