/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The ways that the kernel has named in this tick of the coarse clock (1 to 10 ms): the packets that follow need not ask again, and none
 * goes a way for longer than a tick after routes, neighbours or carriers have changed. The first packet of a tick goes by the neighbour
 * entry, so that the kernel goes on to see whether the neighbour is there. Each program has a table of its own.
 */
#pragma once

#include "hexapod.h"

struct way {
	union addr src, dst;
	u64 tick;
	u32 flow; /* what else routes may be chosen by, like class and label */
	u32 link;
	u8 macs[12]; /* destination and source */
	u16 mtu;
	u8 next;
	u8 more; /* of the program that noted it */
};

/* way_place is where the way of packets is noted, among a power of two. */
INLINE u32 way_place(const union addr *src, const union addr *dst, u32 flow, u32 ways)
{
	u32 at = src->w[1] ^ src->w[3] ^ dst->w[1] ^ dst->w[3] ^ flow;

	at ^= at >> 16;
	return (at ^ at >> 8) & (ways - 1);
}

/* is_way tells whether a way of this tick is that of a packet. */
INLINE int is_way(const struct way *w, const union addr *src, const union addr *dst, u32 flow, u8 next)
{
	return w->tick == bpf_ktime_get_coarse_ns() && addr_equal(&w->dst, dst) && addr_equal(&w->src, src) && w->flow == flow &&
	       w->next == next;
}

/* note_way notes what the kernel answered. */
INLINE void note_way(struct way *w, const union addr *src, const union addr *dst, u32 flow, u8 next, u8 more, const struct bpf_fib_lookup *fib)
{
	w->src = *src;
	w->dst = *dst;
	w->flow = flow;
	w->next = next;
	w->more = more;
	w->link = fib->ifindex;
	w->mtu = fib->mtu_result;
	__builtin_memcpy(w->macs, fib->dmac, 6);
	__builtin_memcpy(w->macs + 6, fib->smac, 6);
	w->tick = bpf_ktime_get_coarse_ns();
}
