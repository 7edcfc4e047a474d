/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * How translated packets go on: to the next hop that the kernel's routes name, or once more through the kernel. Where packets arrive, the
 * routes are asked first whether they would lead them to the translator at all.
 */
#pragma once

#include "nat64_flow.h"
#include "translate.h"
#include "ways.h"

#define ETHER_LEN 14
#define PROTO_ICMP6 58
#define AF_IPV4 2
#define AF_IPV6 10

#define MARK_MASK 0x0f000000U /* forward.h: a translated packet was judged by nobody yet */

/* Each is a way of flows, by the ends of their packets before translation. */
#define NAT64_WAYS 512

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NAT64_WAYS);
	__type(key, u32);
	__type(value, struct way);
} nat64_ways SEC(".maps");

/* The translator's device, for packets that are met elsewhere; 0: they are left alone. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nat64_device SEC(".maps");

/* Test runs have an Ethernet header in front; packets of the device have none. */
const volatile u32 link_header;

/* Where a packet is met. */
struct met {
	u32 at;     /* offset of the IP header */
	u32 device; /* the translator's */
	u32 early;  /* where packets arrive, before the kernel's routes; else at the device */
};

/* How a packet goes on. */
enum onward { BY_KERNEL, BY_NEIGHBOUR, BY_WAY };

INLINE u32 nat64_device_index(void)
{
	u32 zero = 0, *index = bpf_map_lookup_elem(&nat64_device, &zero);

	return index ? *index : 0;
}

INLINE u32 ports_of(const struct ends *k)
{
	return *(const u32 *)&k->src_port;
}

INLINE struct way *way_of(const struct ends *k)
{
	u32 at = way_place(&k->src, &k->dst, ports_of(k), NAT64_WAYS);

	return bpf_map_lookup_elem(&nat64_ways, &at);
}

/* is_kept tells whether another packet of this tick went the same way. class is that of the traffic. */
INLINE int is_kept(const struct way *w, const struct nat64_settings *set, const struct ends *k, u8 class, u32 wire)
{
	return w && (set->flags & FLAG_DIRECT) && is_way(w, &k->src, &k->dst, ports_of(k), k->proto) && w->more == class && wire <= w->mtu;
}

/* is_led tells whether the kernel's routes lead a packet that arrives to the translator. word is the first one of an IPv6 header. */
GLOBAL int is_led(struct __sk_buff *skb, const struct ends *k, u32 family, u32 word, u32 device)
{
	struct bpf_fib_lookup fib = { .ifindex = skb->ifindex };
	long r;

	if (!k)
		return 0;
	if (skb->cb[CB_OUT]) /* they were asked */
		return skb->cb[CB_OUT] == device;
	fib.l4_protocol = k->proto;
	fib.sport = k->src_port;
	fib.dport = k->dst_port;
	if (family == AF_IPV6) {
		fib.family = AF_IPV6;
		fib.flowinfo = word & bpf_htonl(0x0fffffff);
		__builtin_memcpy(fib.ipv6_src, &k->src, 16);
		__builtin_memcpy(fib.ipv6_dst, &k->dst, 16);
	} else {
		fib.family = AF_IPV4;
		fib.ipv4_src = k->src.w[3];
		fib.ipv4_dst = k->dst.w[3];
	}
	r = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	return (r == BPF_FIB_LKUP_RET_SUCCESS || r == BPF_FIB_LKUP_RET_NO_NEIGH) && fib.ifindex == device;
}

/* What the kernel answered, between next_hop and send_on. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct bpf_redir_neigh);
} nat64_next SEC(".maps");

#define TO_IPV6 0x1000000 /* of sized, beside class << 16 and the length on the wire */

/* next_hop asks the kernel for the way on of a packet whose ends were from, and returns the link; 0: the kernel has to take it. */
GLOBAL u32 next_hop(struct __sk_buff *skb, const struct ends *from, const struct ends *to, u32 sized, u32 device)
{
	struct bpf_fib_lookup fib = { .ifindex = device };
	struct bpf_redir_neigh *next;
	struct way *w;
	u32 zero = 0;
	long r;

	next = bpf_map_lookup_elem(&nat64_next, &zero);
	if (!from || !to || !next)
		return 0;
	fib.l4_protocol = to->proto;
	fib.sport = to->src_port;
	fib.dport = to->dst_port;
	fib.tot_len = (u16)sized;
	if (sized & TO_IPV6) {
		fib.family = AF_IPV6;
		fib.flowinfo = bpf_htonl((sized >> 16 & 0xff) << 20);
		if (to->proto == PROTO_ICMP4)
			fib.l4_protocol = PROTO_ICMP6;
		__builtin_memcpy(fib.ipv6_src, &to->src, 16);
		__builtin_memcpy(fib.ipv6_dst, &to->dst, 16);
	} else {
		fib.family = AF_IPV4;
		fib.tos = sized >> 16;
		fib.ipv4_src = to->src.w[3];
		fib.ipv4_dst = to->dst.w[3];
	}
	r = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if ((r != BPF_FIB_LKUP_RET_SUCCESS && r != BPF_FIB_LKUP_RET_NO_NEIGH) || fib.ifindex == device)
		return 0;
	w = way_of(from);
	if (r == BPF_FIB_LKUP_RET_SUCCESS && w)
		note_way(w, &from->src, &from->dst, ports_of(from), from->proto, sized >> 16, &fib);
	next->nh_family = fib.family;
	__builtin_memcpy(next->ipv6_nh, fib.ipv6_dst, 16);
	return fib.ifindex;
}

/* hop_limit is what a translated packet has on the wire or, where the kernel forwards it once more, before that. At the device the kernel
 * has counted one hop already, and the host is one (model/xlat.Translator.Carried). */
INLINE u8 hop_limit(u8 hops, const struct met *m, enum onward how)
{
	u8 again = m->early || hops == 255 ? hops : hops + 1;

	return how == BY_KERNEL ? again : again - 1;
}

/* send_on sends a translated packet on. */
INLINE int send_on(struct __sk_buff *skb, const struct met *m, const struct way *w, u32 link, enum onward how)
{
	struct bpf_redir_neigh next = {};
	struct bpf_redir_neigh *noted;
	u32 zero = 0;
	struct {
		u8 macs[12];
		u16 type;
	} head;

	skb->mark &= ~MARK_MASK;
	if (how == BY_KERNEL)
		return bpf_redirect(m->device, BPF_F_INGRESS);
	if (!m->at && bpf_skb_change_head(skb, ETHER_LEN, 0)) /* redirect_neigh writes one there */
		return 2; /* TC_ACT_SHOT */
	if (how == BY_NEIGHBOUR || !w) {
		noted = bpf_map_lookup_elem(&nat64_next, &zero);
		if (!noted)
			return 2;
		next = *noted;
		return bpf_redirect_neigh(link, &next, sizeof(next), 0);
	}
	__builtin_memcpy(head.macs, w->macs, 12);
	head.type = skb->protocol;
	if (bpf_skb_store_bytes(skb, 0, &head, ETHER_LEN, 0))
		return 2;
	return bpf_redirect(w->link, 0);
}
