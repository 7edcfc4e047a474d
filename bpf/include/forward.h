/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The direct ways onward. Anything unusual is the kernel's, whose routes are always right. The twin is model/datapath/judge.go. */
#pragma once

#include "header.h"
#include "translate.h"
#include "ways.h"

/* The mark by which the guard and the programs know that a packet was judged. Other bits are somebody else's. */
#define MARK_MASK 0x0f000000U
#define MARK_SET 0x06000000U
#define MARK_SERVICE 0x07000000U /* judged, and still to be shown as the service's */
#define MARK_BELIEVED 0x05000000U /* to the host, from an inside source that its uplink proves */

#define CB_KNOWN 4 /* one of enum known; 0: leave goes by the neighbour entry */

enum known {
	KNOWN_WAY = 1, /* another packet of this tick went the same way */
	KNOWN_HOP = 2, /* one of another way went by the same neighbour entry */
};

/* The next hop, between forward and leave. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct bpf_redir_neigh);
} next_hop SEC(".maps");

/* The neighbour entries by which packets went in this tick. Flows that begin have ways of their own, and next hops are few. */
#define HOPS 16 /* a power of two */

struct hop {
	u64 tick;
	u32 link;
	u8 mac[6];
	u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOPS);
	__type(key, u32);
	__type(value, struct hop);
} hops SEC(".maps");

#define WAYS 256 /* a power of two */

#define BY_KERNEL 1 /* struct way: the link is no uplink */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WAYS);
	__type(key, u32);
	__type(value, struct way);
} ways SEC(".maps");

INLINE int is_fast(void)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);

	return set && (set->flags & SETTING_FAST);
}

/* readdress writes both MACs and one hop less. The hop limit is no part of any checksum (RFC 8200, section 8.1). */
INLINE int readdress(struct __sk_buff *skb, struct base *b, const u8 *dst, const u8 *src)
{
	*(word16 *)b->dst_mac = *(const word16 *)dst;
	*(word32 *)(b->dst_mac + 2) = *(const word32 *)(dst + 2);
	*(word32 *)b->src_mac = *(const word32 *)src;
	*(word16 *)(b->src_mac + 4) = *(const word16 *)(src + 4);
	b->hops--;
	return bpf_skb_store_bytes(skb, 0, b->dst_mac, IN_FRAME(hops) + 1, 0);
}

/* size_on_wire is the length of what leaves, in bytes from the IPv6 header on: super-packets go out in segments. */
INLINE u32 size_on_wire(struct __sk_buff *skb, const struct base *b, const struct header *h)
{
	u32 length = skb->len - ETHER_LEN;

	if (skb->gso_size) {
		length = h->upper - ETHER_LEN + h->upper_len + skb->gso_size;
		if (!b->length && b->next == HOP_BY_HOP) /* that of a jumbo payload, which segments have no more (RFC 2675) */
			length -= 8;
	}
	return length > 0xffff ? 0xffff : length;
}

/* flow_of is what routes are told of a packet besides its addresses and protocol: its class, and three bits of its flow label. Where several
 * next hops are equally good, the flows of two addresses go by up to eight of them, and each keeps its own; a flow that begins finds the
 * way of another one of its eighth. */
INLINE u32 flow_of(const struct base *b)
{
	return *(u32 *)&b->version & bpf_htonl(0x0ff00007);
}

INLINE struct way *way_of(const struct base *b)
{
	u32 at = way_place(&b->src, &b->dst, flow_of(b), WAYS);

	return bpf_map_lookup_elem(&ways, &at);
}

/* go_on sends a judged packet the way that another one of this tick went; 0 when it has to be found first. */
INLINE int go_on(struct __sk_buff *skb, struct base *b, const struct header *h)
{
	struct way *w = way_of(b);

	if (!w || !is_way(w, &b->src, &b->dst, flow_of(b), b->next) || b->hops <= 1 || size_on_wire(skb, b, h) > w->mtu || !is_fast())
		return 0;
	skb->cb[CB_OUT] = w->link;
	if (w->more == BY_KERNEL)
		return WHY_TO_HOST;
	if (readdress(skb, b, w->macs, w->macs + 6))
		return WHY_TRUNCATED;
	skb->cb[CB_KNOWN] = KNOWN_WAY;
	return WHY_REMOTE;
}

