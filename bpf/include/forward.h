/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The direct ways onward. Anything unusual is the kernel's, whose routes are always right. The twin is model/datapath/judge.go. */
#pragma once

#include "header.h"

/* The mark by which the guard and the programs know that a packet was judged. Other bits are somebody else's. */
#define MARK_MASK 0x0f000000U
#define MARK_SET 0x06000000U
#define MARK_SERVICE 0x07000000U /* judged, and still to be shown as the service's */
#define MARK_BELIEVED 0x05000000U /* to the host, from an inside source that its uplink proves */

#define CB_OUT 2 /* where carry_out sends to: the link */

/* The next hop, between forward and leave. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct bpf_redir_neigh);
} next_hop SEC(".maps");

INLINE int is_fast(void)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);

	return set && (set->flags & SETTING_FAST);
}

/* one_hop_less writes the hop limit. It is no part of any checksum (RFC 8200, section 8.1). */
INLINE int one_hop_less(struct __sk_buff *skb, const struct base *b)
{
	u8 hops = b->hops - 1;

	return bpf_skb_store_bytes(skb, IN_FRAME(hops), &hops, 1, 0);
}

/* deliver hands a judged packet to an endpoint of this host. */
INLINE int deliver(struct __sk_buff *skb, const struct base *b, const struct endpoint *to)
{
	u8 macs[12];
	u32 mtu = 0;

	if (!is_fast())
		return WHY_KERNEL_PATH;
	if (b->hops <= 1)
		return WHY_HOP_LIMIT;
	if (bpf_check_mtu(skb, to->link, &mtu, 0, 0))
		return WHY_TOO_BIG;
	__builtin_memcpy(macs, to->mac, 6);
	__builtin_memcpy(macs + 6, to->host_mac, 6);
	if (bpf_skb_store_bytes(skb, 0, macs, 12, 0) || one_hop_less(skb, b))
		return WHY_TRUNCATED;
	skb->cb[CB_OUT] = to->link;
	return WHY_LOCAL;
}

/* forward hands a judged packet to the next hop that the kernel's routes name, if that is over an uplink. */
GLOBAL int forward(struct __sk_buff *skb, const struct base *b, const struct header *h)
{
	struct bpf_fib_lookup fib = { .family = 10 /* AF_INET6 */, .ifindex = skb->ifindex };
	struct bpf_redir_neigh *next;
	u32 zero = 0, length;
	long r;

	if (!b || !h || !is_fast())
		return WHY_KERNEL_PATH;
	if (b->hops <= 1)
		return WHY_HOP_LIMIT;
	__builtin_memcpy(fib.ipv6_src, &b->src, 16);
	__builtin_memcpy(fib.ipv6_dst, &b->dst, 16);
	fib.flowinfo = *(u32 *)&b->version & bpf_htonl(0x0fffffff);
	fib.l4_protocol = b->next;
	length = skb->len - ETHER_LEN;
	if (skb->gso_size) /* a super-packet goes out in segments */
		length = h->upper - ETHER_LEN + h->upper_len + skb->gso_size;
	fib.tot_len = length > 0xffff ? 0xffff : length;
	r = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (r == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return WHY_TOO_BIG;
	/* Without a neighbour entry yet, redirect_neigh makes one. */
	if (r != BPF_FIB_LKUP_RET_SUCCESS && r != BPF_FIB_LKUP_RET_NO_NEIGH)
		return WHY_TO_HOST;
	if (!(link_flags(fib.ifindex) & LINK_UPLINK))
		return WHY_TO_HOST;
	next = bpf_map_lookup_elem(&next_hop, &zero);
	if (!next || one_hop_less(skb, b))
		return WHY_TO_HOST;
	next->nh_family = 10;
	__builtin_memcpy(next->ipv6_nh, fib.ipv6_dst, 16);
	skb->cb[CB_OUT] = fib.ifindex;
	return WHY_REMOTE;
}

/* leave sends what forward has prepared. */
INLINE int leave(struct __sk_buff *skb)
{
	struct bpf_redir_neigh next = { .nh_family = 10 };
	struct bpf_redir_neigh *noted;
	u32 zero = 0;

	noted = bpf_map_lookup_elem(&next_hop, &zero);
	if (!noted)
		return 2; /* TC_ACT_SHOT */
	next = *noted;
	return bpf_redirect_neigh(skb->cb[CB_OUT], &next, sizeof(next), 0);
}