/* is_met tells whether a packet of this tick went by the neighbour entry of a next hop, and notes that this one goes by it. */
INLINE int is_met(const struct bpf_fib_lookup *fib)
{
	u32 at = (fib->ifindex ^ fib->dmac[5]) & (HOPS - 1);
	struct hop *h = bpf_map_lookup_elem(&hops, &at);
	u64 now = bpf_ktime_get_coarse_ns();

	if (!h)
		return 0;
	if (h->tick == now && h->link == fib->ifindex && mac_equal(h->mac, fib->dmac))
		return 1;
	h->link = fib->ifindex;
	__builtin_memcpy(h->mac, fib->dmac, 6);
	h->tick = now;
	return 0;
}

/* deliver hands a judged packet to an endpoint of this host. */
INLINE int deliver(struct __sk_buff *skb, struct base *b, const struct endpoint *to)
{
	u32 mtu = 0;

	if (!is_fast())
		return WHY_KERNEL_PATH;
	if (b->hops <= 1)
		return WHY_HOP_LIMIT;
	/* Super-packets fit, and so does what every link takes (RFC 8200, section 5). */
	if (!skb->gso_size && skb->len > ETHER_LEN + IPV6_MIN_MTU && bpf_check_mtu(skb, to->link, &mtu, 0, 0))
		return WHY_TOO_BIG;
	if (readdress(skb, b, to->mac, to->host_mac))
		return WHY_TRUNCATED;
	skb->cb[CB_OUT] = to->link;
	return WHY_LOCAL;
}

/* forward hands a judged packet to the next hop that the kernel's routes name, if that is over an uplink. */
GLOBAL int forward(struct __sk_buff *skb, struct base *b, const struct header *h)
{
	struct bpf_fib_lookup fib = { .family = 10 /* AF_INET6 */, .ifindex = skb->ifindex };
	struct bpf_redir_neigh *next;
	struct way *w;
	u32 zero = 0;
	long r;

	if (!b || !h || !is_fast())
		return WHY_KERNEL_PATH;
	if (b->hops <= 1)
		return WHY_HOP_LIMIT;
	__builtin_memcpy(fib.ipv6_src, &b->src, 16);
	__builtin_memcpy(fib.ipv6_dst, &b->dst, 16);
	fib.flowinfo = flow_of(b);
	fib.l4_protocol = b->next;
	fib.tot_len = size_on_wire(skb, b, h);
	r = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (r == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return WHY_TOO_BIG;
	/* Without a neighbour entry yet, redirect_neigh makes one. */
	if (r != BPF_FIB_LKUP_RET_SUCCESS && r != BPF_FIB_LKUP_RET_NO_NEIGH)
		return WHY_TO_HOST;
	skb->cb[CB_OUT] = fib.ifindex;
	w = way_of(b);
	if (!(link_flags(fib.ifindex) & LINK_UPLINK)) {
		if (w)
			note_way(w, &b->src, &b->dst, flow_of(b), b->next, BY_KERNEL, &fib);
		return WHY_TO_HOST;
	}
	next = bpf_map_lookup_elem(&next_hop, &zero);
	if (!next)
		return WHY_TO_HOST;
	if (r == BPF_FIB_LKUP_RET_SUCCESS && w)
		note_way(w, &b->src, &b->dst, flow_of(b), b->next, 0, &fib);
	/* Without a neighbour entry both MACs are none yet. */
	if (readdress(skb, b, fib.dmac, fib.smac))
		return WHY_TO_HOST;
	if (r == BPF_FIB_LKUP_RET_SUCCESS && is_met(&fib)) {
		skb->cb[CB_KNOWN] = KNOWN_HOP;
		return WHY_REMOTE;
	}
	skb->cb[CB_KNOWN] = 0;
	next->nh_family = 10;
	__builtin_memcpy(next->ipv6_nh, fib.ipv6_dst, 16);
	return WHY_REMOTE;
}

/* leave sends what forward has prepared. */
INLINE int leave(struct __sk_buff *skb)
{
	struct bpf_redir_neigh next = { .nh_family = 10 };
	struct bpf_redir_neigh *noted;
	u32 zero = 0;

	if (skb->cb[CB_KNOWN])
		return bpf_redirect(skb->cb[CB_OUT], 0);
	noted = bpf_map_lookup_elem(&next_hop, &zero);
	if (!noted)
		return 2; /* TC_ACT_SHOT */
	next = *noted;
	return bpf_redirect_neigh(skb->cb[CB_OUT], &next, sizeof(next), 0);
}
